"""Losses for classification, made of ``row_statistics``: one read of the logits forward, one read
and one write backward. What follows from the statistics is arithmetic on one number a row."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.nn import _reduction

import activations_ext._C as _C
from activations_ext._call import DTYPES, has_kernel, is_wrapper, overridable
from activations_ext._torchs import torchs
from activations_ext.functional.row_losses import (
    Asked,
    check_num_items,
    loss_of_rows,
    result_dtype,
    shifted,
    terms_of,
)
from activations_ext.functional.row_statistics import row_statistics

if TYPE_CHECKING:
    from activations_ext.functional.sharded_logits import Shards


@overload
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    logit_scale: float = 1.0,
    token_weight: Tensor | None = None,
    num_items: float | Tensor | None = None,
    focal_gamma: float = 0.0,
    shift: int = 0,
    zero_if_empty: bool = False,
    loss_dtype: torch.dtype | None = None,
    inplace_backward: bool = False,
    check_targets: bool = False,
) -> Tensor: ...


@overload
def cross_entropy(
    input: Tensor,
    target: Tensor,
    *args: Any,
    return_lse: bool = False,
    return_log_prob: bool = False,
    return_entropy: bool = False,
    return_argmax: bool = False,
    return_correct: bool = False,
    **options: Any,
) -> tuple[Tensor, ...]: ...


@overridable  # type: ignore[misc]
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    logit_scale: float = 1.0,
    token_weight: Tensor | None = None,
    num_items: float | Tensor | None = None,
    focal_gamma: float = 0.0,
    shift: int = 0,
    zero_if_empty: bool = False,
    loss_dtype: torch.dtype | None = None,
    return_lse: bool = False,
    return_log_prob: bool = False,
    return_entropy: bool = False,
    return_argmax: bool = False,
    return_correct: bool = False,
    inplace_backward: bool = False,
    check_targets: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    """The negative log-probability of the target under the softmax of the logits.

    Of a class t: ``−w_t·log p_t`` with ``log p_t = x_t − log Σ e^(x_k)``; with smoothing ε
    ``−(1−ε)·w_t·log p_t − ε/C·Σ w_c·log p_c``. Of probabilities q: ``−Σ q_c·w_c·log p_c``. Computed
    in float32 for 16-bit logits. Where every row is ignored the mean is NaN, as torch's; a NaN
    logit makes its row's loss NaN, unless the row is ignored. The keyword arguments are beyond
    torch.

    Args:
        input: logits, of shape (C), (N, C) or (N, C, d1, …).
        target: classes, integers of the shape of ``input`` without C, or probabilities of the
            shape of ``input``. Where their dtypes differ, both are promoted, as by torch.
        weight: a number for each class.
        size_average: deprecated, see torch.
        ignore_index: rows with this class count neither in the sum nor in the divisor.
        reduce: deprecated, see torch.
        reduction: ``"none"``, ``"sum"``, or ``"mean"``: divided by the sum of the rows' ``w_t``,
            for probabilities by the number of rows.
        label_smoothing: ε from 0 to 1.
        z_loss: λ of an additional ``λ·lse²``, which keeps ``lse = log Σ e^(x_k)`` near 0 (Chowdhery
            et al., arXiv:2204.02311). Class weights have no part in it: the mean divides it by the
            number of rows that are not ignored.
        softcap: s of ``s·tanh(x/s)`` in place of the logits; 0 for none (Gemma 2,
            arXiv:2408.00118).
        logit_scale: a positive factor of the logits, before the softcap: 1/T for the temperature T.
        token_weight: a factor for each row's loss, of exactly the shape of the rows. The mean's
            divisor has it, too, as it has the class weights.
        num_items: one number that the sum of the losses is divided by, where rows are spread over
            several calls: in place of the mean's own divisor, or of none with ``"sum"``.
        focal_gamma: γ of a factor ``(1 − p_t)^γ`` of each row's cross-entropy, with the gradient
            through it (Lin et al., arXiv:1708.02002). ``p_t`` is the target's probability without
            weights. The divisor of the mean and the z-loss do not have it.
        shift: the target of a row is that of ``shift`` places further along the last dimension, as
            for a model that predicts the next token; the last ``shift`` rows are ignored.
        zero_if_empty: the mean is 0 where its divisor is.
        loss_dtype: of the loss, in place of the dtype of ``input``: float32 keeps the digits that
            16 bits would lose.
        return_lse: return ``lse`` of each row as well.
        return_log_prob: return ``log p_t`` of each row as well; 0 for ignored rows.
        return_entropy: return the entropy ``−Σ p_c·log p_c`` of each row as well.
        return_argmax: return the class of each row's largest logit as well, int64: of several the
            first, of NaN that, as ``torch.argmax``; −1 for ignored rows.
        return_correct: return whether that is the target as well, bool; False for ignored rows.
        inplace_backward: the gradient overwrites the logits, so that no second tensor of their size
            is allocated. A later use of the logits in backward raises torch's error for a tensor
            modified in place. No effect in a compiled graph, whose memory the compiler plans.
        check_targets: on a GPU, wait until it is known whether all targets were classes. Otherwise
            IndexError is raised by a later call or by backward, and meanwhile the loss of such a
            row is NaN and its gradient 0. The CPU always knows at once; a compiled graph does not
            wait.

    Returns:
        The loss, in the dtype of ``input`` (float32 under autocast), or where something is to be
        returned as well a tuple: the loss, then lse, log_prob, entropy, argmax and correct, those
        of them that were asked for. The first three are differentiable, and float32 for 16-bit
        logits.

    Raises:
        IndexError: a class is neither ``ignore_index`` nor from 0 to C − 1; with its position.
        TypeError: ``ignore_index`` is no integer.
        ValueError: ``return_log_prob``, ``return_correct``, ``focal_gamma`` or ``shift`` with
            probabilities, a ``reduction`` that does not exist, ``num_items`` with ``"none"`` or of
            several numbers, a ``z_loss``, ``softcap`` or ``logit_scale`` that the type that
            computes does not hold, a ``logit_scale`` that is not positive, a negative
            ``focal_gamma`` or ``shift``.
        RuntimeError: shapes, dtypes or ``label_smoothing`` do not fit, as in torch's function;
            an ``ignore_index`` from 0 on with probabilities; ``inplace_backward`` of a leaf that
            requires a gradient.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
        >>> target = torch.tensor([0, -100])  # the second row is ignored
        >>> F.cross_entropy(logits, target)
        tensor(0.4076)
        >>> loss, lse = F.cross_entropy(logits, target, z_loss=0.1, return_lse=True)
        >>> loss, lse
        (tensor(0.9873), tensor([2.4076, 3.0949]))
    """
    if size_average is not None or reduce is not None:
        reduction = _reduction.legacy_get_string(size_average, reduce)
    if shift != 0:
        ignore_index = as_integer("cross_entropy", "ignore_index", ignore_index)
        shift = as_integer("cross_entropy", "shift", shift)
        target = shifted("cross_entropy", target, shift, ignore_index)
    asked = Asked(return_lse, return_log_prob, return_entropy, return_argmax, return_correct)
    of_logits = softcap != 0 or logit_scale != 1
    of_rows = z_loss != 0 or token_weight is not None or focal_gamma != 0
    of_mean = num_items is not None or zero_if_empty
    beyond_torch = any(asked) or of_logits or of_rows or of_mean or inplace_backward
    plain = weight is None and label_smoothing == 0 and loss_dtype is None
    if plain and not beyond_torch and not is_dynamo_compiling():
        usual: Tensor | None = _C.cross_entropy(input, target, ignore_index, reduction)
        if usual is not None:
            return usual
    ignore_index = as_integer("cross_entropy", "ignore_index", ignore_index)
    check_num_items("cross_entropy", num_items, reduction)
    if target.is_floating_point() and target.dtype != input.dtype and input.dtype in DTYPES:
        wide = torch.promote_types(input.dtype, target.dtype)
        input, target = input.to(wide), target.to(wide)
    taken = fits(input, target, weight, reduction, label_smoothing, ignore_index)
    dim = 0 if input.dim() == 1 else 1
    of_classes = not target.is_floating_point()
    shards = _shards(input, dim) if taken and of_classes and not asked.classes else None
    if not taken or not (beyond_torch or has_kernel(input) or shards is not None):
        # Torch's own errors, and whatever it computes besides.
        result = torchs("cross_entropy")(
            input, target, weight, None, ignore_index, None, reduction, label_smoothing
        )
        if beyond_torch:
            raise NotImplementedError(
                "cross_entropy(): expected argument 'input' to be a tensor with a kernel for what "
                f"torch has not, but got {input.dtype} of shape {list(input.shape)}"
            )
        return result if loss_dtype is None else result.to(loss_dtype)

    asked.check("cross_entropy", target)
    if shards is not None:
        target, weight, token_weight, num_items = map(
            shards.whole, (target, weight, token_weight, num_items)
        )
    count = input.shape[dim]
    terms = terms_of(count, input.dtype, target, dim, weight, ignore_index, label_smoothing)
    is_mean = reduction == "mean" and num_items is None
    terms = terms.with_options("cross_entropy", z_loss, focal_gamma, token_weight, is_mean)
    if shards is not None:
        row = shards.statistics(target, terms, softcap, logit_scale, return_entropy)
    else:
        row = row_statistics(
            input,
            dim,
            target=terms.classes,
            weight=terms.weights,
            class_weight=terms.class_weight,
            label_smoothing=terms.label_smoothing,
            ignore_index=ignore_index,
            softcap=softcap,
            logit_scale=logit_scale,
            expected=return_entropy,
            argmax=asked.classes,
            overwrite=inplace_backward and not is_dynamo_compiling(),
        )
    if check_targets and of_classes and has_kernel(input) and not is_dynamo_compiling():
        _C.check_targets(input.device)
    dtype = loss_dtype or result_dtype(input)
    result = loss_of_rows(terms, row, reduction, num_items, zero_if_empty, dtype)
    results = (result, *asked.of(terms, row))
    if shards is not None:
        results = tuple(map(shards.replicated, results))
    return results if any(asked) else results[0]


def _shards(input: Tensor, dim: int) -> Shards | None:
    """Of a DTensor whose classes are split over a mesh."""
    if not is_wrapper(input):
        return None
    from activations_ext.functional.sharded_logits import Shards

    return Shards.of(input, dim)


@overridable
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-probability of the target, of log-probabilities: ``−w_t·input_t``.

    One number a row is read; it is torch's own function, which does no more either. Of logits
    ``cross_entropy`` computes the same without the log-probabilities in memory.

    Args:
        input: log-probabilities, of shape (C), (N, C) or (N, C, d1, …).
        target: classes, of the shape of ``input`` without C: int64, int32 or uint8.
        weight: a number for each class.
        size_average: deprecated, see torch.
        ignore_index: rows with this class count neither in the sum nor in the divisor.
        reduce: deprecated, see torch.
        reduction: ``"none"``, ``"sum"``, or ``"mean"``: divided by the sum of the rows' ``w_t``.

    Raises:
        IndexError: a class is neither ``ignore_index`` nor from 0 to C − 1; with its position.
        RuntimeError, ValueError: as torch's function, for shapes and dtypes that do not fit.

    Example:
        >>> log_probabilities = F.log_softmax(torch.tensor([[2.0, 0.0, 1.0]]), dim=1)
        >>> F.nll_loss(log_probabilities, torch.tensor([0]))
        tensor(0.4076)
    """
    if target.dtype == torch.int32:
        target = target.to(torch.int64)
    if size_average is not None or reduce is not None:
        reduction = _reduction.legacy_get_string(size_average, reduce)
    try:
        return torchs("nll_loss")(input, target, weight, None, ignore_index, None, reduction)
    except IndexError as error:
        classes = input.shape[0 if input.dim() == 1 else 1]
        wrong = (target != ignore_index) & ((target < 0) | (target >= classes))
        if not wrong.any():
            raise
        position = wrong.nonzero()[0].tolist()
        raise IndexError(
            f"nll_loss(): expected argument 'target' to have classes from 0 to {classes - 1}, or "
            f"the ignore_index {ignore_index}, but got {target[tuple(position)]} at position "
            f"{position}"
        ) from error


def as_integer(function: str, argument: str, value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"{function}(): expected argument '{argument}' to be an integer, but got "
            f"{type(value).__name__}"
        ) from None


def fits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    label_smoothing: float,
    ignore_index: int,
) -> bool:
    """The arguments are ones that the operator takes."""
    if input.dtype not in DTYPES or input.layout != torch.strided or input.dim() == 0:
        return False
    if reduction not in ("none", "mean", "sum") or not 0.0 <= label_smoothing <= 1.0:
        return False
    classes = input.shape[0 if input.dim() == 1 else 1]
    if classes == 0 or (weight is not None and weight.shape != (classes,)):
        return False
    if target.is_floating_point():
        return target.shape == input.shape and target.dtype == input.dtype and ignore_index < 0
    rows = input.shape[:1] + input.shape[2:] if input.dim() > 1 else input.shape[1:]
    return target.shape == rows and target.dtype in (torch.int64, torch.int32, torch.uint8)

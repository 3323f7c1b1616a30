"""Cross-entropy straight from hidden states and the vocabulary's weight: the logits, which are the
largest tensor of a language model's training by far, are made and used up chunk by chunk."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from activations_ext._call import has_kernel, is_wrapper, overridable
from activations_ext._torchs import torchs
from activations_ext.functional import linear_ops  # noqa: F401 — for compiled graphs
from activations_ext.functional.linear_chunks import default_budget, rows_with_a_loss, spread
from activations_ext.functional.linear_rows import LinearLoss, LinearStatistics
from activations_ext.functional.losses import as_integer, cross_entropy, fits
from activations_ext.functional.row_losses import (
    Asked,
    Terms,
    check_num_items,
    divisor,
    factors_of_sum,
    loss_of_rows,
    mean_of_sum,
    shifted,
    terms_of,
)
from activations_ext.functional.row_statistics import Statistics

_NAME = "linear_cross_entropy"


@overridable
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
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
    memory_budget: int | None = None,
) -> Any:
    """``cross_entropy(linear(input, linear_weight, linear_bias), target)`` without all the logits.

    They are made in chunks of rows, whose statistics, loss and gradient are taken at once, so that
    what is in memory is a chunk of ``memory_budget`` bytes instead of N·C numbers. With the
    reductions ``"mean"`` and ``"sum"`` the gradients are made together with the loss: three matrix
    products, as without chunks. Otherwise, where something differentiable is returned for each row,
    the logits are kept for backward if they are one chunk; if they are more, and in a compiled
    graph, backward makes them once more. The gradient of the weight is summed in float32 for 16-bit
    dtypes.

    It is differentiable any number of times, also in forward mode, under ``torch.func`` and
    ``torch.compile``; a second derivative, forward mode and vmap hold all the logits at once.
    (Wijmans et al., arXiv:2411.09009.)

    Args:
        input: hidden states, of shape (features) or (N, features); with ``shift`` of any shape
            (…, features).
        linear_weight: of shape (C, features), or (C, d1, …, features) for a loss of K dimensions,
            whose logits are held in full.
        target: classes of shape (), (N) or (N, d1, …), or probabilities of the logits' shape; with
            ``shift`` classes of the shape of ``input`` without features.
        linear_bias: of shape (C) or (C, d1, …).
        weight: a number for each class.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        ignore_index: rows with this class have no loss and no gradient. None is −100.
        label_smoothing: ε, as ``cross_entropy``'s.
        options: torch's, for its own chunks. Ignored: ``memory_budget`` limits a chunk.
        memory_budget: bytes that a chunk of logits may take, which its gradient overwrites; twice
            as many in a compiled graph, and with ``return_entropy`` in backward. One row at least
            is done at a time. None is 256 MiB and, on a GPU for 16-bit weights, at least what the
            weight's gradient takes, which is allocated only after the chunks are gone.
        z_loss, softcap, logit_scale, token_weight, num_items, focal_gamma: as ``cross_entropy``'s.
        shift: the target of a row is that of ``shift`` places further: of a causal model,
            ``shift=1`` with (B, T, features) and (B, T), without copies of the hidden states.
        zero_if_empty, loss_dtype: as ``cross_entropy``'s.
        return_lse, return_log_prob, return_entropy, return_argmax, return_correct: as
            ``cross_entropy``'s.

    Returns:
        What ``cross_entropy`` returns.

    Raises:
        IndexError: a class is neither ``ignore_index`` nor from 0 to C − 1; with its position,
            which in a GPU's message counts from the beginning of a chunk.
        RuntimeError, ValueError: as torch's function, for shapes, dtypes and options that do not
            fit.

    Example:
        >>> hidden, weight = torch.eye(2), torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
        >>> F.linear_cross_entropy(hidden, weight, torch.tensor([0, 1]))
        tensor(0.2513)
    """
    if memory_budget is None:
        memory_budget = default_budget(linear_weight)
    memory_budget = as_integer(_NAME, "memory_budget", memory_budget)
    if memory_budget <= 0:
        raise ValueError(
            "linear_cross_entropy(): expected argument 'memory_budget' to be positive, but got "
            f"{memory_budget}"
        )
    ignored = -100 if ignore_index is None else as_integer(_NAME, "ignore_index", ignore_index)
    sequences: torch.Size | None = None
    if shift != 0:
        target = shifted(_NAME, target, as_integer(_NAME, "shift", shift), ignored)
        if target.shape == input.shape[:-1] and input.dim() > 2 and linear_weight.dim() == 2:
            sequences = target.shape
            input, target = input.flatten(0, -2), target.flatten()
            if token_weight is not None and token_weight.shape == sequences:
                token_weight = token_weight.flatten()
    own_dtype = input.dtype
    if torch.is_autocast_enabled(input.device.type):
        own_dtype = torch.float32
        dtype = torch.get_autocast_dtype(input.device.type)
        input, linear_weight = input.to(dtype), linear_weight.to(dtype)
        linear_bias = None if linear_bias is None else linear_bias.to(dtype)
    check_num_items(_NAME, num_items, reduction)
    if target.is_floating_point():
        target = target.to(torch.promote_types(target.dtype, input.dtype))
        own_dtype = torch.promote_types(target.dtype, own_dtype)
    beside_logits = (target, weight, token_weight, num_items)
    if not _in_chunks(
        input, linear_weight, linear_bias, target, weight, reduction, ignore_index, label_smoothing
    ) or not all(_is_known(argument) for argument in beside_logits):
        beside: dict[str, Any] = {
            "ignore_index": ignored,
            "reduction": reduction,
            "label_smoothing": label_smoothing,
            "z_loss": z_loss,
            "softcap": softcap,
            "logit_scale": logit_scale,
            "token_weight": token_weight,
            "num_items": num_items,
            "focal_gamma": focal_gamma,
            "zero_if_empty": zero_if_empty,
        }
        returned = {
            "return_lse": return_lse,
            "return_log_prob": return_log_prob,
            "return_entropy": return_entropy,
            "return_argmax": return_argmax,
            "return_correct": return_correct,
        }
        if is_wrapper(linear_weight) and not any(returned.values()):
            parts = (input, linear_weight, linear_bias, target, weight)
            dtype = loss_dtype or own_dtype
            of_shards = _linear_loss_of_shards(parts, dtype, memory_budget, beside)
            if of_shards is not None:
                return of_shards
        logits = _logits(input, linear_weight, linear_bias, target, ignore_index)
        result = cross_entropy(logits, target, weight, loss_dtype=loss_dtype, **beside, **returned)
        return _unflattened(result, sequences)
    loss_dtype = loss_dtype or own_dtype
    single = input.dim() == 1
    if single:
        input, target = input.unsqueeze(0), target.unsqueeze(0)
        token_weight = None if token_weight is None else token_weight.unsqueeze(0)
    of_input = (linear_weight.shape[0], input.dtype)
    terms = terms_of(*of_input, target, 1, weight, ignored, label_smoothing)
    is_mean = reduction == "mean" and num_items is None
    terms = terms.with_options(_NAME, z_loss, focal_gamma, token_weight, is_mean)
    asked = Asked(return_lse, return_log_prob, return_entropy, return_argmax, return_correct)
    asked.check(_NAME, target)
    differentiated = torch.is_grad_enabled() and any(
        isinstance(argument, Tensor) and argument.requires_grad for argument in beside_logits
    )
    one_number = reduction != "none" and not asked.differentiable and not differentiated
    # Ignored rows have an lse and an entropy, too.
    skip_ignored = not (asked.lse or asked.entropy)
    rows = None
    if terms.classes is not None and not is_dynamo_compiling():
        rows = rows_with_a_loss(terms.classes, linear_weight.shape[0], ignored)  # checks them all
    if not skip_ignored:
        rows = None
    count = input.shape[0]
    smoothing = terms.label_smoothing
    options = (
        smoothing,
        ignored,
        softcap,
        logit_scale,
        return_entropy,
        asked.classes,
        memory_budget,
    )
    with torch.autocast(input.device.type, enabled=False):
        some = terms
        if rows is not None:
            input, some = input.index_select(0, rows), terms.at(rows)
        of = (
            input,
            linear_weight,
            linear_bias,
            some.classes,
            some.weights,
            some.class_weight,
        )
        if one_number and not is_dynamo_compiling():
            number = divisor(terms.counts, reduction, num_items, zero_if_empty)
            loss, largest = _one_number(of, some, options, number)
            loss = loss.to(loss_dtype)
            more: tuple[Tensor, ...] = ()
            if largest is not None:
                more = asked.of_classes(terms, spread(largest, rows, count))
        else:
            row = _statistics(of, options, skip_ignored)
            row = Statistics(*(spread(numbers, rows, count) for numbers in row))
            loss = loss_of_rows(terms, row, reduction, num_items, zero_if_empty, loss_dtype)
            more = asked.of(terms, row)
    if single:
        loss = loss.squeeze(0) if reduction == "none" else loss
        more = tuple(numbers.squeeze(0) for numbers in more)
    return _unflattened((loss, *more) if any(asked) else loss, sequences)


_Of = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]
_Options = tuple[float, int, float, float, bool, bool, int]
"""The rest of ``Linear``."""


def _statistics(of: _Of, options: _Options, skip_ignored: bool) -> Statistics:
    """In a compiled graph the operator drops ignored rows by itself."""
    if is_dynamo_compiling():
        operator = torch.ops.activations_ext.linear_row_statistics
        return Statistics(*operator(*of, *options, skip_ignored))
    keep = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in of
    )
    return Statistics(*LinearStatistics.apply(*of, *options, keep)[:7])


def _unflattened(result: Any, sequences: torch.Size | None) -> Any:
    """What is a number for each row, in the shape of the targets again."""
    if sequences is None:
        return result
    if isinstance(result, tuple):
        return tuple(_unflattened(each, sequences) for each in result)
    return result.unflatten(0, sequences) if result.dim() == 1 else result


def _one_number(
    of: _Of, terms: Terms, options: _Options, number: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The sum of the losses, divided by ``number``, with its gradients; and the classes of the
    largest logits, if they are asked for."""
    factors = factors_of_sum(terms, number)
    needed = tuple(
        torch.is_grad_enabled() and tensor is not None and tensor.requires_grad for tensor in of[:3]
    )
    loss, largest = LinearLoss.apply(*of, *factors[:4], *options, factors.gamma, needed)[:2]
    return mean_of_sum(loss, number), largest


def _in_chunks(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    ignore_index: int | None,
    label_smoothing: float,
) -> bool:
    """The logits need not be in memory all at once; errors are for the functions that make them."""
    parts = [input, linear_weight, *([] if linear_bias is None else [linear_bias])]
    if not all(has_kernel(part) and part.dtype == input.dtype for part in parts):
        return False
    if linear_weight.dim() != 2 or input.dim() not in (1, 2) or 0 in linear_weight.shape:
        return False
    if input.shape[-1] != linear_weight.shape[1]:
        return False
    if linear_bias is not None and linear_bias.shape != linear_weight.shape[:1]:
        return False
    if target.is_floating_point() and (ignore_index is not None or target.requires_grad):
        return False
    ignored = -100 if ignore_index is None else ignore_index
    if weight is not None and weight.requires_grad:
        return False
    if torch._C._are_functorch_transforms_active() or any(_has_tangent(part) for part in parts):
        return False
    logits = torch.empty(
        (*input.shape[:-1], linear_weight.shape[0]),
        dtype=target.dtype if target.is_floating_point() else input.dtype,
        device="meta",
    )
    return fits(logits, target, weight, reduction, label_smoothing, ignored)


def _has_tangent(tensor: Tensor) -> bool:
    return torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None


def _is_known(argument: object) -> bool:
    """No tensor that asks for more than a gradient in backward: a subclass, or a tangent."""
    return not isinstance(argument, Tensor) or not (is_wrapper(argument) or _has_tangent(argument))


def _linear_loss_of_shards(*arguments: Any) -> Tensor | None:
    from activations_ext.functional.sharded_logits import linear_loss

    return linear_loss(*arguments)


def _logits(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    ignore_index: int | None,
) -> Tensor:
    """All of them, as torch's function makes them."""
    if input.dim() not in (1, 2) or linear_weight.dim() < 2:
        raise RuntimeError(
            "linear_cross_entropy(): expected arguments 'input' to have 1 or 2 dimensions and "
            f"'linear_weight' 2 or more, but got shapes {tuple(input.shape)} and "
            f"{tuple(linear_weight.shape)}"
        )
    classes, *outer = linear_weight.shape[:-1]
    if linear_bias is not None and linear_bias.shape != linear_weight.shape[:-1]:
        raise RuntimeError(
            "linear_cross_entropy(): expected argument 'linear_bias' to have the shape "
            f"{tuple(linear_weight.shape[:-1])}, but got {tuple(linear_bias.shape)}"
        )
    if outer and input.dim() == 1:
        raise RuntimeError(
            "linear_cross_entropy(): expected argument 'input' to have a batch, (N, features), for "
            f"linear_weight of shape {tuple(linear_weight.shape)}, but got {tuple(input.shape)}"
        )
    flat = linear_weight.reshape(math.prod(outer, start=classes), linear_weight.shape[-1])
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = torchs("linear")(input, flat, bias)
    logits = logits.reshape(*input.shape[:-1], classes, *outer)
    if target.shape == logits.shape and target.is_floating_point() and ignore_index is not None:
        raise RuntimeError(
            "linear_cross_entropy(): expected argument 'ignore_index' to be None where 'target' "
            f"holds probabilities, but got {ignore_index}"
        )
    return logits

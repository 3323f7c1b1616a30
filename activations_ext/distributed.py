"""Cross-entropies of a vocabulary that is split over the ranks of a ``torch.distributed`` group.

Each rank holds the logits, or the weight that makes them, of consecutive classes; targets and
hidden states are the same on all ranks. Exchanged are the maximum of each row and then, in one more
all-reduce, its sum and its target's logit: the logits are never gathered. The gradient of the
logits needs no exchange; that of the hidden states is summed over the ranks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from activations_ext._call import DTYPES, has_kernel
from activations_ext.functional.losses import as_integer
from activations_ext.functional.row_losses import (
    Asked,
    Terms,
    check_num_items,
    divisor,
    factors_of_sum,
    loss_of_rows,
    mean_of_sum,
    result_dtype,
    terms_of_classes,
)
from activations_ext.functional.vocabulary_shards import (
    Part,
    ShardLoss,
    group_of,
    statistics_of_shards,
)

__all__ = ["count_items", "cross_entropy", "linear_cross_entropy"]


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    group: Any = None,
    vocab_start: int | None = None,
    vocab_size: int | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    logit_scale: float = 1.0,
    token_weight: Tensor | None = None,
    num_items: float | Tensor | None = None,
    focal_gamma: float = 0.0,
    zero_if_empty: bool = False,
    loss_dtype: torch.dtype | None = None,
    return_lse: bool = False,
    return_log_prob: bool = False,
    return_entropy: bool = False,
) -> Any:
    """``functional.cross_entropy`` of logits whose classes are split over the ranks of ``group``.

    All ranks get the same loss, and each the gradient of its own logits. There are two all-reduces:
    of a maximum for each row, and of two to four sums. Differentiable once, in reverse mode. What
    is not described below is as ``functional.cross_entropy``'s.

    Args:
        input: the logits of this rank's classes, of shape (n), (N, n) or (N, n, d1, …).
        target: classes of the whole vocabulary, of the shape of ``input`` without n; the same on
            all ranks.
        weight: a number for each class of the whole vocabulary.
        group: a process group or a one-dimensional DeviceMesh; None is the default group.
        vocab_start: the first class of this rank.
        vocab_size: the number of all classes. Where this or ``vocab_start`` is None the ranks first
            tell each other how many classes they have; the lower ranks have the lower classes.

    Returns:
        What ``functional.cross_entropy`` returns.

    Raises:
        IndexError: a class is neither ``ignore_index`` nor in the vocabulary. On a GPU and in
            compiled graphs the loss of such a row is NaN instead.
        ValueError, RuntimeError: shapes, dtypes and options that do not fit.
    """
    _check(input, target, reduction, label_smoothing, input.shape[:1] + input.shape[2:])
    part = Part.of(group, input.shape[min(1, input.dim() - 1)], vocab_start, vocab_size, target)
    options = _Options(ignore_index, label_smoothing, z_loss, focal_gamma, token_weight)
    terms = _terms(part, options, target, weight, input.dtype, reduction, num_items)
    row = statistics_of_shards(part, input, target, terms, softcap, logit_scale, return_entropy)
    dtype = loss_dtype or result_dtype(input)
    loss = loss_of_rows(terms, row, reduction, num_items, zero_if_empty, dtype)
    asked = Asked(return_lse, return_log_prob, return_entropy, False, False)
    return (loss, *asked.of(terms, row)) if any(asked) else loss


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    group: Any = None,
    vocab_start: int | None = None,
    vocab_size: int | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    logit_scale: float = 1.0,
    token_weight: Tensor | None = None,
    num_items: float | Tensor | None = None,
    focal_gamma: float = 0.0,
    zero_if_empty: bool = False,
    loss_dtype: torch.dtype | None = None,
    memory_budget: int = 2**28,
) -> Tensor:
    """``functional.linear_cross_entropy`` of a weight whose classes are split over the ranks.

    The gradients are made together with the loss, chunk of rows by chunk of rows: two all-reduces a
    chunk, and one of the hidden states' gradient, in float32 at least. Differentiable once. What
    is not described below is as ``functional.cross_entropy``'s.

    Args:
        input: hidden states, of shape (N, features); the same on all ranks.
        linear_weight: of this rank's classes, of shape (n, features).
        target: classes of the whole vocabulary, of shape (N); the same on all ranks.
        linear_bias: of this rank's classes, of shape (n).
        weight, group, vocab_start, vocab_size: as ``cross_entropy``'s.
        reduction: ``"mean"`` or ``"sum"``.
        memory_budget: bytes that a chunk of a rank's logits may take; the same on all ranks.

    Raises:
        IndexError, ValueError, RuntimeError: as ``cross_entropy``.
    """
    if as_integer("linear_cross_entropy", "memory_budget", memory_budget) <= 0:
        raise ValueError(
            "linear_cross_entropy(): expected argument 'memory_budget' to be positive, but got "
            f"{memory_budget}"
        )
    if reduction == "none" or input.dim() != 2 or linear_weight.dim() != 2:
        raise ValueError(
            "linear_cross_entropy(): expected hidden states and a weight of two dimensions and a "
            f"'reduction' of 'mean' or 'sum', but got shapes {tuple(input.shape)} and "
            f"{tuple(linear_weight.shape)} and {reduction!r}"
        )
    if torch.is_autocast_enabled(input.device.type):
        dtype = torch.get_autocast_dtype(input.device.type)
        input, linear_weight = input.to(dtype), linear_weight.to(dtype)
        linear_bias = None if linear_bias is None else linear_bias.to(dtype)
    _check(input, target, reduction, label_smoothing, input.shape[:1])
    part = Part.of(group, linear_weight.shape[0], vocab_start, vocab_size, target)
    options = _Options(ignore_index, label_smoothing, z_loss, focal_gamma, token_weight)
    terms = _terms(part, options, target, weight, input.dtype, reduction, num_items)
    number = divisor(terms.counts, reduction, num_items, zero_if_empty)
    factors = factors_of_sum(terms, number)
    factors = factors._replace(a=part.checked(factors.a, target, terms))
    needed = tuple(
        torch.is_grad_enabled() and tensor is not None and tensor.requires_grad
        for tensor in (input, linear_weight, linear_bias)
    )
    budget = part.budget(memory_budget, input.dtype)
    with torch.autocast(input.device.type, enabled=False):
        loss: Tensor = ShardLoss.apply(
            input,
            linear_weight,
            linear_bias,
            part.of_targets(target, terms),
            part.weights(terms),
            terms.kept,
            *factors,
            softcap,
            logit_scale,
            budget,
            part.group,
            needed,
        )
    loss = mean_of_sum(loss, number)
    return loss.to(loss_dtype or result_dtype(input))


def count_items(
    target: Tensor, *, ignore_index: int = -100, shift: int = 0, group: Any = None
) -> Tensor:
    """The number of targets on all ranks that are not ignored: ``num_items`` of a batch whose rows
    are split over the ranks. With it, gradients that are summed over the ranks are those of the
    whole batch; DistributedDataParallel divides them by their number, so multiply the loss by it.

    Args:
        target: the targets of this rank.
        shift: how many targets of each sequence, along the last dimension, are predicted by none.
    """
    count = (target[..., shift:] != ignore_index).sum()
    dist.all_reduce(count, group=group_of(group))
    return count


class _Options(NamedTuple):
    ignore_index: int
    label_smoothing: float
    z_loss: float
    focal_gamma: float
    token_weight: Tensor | None


def _check(
    input: Tensor, target: Tensor, reduction: str, label_smoothing: float, rows: torch.Size
) -> None:
    if input.dim() == 1:
        rows = torch.Size()
    if input.dtype not in DTYPES or not has_kernel(input):
        raise RuntimeError(
            "cross_entropy(): expected argument 'input' to be a dense tensor of a dtype with "
            f"kernels, but got {input.dtype}"
        )
    if target.is_floating_point() or target.shape != rows:
        raise ValueError(
            f"cross_entropy(): expected argument 'target' to have classes of shape {list(rows)}, "
            f"but got {target.dtype} of shape {list(target.shape)}"
        )
    if reduction not in ("none", "mean", "sum") or not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(
            "cross_entropy(): expected arguments 'reduction' to be none, mean or sum and "
            f"'label_smoothing' from 0 to 1, but got {reduction!r} and {label_smoothing}"
        )


def _terms(
    part: Part,
    options: _Options,
    target: Tensor,
    weight: Tensor | None,
    dtype: torch.dtype,
    reduction: str,
    num_items: float | Tensor | None,
) -> Terms:
    ignore_index = as_integer("cross_entropy", "ignore_index", options.ignore_index)
    check_num_items("cross_entropy", num_items, reduction)
    if weight is not None and weight.shape != (part.classes,):
        raise RuntimeError(
            f"cross_entropy(): expected argument 'weight' to have {part.classes} numbers, one for "
            f"each class of the vocabulary, but got shape {list(weight.shape)}"
        )
    terms = terms_of_classes(
        target.to(torch.int64),
        part.classes,
        weight,
        ignore_index,
        options.label_smoothing,
        torch.float64 if dtype == torch.float64 else torch.float32,
    )
    is_mean = reduction == "mean" and num_items is None
    return terms.with_options(
        "cross_entropy", options.z_loss, options.focal_gamma, options.token_weight, is_mean
    )

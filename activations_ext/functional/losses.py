"""Losses for classification, made of ``row_statistics``: one look at the logits forward, one look
and one write backward. What follows from the statistics is arithmetic on one number a row."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import _reduction

from activations_ext._call import overridable

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@overridable
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
    num_items: float | Tensor | None = None,
) -> Tensor:
    """Minus the logarithm of the probability that the logits give to the target.

    Of a class t: ``−w_t·log p_t`` with ``log p_t = x_t − log Σ e^(x_k)``; with smoothing ε
    ``−(1−ε)·w_t·log p_t − ε/C·Σ w_c·log p_c``. Of probabilities q: ``−Σ q_c·w_c·log p_c``. Computed
    in float32 for 16-bit logits. Where every row is ignored the mean is NaN, as torch's; a NaN
    logit makes its row's loss NaN, unless the row is ignored.

    Args:
        input: logits, of shape (C), (N, C) or (N, C, d1, …).
        target: classes, integers of the shape of ``input`` without C, or probabilities of the
            shape and dtype of ``input``.
        weight: a number for each class.
        size_average: deprecated, see torch.
        ignore_index: rows with this class count neither in the sum nor in the divisor.
        reduce: deprecated, see torch.
        reduction: ``"none"``, ``"sum"``, or ``"mean"``: divided by the sum of the rows' ``w_t``,
            for probabilities by the number of rows.
        label_smoothing: ε from 0 to 1.
        z_loss: λ of an additional ``λ·lse²``, which keeps ``lse = log Σ e^(x_k)`` near 0 (Chowdhery
            et al., arXiv:2204.02311).
        softcap: s of ``s·tanh(x/s)`` in place of the logits; 0 for none (Gemma 2,
            arXiv:2408.00118).
        num_items: the divisor of the mean, where rows are spread over several calls.

    Raises:
        IndexError: a class is neither ``ignore_index`` nor from 0 to C − 1; with its position.
        RuntimeError, ValueError, TypeError: as torch's function, for shapes and dtypes that do not
            fit.
    """
    if size_average is not None or reduce is not None:
        reduction = _reduction.legacy_get_string(size_average, reduce)
    if not _fits(input, target, weight, reduction, label_smoothing):
        # Torch's own errors, and whatever it computes besides.
        return torch.nn.functional.cross_entropy(
            input, target, weight, None, ignore_index, None, reduction, label_smoothing
        )
    dim = 0 if input.dim() == 1 else 1
    if target.is_floating_point():
        losses, lse, counts = _of_probabilities(
            input, target, weight, dim, label_smoothing, softcap
        )
    else:
        losses, lse, counts = _of_classes(
            input, target, weight, dim, ignore_index, label_smoothing, softcap
        )
    if z_loss != 0:
        kept = True if target.is_floating_point() else target != ignore_index
        losses = losses + z_loss * torch.where(torch.as_tensor(kept), lse, 0.0).square()
    if reduction == "none":
        return losses.to(input.dtype)
    total = losses.sum()
    if reduction == "mean" or num_items is not None:
        total = total / (counts.sum() if num_items is None else num_items)
    return total.to(input.dtype)


def _fits(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> bool:
    """The arguments are ones that the operator takes."""
    if input.dtype not in _DTYPES or input.dim() == 0 or input.layout != torch.strided:
        return False
    if reduction not in ("none", "mean", "sum") or not 0.0 <= label_smoothing <= 1.0:
        return False
    classes = input.shape[0 if input.dim() == 1 else 1]
    if classes == 0 or (weight is not None and weight.shape != (classes,)):
        return False
    if target.is_floating_point():
        return target.shape == input.shape and target.dtype == input.dtype
    rows = input.shape[:1] + input.shape[2:] if input.dim() > 1 else input.shape[1:]
    return target.shape == rows and target.dtype in (torch.int64, torch.int32, torch.uint8)


def _statistics(
    input: Tensor,
    dim: int,
    target: Tensor | None,
    weight: Tensor | None,
    ignore_index: int,
    softcap: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    row = torch.ops.activations_ext.row_statistics(
        input, dim, target, weight, ignore_index, softcap, False
    )
    return row[0], row[1], row[2], row[3]


def _of_classes(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    dim: int,
    ignore_index: int,
    label_smoothing: float,
    softcap: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The losses, lse and the rows' shares of the divisor."""
    classes = target.to(torch.int64)
    smooth = None
    if label_smoothing > 0:
        smooth = weight if weight is not None else input.new_ones(input.shape[dim])
    maximum, log_sum, target_logit, weighted = _statistics(
        input, dim, classes, smooth, ignore_index, softcap
    )
    kept = classes != ignore_index
    losses = log_sum - target_logit
    counts = kept.to(log_sum.dtype)
    if weight is not None:
        of_target = weight.to(log_sum.dtype)[torch.where(kept, classes, 0)]
        losses = losses * of_target
        counts = counts * of_target
    if smooth is not None:
        total = smooth.to(log_sum.dtype).sum()
        smoothed = total * log_sum - weighted
        losses = (1 - label_smoothing) * losses + label_smoothing / input.shape[dim] * smoothed
    return torch.where(kept, losses, 0.0), maximum + log_sum, counts


def _of_probabilities(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    dim: int,
    label_smoothing: float,
    softcap: float,
) -> tuple[Tensor, Tensor, Tensor]:
    shares = target
    if label_smoothing > 0:
        shares = shares * (1 - label_smoothing) + label_smoothing / input.shape[dim]
    if weight is not None:
        shape = [1] * input.dim()
        shape[dim] = -1
        shares = shares * weight.to(input.dtype).view(shape)
    maximum, log_sum, _, weighted = _statistics(input, dim, None, shares, -100, softcap)
    losses = shares.sum(dim, dtype=log_sum.dtype) * log_sum - weighted
    return losses, maximum + log_sum, torch.ones_like(log_sum)

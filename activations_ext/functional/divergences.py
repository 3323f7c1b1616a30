"""Divergences of a student's distributions over classes from a teacher's: the losses of
distillation."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

import activations_ext._C as _C
from activations_ext._call import DTYPES, has_kernel, is_wrapper, overridable
from activations_ext.functional.row_losses import check_storages, result_dtype
from activations_ext.functional.row_statistics import (
    RowGradients,
    Statistics,
    ordered_sum,
    row_statistics,
    statistics_gradient,
)

# In the order of DivergenceKind in csrc/device/divergence_job.h.
DIRECTIONS = ("forward", "reverse")
JENSEN_SHANNON = 2
REDUCTIONS = ("none", "batchmean", "mean", "sum")


@overridable
def kl_divergence(
    logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
    direction: str = "forward",
    reduction: str = "batchmean",
    token_weight: Tensor | None = None,
    temperature_squared: bool = False,
    dim: int = -1,
) -> Tensor:
    """The Kullback–Leibler divergence of two softmaxes over each row.

    Forward ``KL(q‖p) = Σ q_c·log(q_c/p_c)``, reverse ``KL(p‖q)``, with ``p = softmax(logits/T)`` of
    the student and ``q = softmax(teacher_logits/T)``. Each logit is read from memory once, and no
    softmax is stored. Computed in float32 for 16-bit logits. A class of probability 0 adds nothing,
    NaN makes its row NaN. Differentiable any number of times; by the teacher's logits, and on GPUs,
    by torch's operators. (Hinton et al., arXiv:1503.02531; the reverse: Gu et al.,
    arXiv:2306.08543.)

    Args:
        logits: the student's, of any shape; float32, float64, bfloat16 or float16.
        teacher_logits: of the shape of ``logits``. Where dtypes differ both are promoted.
        temperature: T, a positive number.
        direction: ``"forward"`` or ``"reverse"``.
        reduction: ``"none"``: a number for each row; ``"sum"``; ``"batchmean"``: the sum divided by
            the size of the first dimension, as torch's ``kl_div``; ``"mean"``: divided by the
            number of rows, or by the sum of ``token_weight``. (Torch's divides by the classes too.)
        token_weight: a factor for each row. Rows of weight 0 have no part in anything, NaN
            included.
        temperature_squared: multiply by T², which keeps the size of the gradients as T changes.
        dim: the dimension of the classes.

    Returns:
        In the dtype of ``logits`` (float32 under autocast).

    Raises:
        ValueError: there is no such ``direction`` or ``reduction``, ``temperature`` is not a
            positive number, or shapes differ.
        NotImplementedError: tensors of integers.

    Example:
        >>> student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> F.kl_divergence(student, teacher)
        tensor(0.4621)
    """
    name, kind = "kl_divergence", kind_of("kl_divergence", direction)
    check_options(name, temperature, reduction)
    values = row_divergences(name, logits, teacher_logits, kind, 0.0, temperature, dim)
    factor = temperature**2 if temperature_squared else 1.0
    return _reduced(name, values, logits, reduction, token_weight, factor)


@overridable
def js_divergence(
    logits: Tensor,
    teacher_logits: Tensor,
    *,
    beta: float = 0.5,
    temperature: float = 1.0,
    reduction: str = "batchmean",
    token_weight: Tensor | None = None,
    temperature_squared: bool = False,
    dim: int = -1,
) -> Tensor:
    """The Jensen–Shannon divergence of two softmaxes over each row.

    ``β·KL(q‖m) + (1 − β)·KL(p‖m)`` with ``m = β·q + (1 − β)·p``, p the student's distribution and q
    the teacher's. At most log 2 for β = ½. (Agarwal et al., arXiv:2306.13649.)

    Args:
        beta: β from 0 to 1. At both ends the divergence is 0.
        logits, teacher_logits, temperature, reduction, token_weight, temperature_squared, dim: as
            ``kl_divergence``'s.

    Raises:
        ValueError: ``beta`` is not from 0 to 1; and as ``kl_divergence``.
        NotImplementedError: tensors of integers.

    Example:
        >>> student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> F.js_divergence(student, teacher)
        tensor(0.1109)
    """
    name = "js_divergence"
    check_beta(name, beta)
    check_options(name, temperature, reduction)
    values = row_divergences(name, logits, teacher_logits, JENSEN_SHANNON, beta, temperature, dim)
    factor = temperature**2 if temperature_squared else 1.0
    return _reduced(name, values, logits, reduction, token_weight, factor)


@overridable
def top_k_kl_divergence(
    logits: Tensor,
    teacher_probabilities: Tensor,
    teacher_indices: Tensor,
    *,
    temperature: float = 1.0,
    reduction: str = "batchmean",
    token_weight: Tensor | None = None,
    temperature_squared: bool = False,
) -> Tensor:
    """The forward divergence from a teacher of which k probabilities a row are known.

    ``Σ q_k·(log q_k − log p_k)``: the classes that are not among them count as impossible, and
    probabilities that do not sum to 1 are taken as they are. One read of the logits; backward
    writes one tensor of their size. Differentiable once, in the logits.

    Args:
        logits: of shape (\\*, C).
        teacher_probabilities: of shape (\\*, k), at the teacher's temperature.
        teacher_indices: their classes, k different ones from 0 to C − 1; int64 of shape (\\*, k).
        temperature: T of the student; a positive number.
        reduction, token_weight, temperature_squared: as ``kl_divergence``'s.

    Raises:
        RuntimeError: an index is no class; on a GPU asynchronously, as torch's ``gather``.
        ValueError: shapes do not fit; and as ``kl_divergence``.
        NotImplementedError: logits that are integers.

    Example:
        >>> logits = torch.tensor([[1.0, 0.0, 3.0]])
        >>> F.top_k_kl_divergence(logits, torch.tensor([[0.9, 0.1]]), torch.tensor([[2, 0]]))
        tensor(0.0448)
    """
    name = "top_k_kl_divergence"
    check_options(name, temperature, reduction)
    _check_logits(name, "logits", logits)
    for argument, tensor in (
        ("teacher_probabilities", teacher_probabilities),
        ("teacher_indices", teacher_indices),
    ):
        fits = tensor.dim() == logits.dim() > 0 and tensor.shape[:-1] == logits.shape[:-1]
        if not fits or tensor.shape != teacher_indices.shape:
            raise ValueError(
                f"{name}(): expected argument '{argument}' to have k classes where 'logits' of "
                f"shape {list(logits.shape)} has all, but got {list(tensor.shape)}"
            )
    check_storages(logits, teacher_probabilities, teacher_indices)
    log_p: Tensor = _LogProbabilities.apply(logits, teacher_indices, 1 / temperature)
    q = teacher_probabilities.detach().to(log_p.dtype)
    values = (torch.xlogy(q, q) - q * torch.where(q == 0, 0.0, log_p)).sum(-1)
    factor = temperature**2 if temperature_squared else 1.0
    return _reduced(name, values, logits, reduction, token_weight, factor)


class _LogProbabilities(torch.autograd.Function):
    """Of some classes of each row, in the type that computes."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, indices: Tensor, scale: float) -> Tensor:
        row = row_statistics(logits, -1, logit_scale=scale)
        chosen = logits.gather(-1, indices).to(row.maximum.dtype) * scale
        log_p = chosen - row.maximum.unsqueeze(-1) - row.log_sum.unsqueeze(-1)
        ctx.save_for_backward(logits, indices, row.maximum, row.log_sum, log_p)
        ctx.scale = scale
        return log_p

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        logits, indices, maximum, log_sum, log_p = ctx.saved_tensors
        total, nothing = grad.sum(-1), maximum.new_empty(0)
        row = Statistics(maximum, log_sum, *[nothing] * 5)
        grads = RowGradients(-total, None, None, None)
        result = statistics_gradient(logits, -1, row, grads, logit_scale=ctx.scale)
        # Before it is rounded: little may be left of q − p.
        chosen = (grad - total.unsqueeze(-1) * log_p.exp()) * ctx.scale
        return result.scatter_(-1, indices, chosen.to(result.dtype)), None, None


def row_divergences(
    name: str,
    logits: Tensor,
    teacher: Tensor,
    kind: int,
    beta: float,
    temperature: float,
    dim: int,
) -> Tensor:
    """A number for each row, in the type that computes."""
    for argument, tensor in (("logits", logits), ("teacher_logits", teacher)):
        _check_logits(name, argument, tensor)
    if teacher.shape != logits.shape or logits.dim() == 0:
        raise ValueError(
            f"{name}(): expected argument 'teacher_logits' to have the shape of 'logits', "
            f"{list(logits.shape)}, and at least one dimension, but got {list(teacher.shape)}"
        )
    dtype = torch.promote_types(logits.dtype, teacher.dtype)
    check_storages(logits, teacher)
    both = (logits.to(dtype), teacher.to(dtype))
    options = (dim, kind, float(beta), 1 / temperature)
    if any(map(is_wrapper, both)) and not all(map(has_kernel, both)):
        by_formula: Tensor = _C.row_divergence_by_formula(*both, *options)
        return by_formula
    values: Tensor = torch.ops.activations_ext.row_divergence(*both, *options)[0]
    return values


def _check_logits(name: str, argument: str, tensor: Tensor) -> None:
    if tensor.dtype not in DTYPES:
        raise NotImplementedError(
            f"{name}(): expected argument '{argument}' to be a tensor of float32, float64, "
            f"bfloat16 or float16, but got {tensor.dtype}"
        )


def kind_of(name: str, direction: str) -> int:
    if direction not in DIRECTIONS:
        raise ValueError(
            f"{name}(): expected argument 'direction' to be forward or reverse, but got "
            f"{direction!r}"
        )
    return DIRECTIONS.index(direction)


def check_options(name: str, temperature: float, reduction: str) -> None:
    if not 0 < temperature < math.inf:
        raise ValueError(
            f"{name}(): expected argument 'temperature' to be a positive number, but got "
            f"{temperature}"
        )
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"{name}(): expected argument 'reduction' to be one of {', '.join(REDUCTIONS)}, but "
            f"got {reduction!r}"
        )


def check_beta(name: str, beta: float) -> None:
    if not 0 <= beta <= 1:
        raise ValueError(f"{name}(): expected argument 'beta' to be from 0 to 1, but got {beta}")


def row_weights(name: str, rows: torch.Size, token_weight: Tensor, dtype: torch.dtype) -> Tensor:
    if token_weight.shape != rows:
        raise ValueError(
            f"{name}(): expected argument 'token_weight' to have a number for each row, shape "
            f"{list(rows)}, but got {list(token_weight.shape)}"
        )
    check_storages(token_weight)
    return token_weight.to(dtype)


def divisor(rows: torch.Size, weights: Tensor | None, reduction: str) -> float | Tensor:
    """What the sum is divided by, for rows of this shape."""
    if reduction == "batchmean":
        return rows[0] if len(rows) > 0 else 1
    if reduction == "mean":
        return math.prod(rows) if weights is None else ordered_sum(weights)
    return 1


def _reduced(
    name: str,
    values: Tensor,
    logits: Tensor,
    reduction: str,
    token_weight: Tensor | None,
    factor: float,
) -> Tensor:
    weights = None
    if token_weight is not None:
        weights = row_weights(name, values.shape, token_weight, values.dtype)
        values = torch.where(weights == 0, 0.0, values) * weights
    if factor != 1:
        values = values * factor
    if reduction != "none":
        values = ordered_sum(values) / divisor(values.shape, weights, reduction)
    return values.to(result_dtype(logits))

"""Divergences straight from hidden states and weights: neither the student's logits nor the
teacher's are in memory all at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

import activations_ext._C as _C
from activations_ext._call import has_kernel, overridable
from activations_ext._torchs import torchs
from activations_ext.functional.divergences import (
    JENSEN_SHANNON,
    check_beta,
    check_options,
    divisor,
    js_divergence,
    kind_of,
    kl_divergence,
    row_weights,
)
from activations_ext.functional.linear_chunks import (
    Accumulated,
    Gradients,
    Linear,
    are_plain,
    scale_for,
    times,
)
from activations_ext.functional.losses import as_integer
from activations_ext.functional.row_losses import result_dtype
from activations_ext.functional.row_statistics import ordered_sum


@overridable
def linear_kl_div(
    input: Tensor,
    linear_weight: Tensor,
    teacher_input: Tensor,
    teacher_weight: Tensor,
    *,
    linear_bias: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    temperature: float = 1.0,
    direction: str = "forward",
    reduction: str = "batchmean",
    token_weight: Tensor | None = None,
    temperature_squared: bool = False,
    memory_budget: int = 2**28,
) -> Tensor:
    """``kl_divergence(linear(input, linear_weight), linear(teacher_input, teacher_weight))`` in
    chunks of rows.

    The gradients are made together with the loss: of a chunk, the student's logits become their
    gradient. That takes four matrix products, one of them the teacher's. Rows of ``token_weight`` 0
    are dropped before the products on the CPU. With the reduction ``"none"``, in compiled graphs
    and for a second derivative all logits are in memory. The teacher gets no gradient.

    Args:
        input: the student's hidden states, of shape (\\*, features).
        linear_weight: of shape (C, features).
        teacher_input: of shape (\\*, teacher's features).
        teacher_weight: of shape (C, teacher's features).
        linear_bias, teacher_bias: of shape (C).
        temperature, direction, reduction, token_weight, temperature_squared: as
            ``kl_divergence``'s.
        memory_budget: bytes that a chunk of the student's and the teacher's logits may take. One
            row at least is done at a time.

    Raises:
        ValueError, NotImplementedError: as ``kl_divergence``.
        RuntimeError: shapes that do not fit.

    Example:
        >>> hidden, weight = torch.eye(2), torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
        >>> F.linear_kl_div(hidden, weight, hidden, weight.flip(0))
        tensor(0.2103)
    """
    kind = kind_of("linear_kl_div", direction)
    return _divergence(
        "linear_kl_div",
        (input, linear_weight, linear_bias),
        (teacher_input, teacher_weight, teacher_bias),
        _Of(kind, 0.0, partial(kl_divergence, direction=direction)),
        temperature,
        reduction,
        token_weight,
        temperature_squared,
        memory_budget,
    )


@overridable
def linear_jsd(
    input: Tensor,
    linear_weight: Tensor,
    teacher_input: Tensor,
    teacher_weight: Tensor,
    *,
    linear_bias: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    beta: float = 0.5,
    temperature: float = 1.0,
    reduction: str = "batchmean",
    token_weight: Tensor | None = None,
    temperature_squared: bool = False,
    memory_budget: int = 2**28,
) -> Tensor:
    """``js_divergence(linear(input, linear_weight), linear(teacher_input, teacher_weight))`` in
    chunks of rows, as ``linear_kl_div``.

    Args:
        beta: β, as ``js_divergence``'s.
        input, linear_weight, teacher_input, teacher_weight: as ``linear_kl_div``'s.
        linear_bias, teacher_bias, temperature, reduction: as ``linear_kl_div``'s.
        token_weight, temperature_squared, memory_budget: as ``linear_kl_div``'s.

    Raises:
        ValueError, NotImplementedError: as ``js_divergence``.
        RuntimeError: shapes that do not fit.

    Example:
        >>> hidden, weight = torch.eye(2), torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
        >>> F.linear_jsd(hidden, weight, hidden, weight.flip(0))
        tensor(0.0505)
    """
    check_beta("linear_jsd", beta)
    return _divergence(
        "linear_jsd",
        (input, linear_weight, linear_bias),
        (teacher_input, teacher_weight, teacher_bias),
        _Of(JENSEN_SHANNON, beta, partial(js_divergence, beta=beta)),
        temperature,
        reduction,
        token_weight,
        temperature_squared,
        memory_budget,
    )


_Layer = tuple[Tensor, Tensor, Tensor | None]
"""Hidden states, weight and bias."""


class _Of(NamedTuple):
    kind: int
    beta: float
    of_logits: Callable[..., Tensor]


def _divergence(
    name: str,
    student: _Layer,
    teacher: _Layer,
    of: _Of,
    temperature: float,
    reduction: str,
    token_weight: Tensor | None,
    temperature_squared: bool,
    memory_budget: int,
) -> Tensor:
    check_options(name, temperature, reduction)
    memory_budget = as_integer(name, "memory_budget", memory_budget)
    if memory_budget <= 0:
        raise ValueError(
            f"{name}(): expected argument 'memory_budget' to be positive, but got {memory_budget}"
        )
    input = student[0]
    _check_shapes(name, student, teacher)
    dtype = result_dtype(input)
    device = input.device.type
    if torch.is_autocast_enabled(device):
        lower = torch.get_autocast_dtype(device)
        student, teacher = _as(student, lower), _as(teacher, lower)
    teacher = (
        teacher[0].detach(),
        teacher[1].detach(),
        None if teacher[2] is None else teacher[2].detach(),
    )
    if reduction == "none" or not _in_chunks(student, teacher, token_weight):
        linear = torchs("linear")
        return of.of_logits(
            linear(*student),
            linear(*teacher),
            temperature=temperature,
            reduction=reduction,
            token_weight=token_weight,
            temperature_squared=temperature_squared,
        ).to(dtype)
    rows = input.shape[:-1]
    wide = torch.promote_types(input.dtype, torch.float32)
    weights = None
    if token_weight is not None:
        weights = row_weights(name, rows, token_weight, wide).reshape(-1)
    factor = temperature**2 if temperature_squared else 1.0
    share = factor / divisor(rows, weights, reduction)
    factors = (
        torch.ones(rows.numel(), dtype=wide, device=input.device) if weights is None else weights
    )
    hidden = student[0].reshape(-1, student[0].shape[-1])
    teacher_hidden = teacher[0].reshape(-1, teacher[0].shape[-1])
    if weights is not None and device == "cpu" and not weights.all():
        kept = weights.nonzero().squeeze(1)
        hidden, teacher_hidden = hidden.index_select(0, kept), teacher_hidden.index_select(0, kept)
        factors = factors.index_select(0, kept)
    needed = tuple(
        torch.is_grad_enabled() and tensor is not None and tensor.requires_grad
        for tensor in student
    )
    options = (of.kind, of.beta, 1 / temperature, memory_budget)
    with torch.autocast(device, enabled=False):
        loss: Tensor = LinearDivergence.apply(
            hidden, *student[1:], teacher_hidden, *teacher[1:], factors * share, options, needed
        )[0]
    if isinstance(share, Tensor):  # the mean of nothing is NaN
        loss = loss + 0.0 * share
    return loss.to(dtype)


def _as(layer: _Layer, dtype: torch.dtype) -> _Layer:
    input, weight, bias = layer
    return input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


def _check_shapes(name: str, student: _Layer, teacher: _Layer) -> None:
    rows, classes = student[0].shape[:-1], student[1].shape[:1]
    for prefix, weights, (input, weight, bias) in (
        ("", "linear_", student),
        ("teacher_", "teacher_", teacher),
    ):
        fits = input.dim() > 0 and input.shape[:-1] == rows
        fits = fits and weight.dim() == 2 and weight.shape == classes + input.shape[-1:]
        if not fits or (bias is not None and bias.shape != classes):
            raise RuntimeError(
                f"{name}(): expected arguments '{prefix}input' of shape (*, features), "
                f"'{weights}weight' of (C, features) and '{weights}bias' of (C), with the * and C "
                f"of the student, but got {list(input.shape)}, {list(weight.shape)} and "
                f"{None if bias is None else list(bias.shape)}"
            )


def _in_chunks(student: _Layer, teacher: _Layer, token_weight: Tensor | None) -> bool:
    """The logits need not be in memory all at once; errors are for the functions that make them."""
    if is_dynamo_compiling() or torch._C._are_functorch_transforms_active():
        return False
    if token_weight is not None and (token_weight.requires_grad or not has_kernel(token_weight)):
        return False
    for layer in (student, teacher):
        parts = [part for part in layer if part is not None]
        if not all(has_kernel(part) and part.dtype == layer[0].dtype for part in parts):
            return False
        if not are_plain(*parts) or 0 in layer[1].shape or any(map(_has_tangent, parts)):
            return False
    return True


def _has_tangent(tensor: Tensor) -> bool:
    return torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None


class _Chunks:
    """The logits of both, chunk by chunk."""

    factors: Tensor

    def __init__(self, parts: tuple[Any, ...], options: tuple[Any, ...]) -> None:
        hidden, weight, bias, teacher_hidden, teacher_weight, teacher_bias, self.factors = parts
        kind, beta, self.scale, budget = options
        self.options = (-1, kind, beta, self.scale)  # of the operators, from dim on

        def layer(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Linear:
            each = max(1, budget // 2)
            return Linear(
                hidden, weight, bias, None, None, None, 0.0, -100, 0.0, 1.0, False, False, each
            )

        self.student = layer(hidden, weight, bias)
        self.teacher = layer(teacher_hidden, teacher_weight, teacher_bias)

    def both(self, part: slice, chunk: Linear) -> tuple[Tensor, Tensor]:
        logits = chunk.logits()
        teacher = self.teacher._replace(hidden=self.teacher.hidden[part]).logits()
        dtype = torch.promote_types(logits.dtype, teacher.dtype)
        return logits.to(dtype), teacher.to(dtype)

    def rows(self, logits: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """The divergences, and the statistics that their gradient needs."""
        values, statistics = torch.ops.activations_ext.row_divergence(
            logits, teacher, *self.options
        )
        return values, statistics

    def sum_and_gradients(
        self, factors: Tensor, scale: Tensor | None, needed: tuple[bool, ...]
    ) -> tuple[Tensor, Gradients]:
        """The weighted sum, and its gradients times ``scale``."""
        total, gradients = factors.new_zeros(()), Accumulated(self.student, needed)
        for part, chunk in self.student.chunks():
            logits, teacher = self.both(part, chunk)
            values, statistics = self.rows(logits, teacher)
            of_rows = factors[part]
            total = total + ordered_sum(torch.where(of_rows == 0, 0.0, of_rows * values))
            if any(needed):
                grads = of_rows if scale is None else of_rows * scale
                grad_logits = _C.divergence_gradient(
                    grads.to(values.dtype), logits, teacher, *self.options, statistics
                )
                gradients.add(part, chunk, grad_logits)
            del logits, teacher  # before the next are made
        return total, gradients.sums()

    def differentiable(self, factors: Tensor) -> Gradients:
        """All at once, by operators that have derivatives."""
        of = self.student
        logits, teacher = self.both(slice(None), of)
        values, statistics = self.rows(logits, teacher)
        grad: Tensor = torch.ops.activations_ext.row_divergence_backward(
            factors.to(values.dtype), logits, teacher, *self.options, statistics
        )
        grad = grad.to(of.weight.dtype)
        return grad @ of.weight, grad.t() @ of.hidden, grad.sum(0)


class LinearDivergence(torch.autograd.Function):
    """The sum of the rows' divergences times their factors, whose gradients are made together with
    it, as ``LinearLoss``'s."""

    @staticmethod
    def forward(
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        teacher_hidden: Tensor,
        teacher_weight: Tensor,
        teacher_bias: Tensor | None,
        factors: Tensor,
        options: tuple[Any, ...],
        needed: tuple[bool, ...],
    ) -> tuple[Tensor | None, ...]:
        parts = (hidden, weight, bias, teacher_hidden, teacher_weight, teacher_bias, factors)
        chunks = _Chunks(parts, options)
        scale = scale_for(chunks.student, factors * chunks.scale) if any(needed) else None
        total, gradients = chunks.sum_and_gradients(factors, scale, needed)
        return (total, scale, *gradients)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.save_for_backward(*inputs[:7])
        ctx.options, ctx.needed = inputs[7:]
        ctx.made, ctx.scale = output[2:], output[1]
        ctx.mark_non_differentiable(*(o for o in output[1:] if o is not None))
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Any, ...]:
        if grad is None:
            return (None,) * 9
        chunks = _Chunks(ctx.saved_tensors, ctx.options)
        made: tuple[Tensor | None, ...] | None = ctx.made
        ctx.made = None
        gradients: tuple[Tensor | None, ...]
        if torch.is_grad_enabled() or not are_plain(grad):
            gradients = chunks.differentiable(chunks.factors * grad)
        else:
            if made is None:  # for the second time
                made = chunks.sum_and_gradients(chunks.factors, ctx.scale, ctx.needed)[1]
            factor = grad if ctx.scale is None else grad / ctx.scale
            dtype = chunks.student.weight.dtype
            gradients = tuple(None if g is None else times(g, factor, dtype) for g in made)
        wanted = zip(gradients, ctx.needs_input_grad, strict=False)
        return (*(gradient if needed else None for gradient, needed in wanted), *[None] * 6)

"""Statistics and losses of rows of logits that are never in memory all at once: the logits are
``hidden·weightᵀ + bias``, made chunk of rows by chunk of rows, and made again for the gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

import activations_ext._C as _C
from activations_ext._torchs import torchs
from activations_ext.functional.row_statistics import (
    Factors,
    RowGradients,
    Statistics,
    ordered_sum,
    row_statistics,
    statistics_gradient,
)

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Gradients of the hidden states, the weight and the bias; None if not needed."""


class Linear(NamedTuple):
    """Where the logits come from, and which statistics are requested."""

    hidden: Tensor  # (N, features)
    weight: Tensor  # (classes, features)
    bias: Tensor | None  # (classes)
    classes: Tensor | None  # (N): the targets
    weights: Tensor | None  # (classes) or (N, classes)
    ignore_index: int
    softcap: float
    expected: bool
    budget: int
    """The bytes that the logits of a chunk may take; their gradient overwrites them."""

    @property
    def dtype(self) -> torch.dtype:
        """The logits': wider than the hidden states' where the probabilities of the targets are."""
        of_logits = self.weights is not None and self.weights.dim() == 2
        return self.weights.dtype if of_logits else self.hidden.dtype  # type: ignore[union-attr]

    @property
    def rows(self) -> int:
        """The rows of a chunk. Chunks are about equal, so that no product has only a few rows."""
        each = self.weight.shape[0] * self.dtype.itemsize
        most = max(1, self.budget // max(1, each))
        count = self.hidden.shape[0]
        chunks = max(1, -(-count // most))
        return min(most, -(-count // chunks // 64) * 64) or most

    def chunks(self) -> Iterator[tuple[slice, Linear]]:
        for start in range(0, self.hidden.shape[0], self.rows):
            part = slice(start, start + self.rows)
            of_rows = self.weights is not None and self.weights.dim() == 2
            yield (
                part,
                self._replace(
                    hidden=self.hidden[part],
                    classes=None if self.classes is None else self.classes[part],
                    weights=self.weights[part]
                    if self.weights is not None and of_rows
                    else self.weights,
                ),
            )

    def logits(self) -> Tensor:
        return torchs("linear")(self.hidden, self.weight, self.bias).to(self.dtype)

    def statistics(self, logits: Tensor) -> Statistics:
        return row_statistics(
            logits,
            1,
            target=self.classes,
            weight=self.weights,
            ignore_index=self.ignore_index,
            softcap=self.softcap,
            expected=self.expected,
        )

    def grad_logits(self, logits: Tensor, row: Statistics, grads: RowGradients) -> Tensor:
        return statistics_gradient(
            logits,
            1,
            row,
            grads,
            target=self.classes,
            weight=self.weights,
            ignore_index=self.ignore_index,
            softcap=self.softcap,
            expected=self.expected,
        )

    def consumed(self, logits: Tensor, row: Statistics, grads: RowGradients) -> Tensor:
        """The same, overwriting the logits where they are plain memory, which halves the memory."""
        if is_dynamo_compiling() or grads.expected_logit is not None or not are_plain(logits):
            return self.grad_logits(logits, row, grads)
        _C.overwrite_with_gradient(
            logits,
            self.classes,
            self.weights,
            self.ignore_index,
            self.softcap,
            row.maximum,
            row.log_sum,
            grads.log_sum,
            grads.target_logit,
            grads.weighted_sum,
        )
        return logits


def are_plain(*tensors: Tensor | None) -> bool:
    """A plain tensor on a device with kernels: not a subclass, and not wrapped by vmap."""
    return is_dynamo_compiling() or all(
        tensor is None or _C.is_plain_memory(tensor) for tensor in tensors
    )


def scale_for(of: Linear, *factors: Tensor | None) -> Tensor | None:
    """A power of two by which the ``factors`` of the logits' gradient are multiplied, so that
    float16 holds the gradient: divided by thousands of rows, and among as many classes, it would
    underflow. None: no need, as other dtypes have the range.
    """
    known = [factor.detach() for factor in factors if factor is not None]
    if of.hidden.dtype != torch.float16 or not known or of.hidden.shape[0] == 0:
        return None
    largest = torch.stack([torch.linalg.vector_norm(factor, torch.inf) for factor in known]).amax()
    # What follows is a product with the weight, which must not overflow either.
    weights = of.weight.detach() if of.weight.numel() > 0 else of.weight.new_zeros(1)
    weight = torch.linalg.vector_norm(weights, torch.inf).float()
    limit = 256 / (weight / 16).clamp_min(1) / largest
    return torch.where(limit.isfinite(), limit.log2().floor().clamp(-60, 60).exp2(), 1.0)


def default_budget(weight: Tensor) -> int:
    """Bytes for a chunk of logits: large enough for the matrix products to be at full speed, small
    beside the weight of a large vocabulary. On a GPU each chunk reads and writes the sum of the
    weight's gradient, so that there are as few as fit where the rounded gradient will be."""
    least = 2**28
    if not weight.is_cuda or weight.dtype.itemsize != 2:
        return least
    return max(least, weight.numel() * weight.dtype.itemsize)


class Accumulated:
    """Gradients, chunk by chunk, times the ``scale`` that those of the logits come with. The
    weight's and the bias' are summed in float32 at least: in 16 bits a sum of many chunks would
    lose what each adds."""

    def __init__(self, of: Linear, needed: tuple[bool, ...]) -> None:
        wide = torch.float64 if of.weight.dtype == torch.float64 else torch.float32
        self.hidden = torch.empty_like(of.hidden) if needed[0] else None
        self.is_empty = True
        self.weight = (
            torch.empty(of.weight.shape, dtype=wide, device=of.weight.device) if needed[1] else None
        )
        self.bias = (
            torch.zeros(of.weight.shape[:1], dtype=wide, device=of.weight.device)
            if needed[2]
            else None
        )

    def add(self, part: slice, chunk: Linear, grad_logits: Tensor) -> None:
        if self.bias is not None:
            self.bias += grad_logits.sum(0, dtype=self.bias.dtype)
        grad_logits = grad_logits.to(chunk.weight.dtype)
        if self.hidden is not None:
            torch.mm(grad_logits, chunk.weight, out=self.hidden[part])
        if self.weight is not None:
            self._add_to_weight(grad_logits.t(), chunk.hidden)

    def _add_to_weight(self, a: Tensor, b: Tensor) -> None:
        assert self.weight is not None
        wide = self.weight.dtype
        options: dict[str, Any] = {"out": self.weight}
        if a.dtype != wide and a.is_cuda:
            # Widened within the product: no other array has the weight's size.
            options["out_dtype"] = wide
        else:
            a, b = a.to(wide), b.to(wide)
        if self.is_empty:
            torch.mm(a, b, **options)
        else:
            torch.addmm(self.weight, a, b, **options)
        self.is_empty = False

    def sums(self) -> Gradients:
        if self.is_empty and self.weight is not None:
            self.weight.zero_()
        return self.hidden, self.weight, self.bias


def times(sum_: Tensor, factor: Tensor | None, dtype: torch.dtype) -> Tensor:
    """A sum that is not shared, multiplied by ``factor`` and rounded once to ``dtype``."""
    if factor is None:
        return sum_.to(dtype)
    if not are_plain(factor):
        return (sum_ * factor).to(dtype)
    wide = torch.promote_types(sum_.dtype, factor.dtype)  # 2^16 is no number of float16
    if sum_.is_cuda and sum_.dtype == wide:  # rounded as it is written: one pass
        return torch.mul(sum_, factor, out=torch.empty_like(sum_, dtype=dtype))
    return sum_.to(wide).mul_(factor).to(dtype)


def differentiable_gradients(of: Linear, grads: RowGradients) -> Gradients:
    """All logits at once, by operators that have derivatives."""
    logits = of.logits()
    grad = of.grad_logits(logits, of.statistics(logits), grads).to(of.weight.dtype)
    return grad @ of.weight, grad.t() @ of.hidden, grad.sum(0)


def chunked_gradients(
    of: Linear,
    grads_of: Callable[[slice, Statistics], RowGradients],
    needed: tuple[bool, ...],
    factors: Iterable[Tensor | None],
) -> Gradients:
    """``grads_of`` gives the gradients by the statistics of some rows, of these. ``factors`` say
    how large they are."""
    scale = scale_for(of, *factors)
    total = Accumulated(of, needed)
    for part, chunk in of.chunks():
        logits = chunk.logits()
        row = chunk.statistics(logits)
        grads = grads_of(part, row).times(scale)
        total.add(part, chunk, chunk.consumed(logits, row, grads))
        del logits  # before the next are made
    unscaled = None if scale is None else 1 / scale
    dtype = of.weight.dtype
    hidden, weight, bias = (s if s is None else times(s, unscaled, dtype) for s in total.sums())
    return hidden, weight, bias


class LinearStatistics(torch.autograd.Function):
    """The statistics of every row; backward computes the logits again."""

    @staticmethod
    def forward(
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        classes: Tensor | None,
        weights: Tensor | None,
        ignore_index: int,
        softcap: float,
        expected: bool,
        budget: int,
    ) -> tuple[Tensor, ...]:
        of = Linear(hidden, weight, bias, classes, weights, ignore_index, softcap, expected, budget)
        rows = [chunk.statistics(chunk.logits()) for _, chunk in of.chunks()]
        if not rows:
            return tuple(of.statistics(of.logits()))
        return tuple(torch.cat(numbers) for numbers in zip(*rows, strict=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs[:5])
        ctx.options = inputs[5:]
        ctx.mark_non_differentiable(output[0])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        of = Linear(*ctx.saved_tensors, *ctx.options)
        by_row = RowGradients(*grads[1:])
        if all(grad is None for grad in by_row):
            return (None,) * 9
        if torch.is_grad_enabled() or not are_plain(*by_row):
            return (*_only(differentiable_gradients(of, by_row), ctx), *[None] * 6)
        made = chunked_gradients(
            of, lambda part, _: by_row.of(part), ctx.needs_input_grad[:3], by_row
        )
        return (*made, *[None] * 6)


def sum_and_gradients(
    of: Linear,
    factors: Factors,
    ignored: Tensor | None,
    scale: Tensor | None,
    needed: tuple[bool, ...],
    statistics: Callable[[Linear, Tensor], Statistics] = Linear.statistics,
) -> tuple[Tensor, Gradients]:
    """The sum of the losses, and its gradients times ``scale``. ``statistics`` are of a chunk and
    its logits."""
    total, gradients = factors.a.new_zeros(()), Accumulated(of, needed)
    for part, chunk in of.chunks():
        logits = chunk.logits()
        row = statistics(chunk, logits)
        of_rows = factors.of(part)
        losses = of_rows.losses(row)
        if ignored is not None:
            losses = torch.where(ignored[part], 0.0, losses)
        total = total + ordered_sum(losses)
        if any(needed):
            grads = of_rows.gradients(row).times(scale)
            gradients.add(part, chunk, chunk.consumed(logits, row, grads))
        del logits  # before the next are made
    return total, gradients.sums()


class LinearLoss(torch.autograd.Function):
    """One number, the sum of the losses of ``Factors``, whose gradients are made together with it:
    the factors are known beforehand, and backward only multiplies.

    The gradients are outputs, so that they are saved like any; no other code sees them. They are
    rounded to 16 bits after they have been multiplied, and come with their scale.
    """

    @staticmethod
    def forward(
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        classes: Tensor | None,
        weights: Tensor | None,
        a: Tensor,
        b: Tensor | None,
        c: Tensor | None,
        z: Tensor | None,
        ignore_index: int,
        softcap: float,
        budget: int,
        gamma: float,
        needed: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, ...]:
        of = Linear(hidden, weight, bias, classes, weights, ignore_index, softcap, False, budget)
        factors = Factors(a, b, c, z, gamma)
        scale = scale_for(of, *sizes_of(factors)) if any(needed) else None
        ignored = None if classes is None else classes == ignore_index
        total, gradients = sum_and_gradients(of, factors, ignored, scale, needed)
        return (total, scale, *gradients)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        made = [gradient for gradient in output[2:] if gradient is not None]
        ctx.save_for_backward(*inputs[:9])
        ctx.options = inputs[9:13]
        ctx.needed = inputs[13]
        ctx.made, ctx.scale = made, output[1]
        ctx.mark_non_differentiable(*(o for o in output[1:] if o is not None))
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Any, ...]:
        if grad is None:
            return (None,) * 14
        *inputs, a, b, c, z = ctx.saved_tensors
        ignore_index, softcap, budget, gamma = ctx.options
        hidden, weight, bias, classes, weights = inputs
        of = Linear(hidden, weight, bias, classes, weights, ignore_index, softcap, False, budget)
        made, ctx.made = ctx.made, None
        if made is not None and not torch.is_grad_enabled():
            factor = grad if ctx.scale is None else grad / ctx.scale
            if (
                are_plain(factor) and not factor.is_cuda and factor == 1
            ):  # a GPU would be waited for
                factor = None
            ready = (times(gradient, factor, weight.dtype) for gradient in made)
            return (*(next(ready) if needed else None for needed in ctx.needed), *[None] * 11)
        # Differentiated, or for the second time: the logits are made again.
        factors = Factors(a, b, c, z, gamma).times(grad)
        if torch.is_grad_enabled() or not are_plain(grad):
            logits = of.logits()
            grads = factors.gradients(of.statistics(logits))
            return (*_only(differentiable_gradients(of, grads), ctx), *[None] * 11)
        again = chunked_gradients(
            of,
            lambda part, row: factors.of(part).gradients(row),
            ctx.needs_input_grad[:3],
            sizes_of(factors),
        )
        return (*again, *[None] * 11)


def sizes_of(factors: Factors) -> tuple[Tensor | None, ...]:
    """How large the factors of the logits' gradient may become."""
    a, b, c, z = factors[:4]
    return ((1 + factors.gamma) * a, b, c, None if z is None else 64 * z)


def _only(gradients: Gradients, ctx: Any) -> Gradients:
    hidden, weight, bias = (
        gradient if needed else None
        for gradient, needed in zip(gradients, ctx.needs_input_grad, strict=False)
    )
    return hidden, weight, bias

"""Statistics and losses of rows of logits that are never in memory all at once: the logits are
``hidden·weightᵀ + bias``, made chunk of rows by chunk of rows, and made again for the gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

import activations_ext._C as _C
from activations_ext.functional.row_losses import Factors, RowGradients, Statistics

_OPERATORS = torch.ops.activations_ext
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Of the hidden states, the weight and the bias; None where it is not needed."""


class Linear(NamedTuple):
    """Where the logits come from, and what is asked about them."""

    hidden: Tensor  # (N, features)
    weight: Tensor  # (classes, features)
    bias: Tensor | None  # (classes)
    classes: Tensor | None  # (N): the targets
    weights: Tensor | None  # (classes) or (N, classes)
    ignore_index: int
    softcap: float
    expected: bool
    budget: int
    """Bytes that the logits of a chunk may take; what consumes them writes over them."""

    @property
    def rows(self) -> int:
        """Of a chunk."""
        each = self.weight.shape[0] * self.weight.element_size()
        return max(1, self.budget // max(1, each))

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
        return torch.nn.functional.linear(self.hidden, self.weight, self.bias)

    def statistics(self, logits: Tensor) -> Statistics:
        return Statistics(
            *_OPERATORS.row_statistics(
                logits,
                1,
                self.classes,
                self.weights,
                self.ignore_index,
                self.softcap,
                self.expected,
                False,
            )
        )

    def grad_logits(self, logits: Tensor, row: Statistics, grads: RowGradients) -> Tensor:
        result: Tensor = _OPERATORS.row_statistics_backward(
            grads.log_sum,
            grads.target_logit if self.classes is not None else None,
            grads.weighted_sum if self.weights is not None else None,
            grads.expected_logit if self.expected else None,
            logits,
            1,
            self.classes,
            self.weights,
            self.ignore_index,
            self.softcap,
            row.maximum,
            row.log_sum,
            row.expected_logit if self.expected else None,
        )
        return result

    def consumed(self, logits: Tensor, row: Statistics, grads: RowGradients) -> Tensor:
        """The same, over the logits where they are plain memory: half as much is needed."""
        if is_dynamo_compiling() or grads.expected_logit is not None or not _is_plain(logits):
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


def _is_plain(tensor: Tensor) -> bool:
    return type(tensor) is Tensor and tensor.device.type in _C.devices()


class Accumulated:
    """Gradients, chunk by chunk. The weight's and the bias' are summed in float32 at least: in 16
    bits a sum of many chunks would lose what each adds."""

    def __init__(self, of: Linear, needed: tuple[bool, bool, bool]) -> None:
        wide = torch.float64 if of.weight.dtype == torch.float64 else torch.float32
        self.of = of
        self.hidden = torch.empty_like(of.hidden) if needed[0] else None
        self.weight = (
            torch.zeros(of.weight.shape, dtype=wide, device=of.weight.device) if needed[1] else None
        )
        self.bias = (
            torch.zeros(of.weight.shape[:1], dtype=wide, device=of.weight.device)
            if needed[2]
            else None
        )

    def add(self, part: slice, chunk: Linear, grad_logits: Tensor) -> None:
        if self.hidden is not None:
            torch.mm(grad_logits, chunk.weight, out=self.hidden[part])
        if self.bias is not None:
            self.bias += grad_logits.sum(0, dtype=self.bias.dtype)
        if self.weight is None:
            return
        if grad_logits.dtype == self.weight.dtype:
            self.weight.addmm_(grad_logits.t(), chunk.hidden)
        elif grad_logits.is_cuda:
            self.weight += torch.mm(grad_logits.t(), chunk.hidden, out_dtype=self.weight.dtype)
        else:
            self.weight.addmm_(
                grad_logits.t().to(self.weight.dtype), chunk.hidden.to(self.weight.dtype)
            )

    def gradients(self) -> Gradients:
        weight = None if self.weight is None else self.weight.to(self.of.weight.dtype)
        bias = None if self.bias is None else self.bias.to(self.of.weight.dtype)
        return self.hidden, weight, bias


def differentiable_gradients(of: Linear, grads: RowGradients) -> Gradients:
    """All logits at once, by operators that have derivatives."""
    logits = of.logits()
    grad = of.grad_logits(logits, of.statistics(logits), grads)
    return grad @ of.weight, grad.t() @ of.hidden, grad.sum(0)


def chunked_gradients(
    of: Linear,
    grads_of: Callable[[slice, Statistics], RowGradients],
    needed: tuple[bool, bool, bool],
) -> Gradients:
    """``grads_of`` gives the gradients by the statistics of some rows, of these."""
    total = Accumulated(of, needed)
    for part, chunk in of.chunks():
        logits = chunk.logits()
        row = chunk.statistics(logits)
        total.add(part, chunk, chunk.consumed(logits, row, grads_of(part, row)))
        del logits  # before the next are made
    return total.gradients()


class LinearStatistics(torch.autograd.Function):
    """The statistics of every row; backward makes the logits once more."""

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
        if torch.is_grad_enabled():
            return (*_only(differentiable_gradients(of, by_row), ctx), *[None] * 6)
        made = chunked_gradients(of, lambda part, _: by_row.of(part), ctx.needs_input_grad[:3])
        return (*made, *[None] * 6)


class LinearLoss(torch.autograd.Function):
    """One number, Σ (a·log_sum − b·target_logit − c·weighted_sum + z·lse²), whose gradients are
    made together with it: the factors are known beforehand, and backward only multiplies.

    The gradients are outputs, so that they are saved like any; nobody else sees them.
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
        needed: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, ...]:
        of = Linear(hidden, weight, bias, classes, weights, ignore_index, softcap, False, budget)
        factors = Factors(a, b, c, z)
        total, gradients = a.new_zeros(()), Accumulated(of, needed)
        for part, chunk in of.chunks():
            logits = chunk.logits()
            row = chunk.statistics(logits)
            of_rows = factors.of(part)
            losses = of_rows.losses(row)
            if chunk.classes is not None:
                losses = torch.where(chunk.classes == ignore_index, 0.0, losses)
            total = total + losses.sum()
            if any(needed):
                gradients.add(part, chunk, chunk.consumed(logits, row, of_rows.gradients(row)))
            del logits  # before the next are made
        return (total, *gradients.gradients())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        made = [gradient for gradient in output[1:] if gradient is not None]
        ctx.save_for_backward(*inputs[:9])
        ctx.options = inputs[9:12]
        ctx.needed = inputs[12]
        ctx.made = made
        ctx.mark_non_differentiable(*made)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Any, ...]:
        if grad is None:
            return (None,) * 13
        *inputs, a, b, c, z = ctx.saved_tensors
        ignore_index, softcap, budget = ctx.options
        hidden, weight, bias, classes, weights = inputs
        of = Linear(hidden, weight, bias, classes, weights, ignore_index, softcap, False, budget)
        made, ctx.made = ctx.made, None
        if made is not None and not torch.is_grad_enabled():
            if grad.is_cuda or grad != 1:  # a GPU would have to be waited for
                made = [gradient.mul_(grad) for gradient in made]
            ready = iter(made)
            return (*(next(ready) if needed else None for needed in ctx.needed), *[None] * 10)
        # Differentiated, or for the second time: the logits are made again.
        factors = Factors(a, b, c, z).times(grad)
        if torch.is_grad_enabled():
            logits = of.logits()
            grads = factors.gradients(of.statistics(logits))
            return (*_only(differentiable_gradients(of, grads), ctx), *[None] * 10)
        again = chunked_gradients(
            of, lambda part, row: factors.of(part).gradients(row), ctx.needs_input_grad[:3]
        )
        return (*again, *[None] * 10)


def _only(gradients: Gradients, ctx: Any) -> Gradients:
    hidden, weight, bias = (
        gradient if needed else None
        for gradient, needed in zip(gradients, ctx.needs_input_grad, strict=False)
    )
    return hidden, weight, bias

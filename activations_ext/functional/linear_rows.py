"""Statistics and losses of rows of logits that are made in chunks, as functions with gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from activations_ext.functional.linear_chunks import (
    LINEAR,
    LINEAR_TENSORS,
    Accumulated,
    Gradients,
    Linear,
    are_plain,
    chunked_gradients,
    differentiable_gradients,
    scale_for,
    times,
)
from activations_ext.functional.row_statistics import (
    Factors,
    RowGradients,
    Statistics,
    ordered_sum,
)


def statistics_in_chunks(of: Linear) -> tuple[Statistics, Tensor]:
    """The statistics of every row, and the logits of the last chunk."""
    made = []
    logits = of.hidden.new_empty(0)
    for _, chunk in of.chunks():
        del logits  # before the next are made
        logits = chunk.logits()
        made.append(chunk.statistics(logits))
    if not made:
        logits = of.logits()
        return of.statistics(logits), logits
    return Statistics(*(torch.cat(numbers) for numbers in zip(*made, strict=True))), logits


class LinearStatistics(torch.autograd.Function):
    """The statistics of every row. Backward makes the logits again, unless they were one chunk:
    that is kept, as the last of the outputs, which no other code sees."""

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor | None, ...]:
        """``inputs`` are those of ``Linear``, and whether the logits are to be kept."""
        of, keep = Linear(*inputs[:LINEAR]), inputs[LINEAR]
        row, logits = statistics_in_chunks(of)
        return (*row, logits if keep and of.rows >= of.hidden.shape[0] else None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        ctx.save_for_backward(*inputs[:LINEAR_TENSORS])
        ctx.options = inputs[LINEAR_TENSORS:LINEAR]
        ctx.logits = output[7]
        constant = (output[0], *output[5:])
        ctx.mark_non_differentiable(*(o for o in constant if o is not None))
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        of = Linear(*ctx.saved_tensors, *ctx.options)._replace(argmax=False)
        by_row = RowGradients(*grads[1:5])
        no_more = [None] * (LINEAR - 2)
        if all(grad is None for grad in by_row):
            return (None,) * (LINEAR + 1)
        if torch.is_grad_enabled() or not are_plain(*by_row):
            return (*_only(differentiable_gradients(of, by_row), ctx), *no_more)
        kept, ctx.logits = ctx.logits, None
        made = chunked_gradients(
            of, lambda part, _: by_row.of(part), ctx.needs_input_grad[:3], by_row, kept
        )
        return (*made, *no_more)


def sum_and_gradients(
    of: Linear,
    factors: Factors,
    ignored: Tensor | None,
    scale: Tensor | None,
    needed: tuple[bool, ...],
    statistics: Callable[[Linear, Tensor], Statistics] = Linear.statistics,
) -> tuple[Tensor, Tensor | None, Gradients]:
    """The sum of the losses, the classes of the largest logits if they are asked for, and the sum's
    gradients times ``scale``. ``statistics`` are of a chunk and its logits."""
    total, gradients = factors.a.new_zeros(()), Accumulated(of, needed)
    classes = [of.hidden.new_empty(0, dtype=torch.int64)]
    for part, chunk in of.chunks():
        logits = chunk.logits()
        row = statistics(chunk, logits)
        of_rows = factors.of(part)
        losses = of_rows.losses(row)
        if ignored is not None:
            losses = torch.where(ignored[part], 0.0, losses)
        total = total + ordered_sum(losses)
        classes.append(row.argmax)
        if any(needed):
            grads = of_rows.gradients(row).times(scale)
            gradients.add(part, chunk, chunk.consumed(logits, row, grads))
        del logits  # before the next are made
    return total, torch.cat(classes) if of.argmax else None, gradients.sums()


class LinearLoss(torch.autograd.Function):
    """One number, the sum of the losses of ``Factors``, whose gradients are made together with it:
    the factors are known beforehand, and backward only multiplies. The second output is the classes
    of the largest logits, or None.

    The gradients are outputs, so that they are saved like any; no other code sees them. They are
    rounded to 16 bits after they have been multiplied, and come with their scale.
    """

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor | None, ...]:
        """``inputs`` are the tensors of ``Linear``, the factors, the rest of ``Linear``, γ, and
        which of the first three need a gradient."""
        tensors, (a, b, c, z), options, (gamma, needed) = _parts(inputs)
        of = Linear(*tensors, *options)
        factors = Factors(a, b, c, z, gamma)
        scale = scale_for(of, *sizes_of(factors)) if any(needed) else None
        ignored = None if of.classes is None else of.classes == of.ignore_index
        total, largest, gradients = sum_and_gradients(of, factors, ignored, scale, needed)
        return (total, largest, scale, *gradients)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        made = [gradient for gradient in output[3:] if gradient is not None]
        ctx.save_for_backward(*inputs[: LINEAR_TENSORS + 4])
        _, _, ctx.options, (ctx.gamma, ctx.needed) = _parts(inputs)
        ctx.made, ctx.scale = made, output[2]
        ctx.mark_non_differentiable(*(o for o in output[1:] if o is not None))
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Any, ...]:
        if grad is None:
            return (None,) * (LINEAR + 6)
        no_more = [None] * (LINEAR + 3)
        *inputs, a, b, c, z = ctx.saved_tensors
        of = Linear(*inputs, *ctx.options)._replace(argmax=False)
        made, ctx.made = ctx.made, None
        if made is not None and not torch.is_grad_enabled():
            factor = grad if ctx.scale is None else grad / ctx.scale
            if (
                are_plain(factor) and not factor.is_cuda and factor == 1
            ):  # a GPU would be waited for
                factor = None
            ready = (times(gradient, factor, of.weight.dtype) for gradient in made)
            return (*(next(ready) if needed else None for needed in ctx.needed), *no_more)
        # Differentiated, or for the second time: the logits are made again.
        factors = Factors(a, b, c, z, ctx.gamma).times(grad)
        if torch.is_grad_enabled() or not are_plain(grad):
            logits = of.logits()
            grads = factors.gradients(of.statistics(logits))
            return (*_only(differentiable_gradients(of, grads), ctx), *no_more)
        again = chunked_gradients(
            of,
            lambda part, row: factors.of(part).gradients(row),
            ctx.needs_input_grad[:3],
            sizes_of(factors),
        )
        return (*again, *no_more)


def _parts(inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
    factors, options = LINEAR_TENSORS + 4, LINEAR + 4
    return (
        inputs[:LINEAR_TENSORS],
        inputs[LINEAR_TENSORS:factors],
        inputs[factors:options],
        inputs[options:],
    )


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

"""``LinearStatistics`` as an operator, which compiled graphs hold: a compiler would unroll the loop
over chunks, and make another graph for every number of rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from activations_ext.functional.linear_chunks import (
    LINEAR,
    LINEAR_TENSORS,
    Linear,
    chunked_gradients,
    rows_with_a_loss,
    spread,
)
from activations_ext.functional.linear_rows import LinearStatistics, statistics_in_chunks
from activations_ext.functional.row_losses import check_storages
from activations_ext.functional.row_statistics import RowGradients

_NAME = "activations_ext::linear_row_statistics"
_LOGITS = (
    "Tensor hidden, Tensor weight, Tensor? bias, Tensor? classes, Tensor? weights, "
    "Tensor? class_weight, float label_smoothing, int ignore_index, float softcap, "
    "float logit_scale, bool expected, bool argmax, int budget, bool skip_ignored"
)
_library = torch.library.Library("activations_ext", "FRAGMENT")


def _define(name: str, schema: str) -> None:
    _library.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))


_define("linear_row_statistics", f"({_LOGITS}) -> ({', '.join(['Tensor'] * 7)})")
_define(
    "linear_row_statistics_backward",
    f"(Tensor?[] grads, {_LOGITS}, bool[] needed) -> (Tensor, Tensor, Tensor)",
)


def _some_rows(arguments: tuple[Any, ...]) -> tuple[Linear, Tensor | None]:
    """With ``skip_ignored`` those that have a loss, and which they are; None for all."""
    *parts, skip_ignored = arguments
    check_storages(*parts[:LINEAR_TENSORS])
    of = Linear(*parts)
    if of.classes is None:
        return of, None
    rows = rows_with_a_loss(of.classes, of.weight.shape[0], of.ignore_index)  # checks them all
    return (of.at(rows), rows) if skip_ignored and rows is not None else (of, None)


def _forward(*arguments: Any) -> tuple[Tensor, ...]:
    """The statistics of rows that are skipped are 0."""
    of, rows = _some_rows(arguments)
    made = statistics_in_chunks(of)[0]
    return tuple(spread(numbers, rows, arguments[0].shape[0]) for numbers in made)


def _backward(grads: list[Tensor | None], *arguments: Any) -> tuple[Tensor, ...]:
    """Gradients that are not needed are tensors without elements."""
    *logits, needed = arguments
    check_storages(*grads)
    of, rows = _some_rows(tuple(logits))
    by_row = RowGradients(*grads)
    if rows is not None:
        by_row = by_row.at(rows)
    made = chunked_gradients(of, lambda part, _: by_row.of(part), tuple(needed), by_row)
    hidden, *others = (
        of.hidden.new_empty(0) if gradient is None else gradient for gradient in made
    )
    return (spread(hidden, rows, arguments[0].shape[0]) if needed[0] else hidden, *others)


def _fake(*arguments: Any) -> tuple[Tensor, ...]:
    of = Linear(*arguments[:-1])
    dtype = torch.float64 if of.hidden.dtype == torch.float64 else torch.float32
    weighted = of.weights is not None
    asked_for = (True, True, of.classes is not None, weighted, of.expected, weighted)
    rows = of.hidden.shape[0]
    numbers = (of.hidden.new_empty(rows if wanted else 0, dtype=dtype) for wanted in asked_for)
    return (*numbers, of.hidden.new_empty(rows if of.argmax else 0, dtype=torch.int64))


def _fake_backward(grads: list[Tensor | None], *arguments: Any) -> tuple[Tensor, ...]:
    needed = arguments[-1]
    return tuple(
        torch.empty_like(tensor) if wanted else arguments[0].new_empty(0)
        for tensor, wanted in zip(arguments[:3], needed, strict=True)
    )


def _gradients(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    needed = ctx.needs_input_grad[:3]
    made = torch.ops.activations_ext.linear_row_statistics_backward(
        list(grads[1:5]), *ctx.saved_tensors, *ctx.options, needed
    )
    results = (gradient if wanted else None for gradient, wanted in zip(made, needed, strict=True))
    return (*results, *[None] * (LINEAR - 2))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    LinearStatistics.setup_context(ctx, inputs, (*output, None))
    ctx.options = inputs[LINEAR_TENSORS:]


for _suffix, _kernel, _of_fakes in (
    ("", _forward, _fake),
    ("_backward", _backward, _fake_backward),
):
    _library.impl("linear_row_statistics" + _suffix, _kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(_NAME + _suffix, _of_fakes, lib=_library)
torch.library.register_autograd(_NAME, _gradients, setup_context=_setup_context, lib=_library)

"""Logits that are never in memory all at once: ``hidden·weightᵀ + bias``, made chunk of rows by
chunk of rows, and what becomes of their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

import activations_ext._C as _C
from activations_ext._torchs import torchs
from activations_ext.functional.row_statistics import (
    RowGradients,
    Statistics,
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
    class_weight: Tensor | None  # (classes), beside weights of (N, classes)
    label_smoothing: float  # of weights of (N, classes)
    ignore_index: int
    softcap: float
    logit_scale: float
    expected: bool
    argmax: bool
    budget: int
    """The bytes that the logits of a chunk may take; their gradient overwrites them."""

    def at(self, rows: Tensor) -> Linear:
        """Of these rows alone; the weights are the classes'."""
        classes = None if self.classes is None else self.classes.index_select(0, rows)
        return self._replace(hidden=self.hidden.index_select(0, rows), classes=classes)

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
            class_weight=self.class_weight,
            label_smoothing=self.label_smoothing,
            ignore_index=self.ignore_index,
            softcap=self.softcap,
            logit_scale=self.logit_scale,
            expected=self.expected,
            argmax=self.argmax,
        )

    def grad_logits(self, logits: Tensor, row: Statistics, grads: RowGradients) -> Tensor:
        return statistics_gradient(
            logits,
            1,
            row,
            grads,
            target=self.classes,
            weight=self.weights,
            class_weight=self.class_weight,
            label_smoothing=self.label_smoothing,
            ignore_index=self.ignore_index,
            softcap=self.softcap,
            logit_scale=self.logit_scale,
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
            self.class_weight,
            self.label_smoothing,
            self.ignore_index,
            self.softcap,
            self.logit_scale,
            row.maximum,
            row.log_sum,
            grads.log_sum,
            grads.target_logit,
            grads.weighted_sum,
        )
        return logits


LINEAR = len(Linear._fields)
LINEAR_TENSORS = 6  # the first of them, of which three may need a gradient


def rows_with_a_loss(classes: Tensor, count: int, ignore_index: int) -> Tensor | None:
    """The others need no product either. None for all, and on a GPU, which would be waited for."""
    if classes.device.type != "cpu":
        return None
    _C.check_classes(classes, count, ignore_index)
    kept = classes != ignore_index
    return None if kept.all() else kept.nonzero().squeeze(1)


def spread(numbers: Tensor, rows: Tensor | None, count: int) -> Tensor:
    """Of ``rows``, among ``count`` rows; 0 for the others. Not of what was not requested."""
    if rows is None or numbers.shape[:1] != rows.shape:
        return numbers
    return numbers.new_zeros((count, *numbers.shape[1:])).index_copy(0, rows, numbers)


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
    if of.weights is not None and of.weights.dim() == 2:  # factors of the targets' mass
        largest = largest * of.weights.sum(1, dtype=torch.float32).amax()
        if of.class_weight is not None:
            largest = largest * of.class_weight.amax().float()
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
    logits: Tensor | None = None,
) -> Gradients:
    """``grads_of`` gives the gradients by the statistics of some rows, of these. ``factors`` say
    how large they are. ``logits`` are those of the only chunk, if they are still there."""
    scale = scale_for(of, *factors)
    total = Accumulated(of, needed)
    for part, chunk in of.chunks():
        logits = chunk.logits() if logits is None else logits
        row = chunk.statistics(logits)
        grads = grads_of(part, row).times(scale)
        total.add(part, chunk, chunk.consumed(logits, row, grads))
        logits = None  # before the next are made
    unscaled = None if scale is None else 1 / scale
    dtype = of.weight.dtype
    hidden, weight, bias = (s if s is None else times(s, unscaled, dtype) for s in total.sums())
    return hidden, weight, bias

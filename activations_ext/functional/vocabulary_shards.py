"""A vocabulary that is split over ranks: who has which classes, the statistics of whole rows from
those of their parts, and the gradients of what a rank has."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.compiler import is_dynamo_compiling

from activations_ext.functional.linear_chunks import Linear, scale_for, times
from activations_ext.functional.linear_rows import sizes_of, sum_and_gradients
from activations_ext.functional.row_losses import Terms
from activations_ext.functional.row_statistics import (
    Factors,
    RowGradients,
    Statistics,
    row_statistics,
    statistics_gradient,
)

_NOT_HERE = -100
"""The local target of a row whose class another rank holds, or that is ignored."""


def group_of(group: Any) -> dist.ProcessGroup:
    if group is None:
        return dist.group.WORLD  # type: ignore[return-value]
    return group if isinstance(group, dist.ProcessGroup) else group.get_group()


class Part(NamedTuple):
    """Which classes this rank has."""

    group: dist.ProcessGroup
    start: int
    own: int
    classes: int  # of all ranks

    @classmethod
    def of(
        cls, group: Any, count: int, start: int | None, classes: int | None, like: Tensor
    ) -> Part:
        group = group_of(group)
        if start is None or classes is None:
            mine = torch.tensor([count], device=like.device)
            sizes = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
            dist.all_gather(sizes, mine, group=group)
            numbers = [int(size) for size in sizes]
            start, classes = sum(numbers[: dist.get_rank(group)]), sum(numbers)
        if not 0 <= start <= start + count <= classes:
            raise ValueError(
                "expected arguments 'vocab_start' and 'vocab_size' to hold this rank's "
                f"{count} classes, but got {start} and {classes}"
            )
        return cls(group, start, count, classes)

    def of_targets(self, target: Tensor, terms: Terms) -> Tensor:
        here = (target >= self.start) & (target < self.start + self.own)
        if terms.kept is not None:
            here = here & terms.kept
        return torch.where(here, target - self.start, _NOT_HERE)

    def weights(self, terms: Terms) -> Tensor | None:
        """Of the weighted sum, of this rank's classes."""
        return None if terms.weights is None else terms.weights.narrow(0, self.start, self.own)

    def checked(self, numbers: Tensor, target: Tensor, terms: Terms) -> Tensor:
        """``numbers``, one for each row; NaN for a target that is no class, or IndexError."""
        wrong = (target < 0) | (target >= self.classes)
        if terms.kept is not None:
            wrong = wrong & terms.kept
        if not is_dynamo_compiling() and wrong.device.type == "cpu" and bool(wrong.any()):
            position = wrong.nonzero()[0].tolist()
            raise IndexError(
                "cross_entropy(): expected argument 'target' to have classes from 0 to "
                f"{self.classes - 1}, or the ignore_index, but got {target[tuple(position)]} at "
                f"position {position}"
            )
        return torch.where(wrong, math.nan, numbers)

    def budget(self, budget: int, dtype: torch.dtype) -> int:
        """Such that all ranks have the same chunks, whatever their shares."""
        largest = -(-self.classes // dist.get_world_size(self.group)) * dtype.itemsize
        return max(1, budget // largest) * max(1, self.own * dtype.itemsize)


def combined(
    row: Statistics, target: Tensor, weights: Tensor | None, expected: bool, group: Any
) -> Statistics:
    """The statistics of whole rows, of those of this rank's classes."""
    nothing = row.log_sum == -math.inf  # all of this rank's logits are −∞
    maximum = torch.where(nothing, -math.inf, row.maximum)
    dist.all_reduce(maximum, dist.ReduceOp.MAX, group)
    maximum = torch.where(maximum == -math.inf, 0.0, maximum)
    lower = row.maximum - maximum
    total = (row.log_sum + lower).exp()
    sums = [total, torch.where(target == _NOT_HERE, 0.0, row.target_logit + lower)]
    if weights is not None:
        sums.append(row.weighted_sum + weights.to(lower.dtype).sum() * lower)
    if expected:
        sums.append(torch.where(total == 0, 0.0, total * (row.expected_logit + lower)))
    together = torch.stack(sums)
    dist.all_reduce(together, dist.ReduceOp.SUM, group)
    total, target_logit, *others = together.unbind()
    return Statistics(
        maximum,
        total.log(),
        target_logit,
        others[0] if weights is not None else total.new_empty(0),
        others[-1] / total if expected else total.new_empty(0),
        row.log_sum.new_empty(0),
        row.argmax,  # not asked for: of no elements
    )


class ShardStatistics(torch.autograd.Function):
    """The statistics of whole rows, and the gradient of this rank's logits."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        weights: Tensor | None,
        softcap: float,
        logit_scale: float,
        expected: bool,
        group: Any,
    ) -> tuple[Tensor, ...]:
        dim = min(1, logits.dim() - 1)
        row = row_statistics(
            logits,
            dim,
            target=target,
            weight=weights,
            softcap=softcap,
            logit_scale=logit_scale,
            expected=expected,
        )
        total = combined(row, target, weights, expected, group)
        ctx.save_for_backward(logits, target, weights, *total)
        ctx.options = (dim, softcap, logit_scale, expected)
        ctx.mark_non_differentiable(total.maximum, total.argmax)
        ctx.set_materialize_grads(False)
        return tuple(total)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        logits, target, weights, *total = ctx.saved_tensors
        dim, softcap, logit_scale, expected = ctx.options
        if all(grad is None for grad in grads):
            return (None,) * 7
        gradient = statistics_gradient(
            logits,
            dim,
            Statistics(*total),
            RowGradients(*grads[:4]),
            target=target,
            weight=weights,
            softcap=softcap,
            logit_scale=logit_scale,
            expected=expected,
        )
        return (gradient, *[None] * 6)


def statistics_of_shards(
    part: Part,
    logits: Tensor,
    target: Tensor,
    terms: Terms,
    softcap: float,
    logit_scale: float,
    expected: bool,
) -> Statistics:
    """Of whole rows, of which ``logits`` are this rank's part; with a gradient for those."""
    row = Statistics(
        *ShardStatistics.apply(
            logits,
            part.of_targets(target, terms),
            part.weights(terms),
            softcap,
            logit_scale,
            expected,
            part.group,
        )
    )
    return row._replace(target_logit=part.checked(row.target_logit, target, terms))


class ShardLoss(torch.autograd.Function):
    """The sum of the losses, whose gradients are made together with it."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        weights: Tensor | None,
        kept: Tensor,
        a: Tensor,
        b: Tensor | None,
        c: Tensor | None,
        z: Tensor | None,
        gamma: float,
        softcap: float,
        logit_scale: float,
        budget: int,
        group: Any,
        needed: tuple[bool, ...],
    ) -> Tensor:
        of = Linear(
            hidden,
            weight,
            bias,
            target,
            weights,
            class_weight=None,
            label_smoothing=0.0,
            ignore_index=_NOT_HERE,
            softcap=softcap,
            logit_scale=logit_scale,
            expected=False,
            argmax=False,
            budget=budget,
        )
        factors = Factors(a, b, c, z, gamma)
        scale = scale_for(of, *sizes_of(factors)) if any(needed) else None
        if scale is not None:
            dist.all_reduce(scale, dist.ReduceOp.MIN, group)

        def statistics(chunk: Linear, logits: Tensor) -> Statistics:
            assert chunk.classes is not None
            return combined(chunk.statistics(logits), chunk.classes, weights, False, group)

        total, _, made = sum_and_gradients(of, factors, ~kept, scale, needed, statistics)
        if made[0] is not None:
            whole = made[0].to(torch.promote_types(made[0].dtype, torch.float32))
            dist.all_reduce(whole, group=group)
            made = (whole, *made[1:])
        ctx.made, ctx.scale, ctx.dtype = made, scale, hidden.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        if ctx.made is None:
            raise RuntimeError(
                "linear_cross_entropy(): its gradients were made with the loss, and were used up "
                "by the first backward"
            )
        factor = grad if ctx.scale is None else grad / ctx.scale
        made, ctx.made = ctx.made, None
        return (*(None if g is None else times(g, factor, ctx.dtype) for g in made), *[None] * 13)

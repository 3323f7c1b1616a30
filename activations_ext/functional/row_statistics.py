"""Statistics of rows of logits, their gradients, and the loss of a row as a function of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

import activations_ext._C as _C
from activations_ext._call import is_wrapper


class Statistics(NamedTuple):
    """Statistics of each row of logits, the numbers relative to its maximum (see
    csrc/losses/row_statistics.h). Those that were not requested have no elements."""

    maximum: Tensor
    log_sum: Tensor
    target_logit: Tensor
    weighted_sum: Tensor
    expected_logit: Tensor
    mass: Tensor
    """The sum of the weights."""
    argmax: Tensor
    """The class of the largest logit, int64."""

    @property
    def lse(self) -> Tensor:
        return self.maximum + self.log_sum

    @property
    def entropy(self) -> Tensor:
        return self.log_sum - self.expected_logit


def row_statistics(
    logits: Tensor,
    dim: int,
    *,
    target: Tensor | None = None,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    softcap: float = 0.0,
    logit_scale: float = 1.0,
    expected: bool = False,
    argmax: bool = False,
    overwrite: bool = False,
) -> Statistics:
    """The statistics of the rows of ``logits`` along ``dim``, in one pass.

    Args:
        target: a class for each row: its logit is wanted.
        weight: a number for each class or each logit: the weighted sum is wanted.
        class_weight: beside a ``weight`` for each logit a factor for each class.
        label_smoothing: the ``weight`` for each logit is mixed with this share of 1/C first.
        ignore_index: the target of rows that have none.
        softcap: of the logits; 0 for none.
        logit_scale: a factor of the logits, before the softcap.
        expected: the expected logit is wanted.
        argmax: the class of the largest logit is wanted.
        overwrite: backward may write the gradient over the logits.
    """
    options = (
        *(target, weight, class_weight, label_smoothing, ignore_index, softcap, logit_scale),
        *(expected, argmax),
    )
    if is_wrapper(logits):  # DTensor, for one, has no rule for our operators
        return Statistics(*_C.row_statistics_by_formula(logits, dim, *options))
    operator = torch.ops.activations_ext.row_statistics
    return Statistics(*operator(logits, dim, *options, overwrite))


def statistics_gradient(
    logits: Tensor,
    dim: int,
    row: Statistics,
    grads: RowGradients,
    *,
    target: Tensor | None = None,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    softcap: float = 0.0,
    logit_scale: float = 1.0,
    expected: bool = False,
) -> Tensor:
    """The gradient by the logits, whose statistics are ``row``."""
    result: Tensor = torch.ops.activations_ext.row_statistics_backward(
        grads.log_sum,
        None if target is None else grads.target_logit,
        None if weight is None else grads.weighted_sum,
        grads.expected_logit if expected else None,
        logits,
        dim,
        target,
        weight,
        class_weight,
        label_smoothing,
        ignore_index,
        softcap,
        logit_scale,
        row.maximum,
        row.log_sum,
        row.expected_logit if expected else None,
    )
    return result


class RowGradients(NamedTuple):
    """The gradients of a loss with respect to the statistics of each row; None is 0."""

    log_sum: Tensor | None
    target_logit: Tensor | None
    weighted_sum: Tensor | None
    expected_logit: Tensor | None

    def of(self, part: slice) -> RowGradients:
        return RowGradients(*(None if grad is None else grad[part] for grad in self))

    def at(self, rows: Tensor) -> RowGradients:
        return RowGradients(
            *(
                None if grad is None or grad.numel() == 0 else grad.index_select(0, rows)
                for grad in self
            )
        )

    def times(self, number: Tensor | None) -> RowGradients:
        if number is None:
            return self
        return RowGradients(*(None if grad is None else grad * number for grad in self))


class Factors(NamedTuple):
    """A row's loss is ``(a·log_sum − b·target_logit − c·weighted_sum)·(1 − p_t)^γ + z·lse²``; None
    is 0. Of an ignored row all are 0. Without ``b`` the weights are the target, and ``a`` is a
    factor of their mass."""

    a: Tensor
    b: Tensor | None
    c: Tensor | None
    z: Tensor | None
    gamma: float = 0.0

    def losses(self, row: Statistics) -> Tensor:
        result = self._cross_entropy(row)
        if self.gamma != 0:
            result = result * self._focus(row)[0]
        return result if self.z is None else result + self.z * self._lse(row).square()

    def gradients(self, row: Statistics) -> RowGradients:
        log_sum, b, c = self._of_log_sum(row), self.b, self.c
        if self.gamma != 0 and b is not None:
            focus, by_log_p = self._focus(row)
            bent = torch.where(self.a == 0, 0.0, self._cross_entropy(row)) * by_log_p
            log_sum, b = focus * log_sum - bent, focus * b - bent
            c = None if c is None else focus * c
        if self.z is not None:
            log_sum = log_sum + 2 * self.z * self._lse(row)
        return RowGradients(log_sum, None if b is None else -b, None if c is None else -c, None)

    def _cross_entropy(self, row: Statistics) -> Tensor:
        result = self._of_log_sum(row) * row.log_sum
        if self.b is not None:
            result = result - self.b * row.target_logit
        return result if self.c is None else result - self.c * row.weighted_sum

    def _of_log_sum(self, row: Statistics) -> Tensor:
        return self.a * row.mass if self.b is None else self.a

    def _focus(self, row: Statistics) -> tuple[Tensor, Tensor]:
        """(1 − p_t)^γ and its derivative by log p_t; 0 where p_t is 1, and of an ignored row, of
        which NaN must not leak."""
        log_p = torch.where(self.a == 0, 0.0, row.target_logit - row.log_sum)
        rest = -torch.expm1(log_p)
        by_rest = self.gamma * power_of_rest(rest, self.gamma - 1)
        return power_of_rest(rest, self.gamma), by_rest * (rest - 1)

    def _lse(self, row: Statistics) -> Tensor:
        """An ignored row's lse may be NaN, and so would be 0·NaN."""
        return row.lse if self.z is None else torch.where(self.z == 0, 0.0, row.lse)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Factors:
        b, c, z = (None if factor is None else change(factor) for factor in self[1:4])
        return Factors(change(self.a), b, c, z, self.gamma)

    def times(self, numbers: Tensor) -> Factors:
        return self._each(lambda factor: factor * numbers)

    def at(self, rows: Tensor) -> Factors:
        return self._each(lambda factor: factor.index_select(0, rows))

    def of(self, part: slice) -> Factors:
        return self._each(lambda factor: factor[part])


def power_of_rest(rest: Tensor, gamma: float) -> Tensor:
    """(1 − p)^γ of 1 − p, and 0 with a derivative of 0 where that is 0, whatever γ is."""
    some = rest > 0
    return torch.where(some, torch.where(some, rest, 1.0) ** gamma, 0.0)


_BLOCK = 2**14  # numbers that torch sums on one thread


def ordered_sum(numbers: Tensor) -> Tensor:
    """The sum of all, in an order that does not depend on the number of threads."""
    flat = numbers.reshape(-1)
    if flat.device.type != "cpu" or is_dynamo_compiling() or flat.numel() <= _BLOCK:
        return flat.sum()
    whole = flat.numel() // _BLOCK * _BLOCK
    of_blocks = flat[:whole].view(-1, _BLOCK).sum(1)
    return ordered_sum(torch.cat([of_blocks, flat[whole:].sum().reshape(1)]))

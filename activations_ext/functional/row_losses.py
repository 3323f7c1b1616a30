"""What the targets and the options say about the loss of each row, whatever becomes of the rows'
statistics: a factor for each of them, and what the sum is divided by."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

import activations_ext._C as _C
from activations_ext.functional.row_statistics import Factors, Statistics, ordered_sum


class Terms(NamedTuple):
    """What the targets alone determine about the loss of each row."""

    factors: Factors
    classes: Tensor | None
    """The targets, int64, or None for probabilities."""
    weights: Tensor | None
    """The weights of the weighted sum: one for each class, or one for each logit."""
    counts: Tensor
    """The rows' shares of the mean's divisor."""
    kept: Tensor | None
    """The rows that are not ignored; None for all of them."""
    kept_counts: Tensor
    """The same shares without class weights: the divisor of the z-loss."""
    token_weight: Tensor | None = None
    """A factor for the loss of each row."""
    class_weight: Tensor | None = None
    """Of ``weights`` for each logit a factor for each class."""
    label_smoothing: float = 0.0
    """Of ``weights`` for each logit."""

    def only_kept(self, numbers: Tensor) -> Tensor:
        """0 for ignored rows, of which nothing may leak, NaN included."""
        return numbers if self.kept is None else torch.where(self.kept, numbers, 0.0)

    def at(self, rows: Tensor) -> Terms:
        """Of classes, and of these rows alone."""

        def of(numbers: Tensor | None) -> Any:
            return None if numbers is None else numbers.index_select(0, rows)

        return Terms(
            self.factors.at(rows),
            of(self.classes),
            self.weights,
            of(self.counts),
            of(self.kept),
            of(self.kept_counts),
            of(self.token_weight),
        )

    def with_options(
        self,
        function: str,
        z_loss: float,
        focal_gamma: float,
        token_weight: Tensor | None,
        is_mean: bool,
    ) -> Terms:
        """``is_mean``: the sum will be divided by the sum of ``counts``."""
        result = self
        if focal_gamma != 0:
            check_gamma(function, focal_gamma)
            if self.classes is None:
                raise ValueError(
                    f"{function}(): expected argument 'focal_gamma' to be 0 for probabilities, but "
                    f"got {focal_gamma}"
                )
            result = result._replace(factors=result.factors._replace(gamma=float(focal_gamma)))
        if token_weight is not None:
            if token_weight.shape != self.counts.shape:
                raise RuntimeError(
                    f"{function}(): expected argument 'token_weight' to have a number for each "
                    f"row, shape {list(self.counts.shape)}, but got {list(token_weight.shape)}"
                )
            check_storages(token_weight)
            of_row = self.only_kept(token_weight.to(self.factors.a.dtype))
            result = result._replace(
                token_weight=of_row,
                counts=self.counts * of_row,
                kept_counts=self.kept_counts * of_row,
            )
        if z_loss != 0:
            if not abs(z_loss) <= torch.finfo(self.factors.a.dtype).max:
                raise ValueError(
                    f"{function}(): expected argument 'z_loss' to be a finite number of "
                    f"{self.factors.a.dtype}, but got {z_loss}"
                )
            z = torch.full_like(self.factors.a, z_loss)
            if is_mean and result.counts is not result.kept_counts:
                z = z * (ordered_sum(result.counts) / ordered_sum(result.kept_counts))
            result = result._replace(factors=result.factors._replace(z=self.only_kept(z)))
        return result


class Asked(NamedTuple):
    """What is returned besides the loss, a number for each row."""

    lse: bool
    log_prob: bool
    entropy: bool
    argmax: bool
    correct: bool

    @property
    def differentiable(self) -> bool:
        return self.lse or self.log_prob or self.entropy

    @property
    def classes(self) -> bool:
        return self.argmax or self.correct

    def check(self, function: str, target: Tensor) -> None:
        wanted = [name for name in ("log_prob", "correct") if getattr(self, name)]
        if wanted and target.is_floating_point():
            raise ValueError(
                f"{function}(): expected argument 'target' to hold classes where "
                f"return_{wanted[0]} is set, but got probabilities of dtype {target.dtype}"
            )

    def of(self, terms: Terms, row: Statistics) -> tuple[Tensor, ...]:
        result = [row.lse] if self.lse else []
        if self.log_prob:
            result.append(terms.only_kept(row.target_logit - row.log_sum))
        if self.entropy:
            result.append(row.entropy)
        return (*result, *self.of_classes(terms, row.argmax))

    def of_classes(self, terms: Terms, largest: Tensor) -> tuple[Tensor, ...]:
        kept = terms.kept
        result = []
        if self.argmax:
            result.append(largest if kept is None else torch.where(kept, largest, -1))
        if self.correct:
            assert terms.classes is not None
            correct = largest.eq(terms.classes)
            result.append(correct if kept is None else correct & kept)
        return tuple(result)


def check_storages(*tensors: Tensor | None) -> None:
    """Raise RuntimeError for memory that was freed: torch's operators would crash."""
    if is_dynamo_compiling():
        return
    for tensor in tensors:
        if tensor is not None:
            _C.check_storage(tensor)


def terms_of_classes(
    classes: Tensor,
    count: int,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    dtype: torch.dtype,
) -> Terms:
    """``count`` classes; ``dtype`` is what the statistics have."""
    kept = classes != ignore_index
    of_kept = of_target = kept.to(dtype)
    if weight is not None:
        # On the CPU a class out of range has raised; on a GPU it must not fail an assertion there.
        inside = torch.where(kept, classes, 0).clamp(0, count - 1)
        of_target = of_target * weight.to(dtype)[inside]
    if label_smoothing == 0:
        factors = Factors(of_target, of_target, None, None)
        return Terms(factors, classes, None, of_target, kept, of_kept)
    weights = classes.new_ones(count, dtype=dtype) if weight is None else weight
    share = kept.to(dtype) * (label_smoothing / count)
    hard = of_target * (1 - label_smoothing)
    total = ordered_sum(weights.to(dtype))
    factors = Factors(hard + share * total, hard, share, None)
    return Terms(factors, classes, weights, of_target, kept, of_kept)


def terms_of_probabilities(
    target: Tensor, dim: int, weight: Tensor | None, label_smoothing: float, dtype: torch.dtype
) -> Terms:
    """The kernels smooth the targets, weight them and sum them up."""
    ones = torch.ones_like(target.select(dim, 0), dtype=dtype, requires_grad=False)
    return Terms(
        Factors(ones, None, ones, None),
        None,
        target,
        ones,
        None,
        ones,
        class_weight=weight,
        label_smoothing=label_smoothing,
    )


def terms_of(
    count: int,
    dtype: torch.dtype,
    target: Tensor,
    dim: int,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
) -> Terms:
    """For logits of ``count`` classes along ``dim``, and of ``dtype``."""
    check_storages(target, weight)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    if target.is_floating_point():
        return terms_of_probabilities(target, dim, weight, label_smoothing, wide)
    classes = target.to(torch.int64)
    return terms_of_classes(classes, count, weight, ignore_index, label_smoothing, wide)


def shifted(function: str, target: Tensor, shift: int, ignore_index: int) -> Tensor:
    """The targets ``shift`` places further along the last dimension; behind the last of them,
    ``ignore_index``."""
    if target.is_floating_point() or target.dim() == 0 or shift < 0:
        raise ValueError(
            f"{function}(): expected argument 'shift' to be a number of places from 0 on, and 0 "
            f"for probabilities and for a single class, but got {shift}"
        )
    check_storages(target)
    wide = target.to(torch.int64)
    nothing = wide.new_full((*wide.shape[:-1], min(shift, wide.shape[-1])), ignore_index)
    return torch.cat([wide[..., shift:], nothing], -1)


def check_gamma(function: str, gamma: float) -> None:
    if not 0 <= gamma < math.inf:
        raise ValueError(
            f"{function}(): expected argument 'focal_gamma' to be a finite number from 0 on, but "
            f"got {gamma}"
        )


def check_num_items(function: str, num_items: float | Tensor | None, reduction: str) -> None:
    if num_items is None:
        return
    if reduction == "none":
        raise ValueError(
            f"{function}(): expected argument 'num_items' to be None where reduction is 'none', "
            f"but got {num_items}"
        )
    if isinstance(num_items, Tensor) and num_items.numel() != 1:
        raise ValueError(
            f"{function}(): expected argument 'num_items' to be one number, but got a tensor of "
            f"shape {list(num_items.shape)}"
        )


def factors_of_sum(terms: Terms, number: Tensor | None) -> Factors:
    """Such that the sum of the losses is divided by ``number``; all 0 where that is 0."""
    factors = terms.factors
    if terms.token_weight is not None:
        factors = factors.times(terms.token_weight)
    if number is None:
        return factors
    number = number.to(factors.a.dtype)
    return factors.times(torch.where(number == 0, 0.0, 1 / number))


def mean_of_sum(loss: Tensor, number: Tensor | None) -> Tensor:
    """Of ``factors_of_sum``: the mean of nothing is NaN, as torch's."""
    return loss if number is None else loss + 0.0 / number


def divisor(
    counts: Tensor, reduction: str, num_items: float | Tensor | None, zero_if_empty: bool
) -> Tensor | None:
    """The divisor of the sum of the losses."""
    if reduction == "none" or (reduction == "sum" and num_items is None):
        return None
    number = ordered_sum(counts) if num_items is None else torch.as_tensor(num_items).reshape(())
    return torch.where(number == 0, 1, number) if zero_if_empty else number


def loss_of_rows(
    terms: Terms,
    row: Statistics,
    reduction: str,
    num_items: float | Tensor | None,
    zero_if_empty: bool,
    dtype: torch.dtype,
) -> Tensor:
    losses = terms.only_kept(terms.factors.losses(row))
    if terms.token_weight is not None:
        losses = losses * terms.token_weight
    if reduction != "none":
        losses = ordered_sum(losses)
        number = divisor(terms.counts, reduction, num_items, zero_if_empty)
        losses = losses if number is None else losses / number
    return losses.to(dtype)


def result_dtype(input: Tensor) -> torch.dtype:
    """The input's; torch's autocast computes the loss in float32, and so returns it."""
    widened = input.dtype in (torch.bfloat16, torch.float16)
    if widened and torch.is_autocast_enabled(input.device.type):
        return torch.float32
    return input.dtype

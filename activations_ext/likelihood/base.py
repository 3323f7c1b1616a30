"""What all families of distributions have in common."""

from __future__ import annotations

import abc
import math

import torch
from torch import Size, Tensor, distributions

from activations_ext.functional.mixtures import SCALES, check_no_nan, validates
from activations_ext.functional.row_statistics import ordered_sum


class Likelihood(abc.ABC):
    """A family of distributions, from raw outputs of shape (\\*, features)."""

    neutral = 0.0
    """A possible target, which stands in for those of weight 0."""

    @abc.abstractmethod
    def features(self, dimensions: int) -> int:
        """How many outputs a target of that many numbers (or classes) takes."""

    @abc.abstractmethod
    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Minus the log-likelihood of each target, of arguments that were checked: (\\*)."""

    def nll(
        self,
        outputs: Tensor,
        target: Tensor,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ) -> Tensor:
        """Minus the log-likelihood of each target, summed over its numbers.

        Args:
            outputs: of shape (\\*, features).
            target: of shape (\\*, D).
            reduction: ``"mean"`` or ``"sum"`` over the targets, or ``"none"``.
            weight: a factor for each target's loss, of shape (\\*), or a mask; the mean is divided
                by its sum. Outputs and targets of weight 0 have no part in anything, NaN included:
                of ragged sequences, pass ``weight=~target.isnan().any(-1)``.

        Raises:
            ValueError: shapes that do not fit, no such ``reduction``, or, on the CPU, targets that
                the family cannot have, NaN among them.
        """
        self.check(outputs, target)
        if reduction not in ("none", "mean", "sum"):
            raise ValueError(f"{reduction} is not a valid value for reduction")
        used = None
        if weight is not None:
            rows = self.rows(target)
            if weight.shape != rows:
                raise ValueError(
                    f"{self._name}.nll(): expected argument 'weight' to have a number for each "
                    f"target, of shape {tuple(rows)}, but got {tuple(weight.shape)}"
                )
            used = weight != 0
            outputs = torch.where(used.unsqueeze(-1), outputs, 0.0)
            of_target = used if target.dim() == used.dim() else used.unsqueeze(-1)
            target = torch.where(of_target, target, self.neutral).to(target.dtype)
        if validates(outputs):
            self.check_numbers(target)
        losses = self.losses(outputs, target)
        if weight is not None:
            weight = weight.to(losses.dtype)
            losses = losses * weight
        if reduction == "none":
            return losses
        total = ordered_sum(losses)
        if reduction == "sum":
            return total
        return total / (losses.numel() if weight is None else ordered_sum(weight))

    @abc.abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """The expected target, of shape (\\*, D)."""

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        """The same as torch has it, with the batch shape (\\*)."""
        return self.at_temperature(outputs, 1.0)

    @abc.abstractmethod
    def at_temperature(self, outputs: Tensor, temperature: float) -> distributions.Distribution:
        """``distribution``, whose density is raised to the power 1/T where the family has that."""

    def sample(
        self,
        outputs: Tensor,
        sample_shape: Size | tuple[int, ...] = (),
        temperature: float = 1.0,
    ) -> Tensor:
        """Targets drawn with torch's generator, of shape (\\*sample_shape, \\*, D).

        Args:
            temperature: T > 0. Less than 1 keeps to what is likely: normal distributions have √T of
                their standard deviation, logits of classes, answers and components are divided by
                T (Ha and Eck, arXiv:1704.03477). Other families have none.

        Raises:
            ValueError: the family has no temperature, or it is not positive.
        """
        if not 0 < temperature < math.inf:
            raise ValueError(
                f"{self._name}.sample(): expected argument 'temperature' to be a positive number, "
                f"but got {temperature}"
            )
        return self.at_temperature(outputs, temperature).sample(Size(sample_shape))

    def rsample(self, outputs: Tensor, sample_shape: Size | tuple[int, ...] = ()) -> Tensor:
        """The same with gradients by the outputs.

        Raises NotImplementedError where torch's distribution has none: counts, classes, mixtures.
        """
        return self.distribution(outputs).rsample(Size(sample_shape))

    def cdf(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The probability of a number of at most ``target``'s, of each by itself: (\\*, D).

        Raises NotImplementedError where there is no formula for it.
        """
        raise NotImplementedError(f"{self._name} has no cdf()")

    def quantile(self, outputs: Tensor, probability: Tensor | float) -> Tensor:
        """The numbers whose ``cdf`` is ``probability``, which is broadcast to them: (\\*, D).

        Raises NotImplementedError where there is no formula for it.
        """
        raise NotImplementedError(f"{self._name} has no quantile()")

    @property
    def _name(self) -> str:
        return type(self).__name__

    def rows(self, target: Tensor) -> Size:
        return target.shape[:-1]

    def check(self, outputs: Tensor, target: Tensor) -> None:
        if target.dim() == 0:
            raise ValueError(
                f"{self._name}.nll(): expected argument 'target' to have a dimension of its "
                "numbers, but got ()"
            )
        expected = (*target.shape[:-1], self.features(target.shape[-1]))
        if outputs.shape != expected:
            raise ValueError(
                f"{self._name}.nll(): expected argument 'outputs' to have the shape {expected} for "
                f"targets of shape {tuple(target.shape)}, but got {tuple(outputs.shape)}"
            )

    def check_numbers(self, target: Tensor) -> None:
        """Raise ValueError for targets that the family cannot have."""
        check_no_nan(f"{self._name}.nll", target)

    def check_range(self, target: Tensor, allowed: Tensor, expected: str) -> None:
        check_no_nan(f"{self._name}.nll", target)
        if not allowed.all():
            place = tuple((~allowed).nonzero()[0].tolist())
            raise ValueError(
                f"{self._name}.nll(): expected argument 'target' to be {expected}, but got "
                f"{target[place].item()} at position {place}"
            )

    def parts_of(self, outputs: Tensor, count: int) -> tuple[Tensor, ...]:
        """Views of as many outputs for each number."""
        check_outputs(self._name, outputs, count)
        return outputs.chunk(count, -1)

    def no_temperature(self, temperature: float) -> None:
        if temperature != 1:
            raise ValueError(
                f"{self._name}.sample(): expected argument 'temperature' to be 1, but got "
                f"{temperature}"
            )


def independent(base: distributions.Distribution) -> distributions.Distribution:
    """Of D numbers."""
    return distributions.Independent(base, 1)


def scale_of(raw: Tensor, scale_by: str, floor: float) -> Tensor:
    """The standard deviations that ``gaussian_mixture_nll_loss`` makes of its argument 'scale'."""
    result: Tensor = torch.ops.activations_ext.mixture_scale(raw, SCALES.index(scale_by), floor)
    return result


def raw_of(scale: Tensor, scale_by: str) -> Tensor:
    """The inverse of ``scale_of`` without a floor; of scales below 1e-6 that of 1e-6."""
    scale = scale.clamp_min(1e-6)
    if scale_by == "softplus":
        return scale + torch.log(-torch.expm1(-scale))
    if scale_by == "elu":
        return torch.where(scale >= 1, scale - 1, scale.log())
    return scale.log() if scale_by == "exp" else scale


def check_scales(family: str, scale_by: str, floor: float) -> None:
    if scale_by not in SCALES:
        raise ValueError(
            f"{family}(): expected argument 'scale_by' to be one of {', '.join(SCALES)}, but got "
            f"{scale_by!r}"
        )
    if not floor >= 0:
        raise ValueError(f"{family}(): expected argument 'floor' to be at least 0, but got {floor}")


def check_components(family: str, components: int) -> None:
    if components < 1:
        raise ValueError(
            f"{family}(): expected argument 'components' to be at least 1, but got {components}"
        )


def check_outputs(family: str, outputs: Tensor, multiple: int) -> None:
    if outputs.dim() == 0 or outputs.shape[-1] == 0 or outputs.shape[-1] % multiple:
        raise ValueError(
            f"{family}(): expected argument 'outputs' to have a last dimension that is a multiple "
            f"of {multiple}, but got shape {tuple(outputs.shape)}"
        )

"""Targets with outliers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, distributions

from activations_ext import functional as F
from activations_ext.likelihood.base import Likelihood, check_scales, independent, scale_of


@dataclass(frozen=True)
class StudentT(Likelihood):
    """Numbers around a place, outliers among them.

    The outputs are D raw degrees of freedom ν = softplus(o) + ``least_df``, D locs and D raw
    scales, of torch.distributions.StudentT. The loss grows as the logarithm of a distance, and its
    gradient is bounded: outliers do not rule. It is computed in float64, where no square overflows
    and the gammas of a large ν, which is almost normal, do not cancel.

    Args:
        least_df: more than 1 for there to be a mean, more than 2 for a variance.
        scale_by, floor: as ``Gaussian``'s.

    Example:
        >>> family = activations_ext.likelihood.StudentT()
        >>> family.nll(torch.zeros(4, 3), torch.zeros(4, 1)).shape
        torch.Size([])
    """

    least_df: float = 2.0
    scale_by: str = "exp"
    floor: float = 0.0

    def __post_init__(self) -> None:
        check_scales("StudentT", self.scale_by, self.floor)
        if not self.least_df > 0:
            raise ValueError(
                f"StudentT(): expected argument 'least_df' to be positive, but got {self.least_df}"
            )

    def features(self, dimensions: int) -> int:
        return 3 * dimensions

    def _parts(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raw_df, loc, raw = self.parts_of(outputs, 3)
        return F.softplus(raw_df) + self.least_df, loc, scale_of(raw, self.scale_by, self.floor)

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        df, loc, scale = (part.double() for part in self._parts(outputs))
        z = (target.double() - loc) / scale
        constant = torch.lgamma(df / 2) - torch.lgamma((df + 1) / 2) + 0.5 * (df * math.pi).log()
        losses = constant + scale.log() + 0.5 * (df + 1) * torch.log1p(z * z / df)
        return losses.sum(-1).to(outputs.dtype)

    def mean(self, outputs: Tensor) -> Tensor:
        """NaN where ν is at most 1."""
        df, loc, _ = self._parts(outputs)
        return torch.where(df > 1, loc, math.nan)

    def at_temperature(self, outputs: Tensor, temperature: float) -> distributions.Distribution:
        self.no_temperature(temperature)
        return independent(distributions.StudentT(*self._parts(outputs)))

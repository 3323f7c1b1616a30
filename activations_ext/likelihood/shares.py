"""Targets between 0 and 1, both excluded."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, distributions

from activations_ext import functional as F
from activations_ext.likelihood.base import Likelihood, check_scales, independent
from activations_ext.likelihood.gaussian import Gaussian


class _Shares(Likelihood):
    neutral = 0.5

    def check_numbers(self, target: Tensor) -> None:
        self.check_range(target, (target > 0) & (target < 1), "between 0 and 1")


@dataclass(frozen=True)
class Beta(_Shares):
    """Shares whose outputs are D raw concentrations a = softplus(o) + ``floor`` of 1, and D of 0.

    ``log B(a, b) − (a−1)·log t − (b−1)·log(1−t)``, in float64, where the gammas do not cancel.
    (torch.distributions.Beta)

    Example:
        >>> family = activations_ext.likelihood.Beta()
        >>> family.nll(torch.full((4, 2), 0.5413), torch.full((4, 1), 0.3)).abs() < 1e-4  # uniform
        tensor(True)
    """

    floor: float = 1e-6

    def features(self, dimensions: int) -> int:
        return 2 * dimensions

    def _parts(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.parts_of(outputs, 2)
        return F.softplus(a) + self.floor, F.softplus(b) + self.floor

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        a, b = (part.double() for part in self._parts(outputs))
        t = target.double()
        constant = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
        losses = constant - (a - 1) * t.log() - (b - 1) * torch.log1p(-t)
        return losses.sum(-1).to(outputs.dtype)

    def mean(self, outputs: Tensor) -> Tensor:
        a, b = self._parts(outputs)
        return a / (a + b)

    def at_temperature(self, outputs: Tensor, temperature: float) -> distributions.Distribution:
        self.no_temperature(temperature)
        return independent(distributions.Beta(*self._parts(outputs)))


@dataclass(frozen=True)
class LogitNormal(_Shares):
    """Shares whose logits log(t/(1−t)) are normal, with learned means and standard deviations.

    The outputs are ``Gaussian(None)``'s of the logits; the arguments are too. There is no formula
    of the mean: it is a quadrature (Gauss–Hermite, 64 points), within 1e-3 for standard deviations
    of up to 6.

    Example:
        >>> family = activations_ext.likelihood.LogitNormal()
        >>> family.nll(torch.zeros(4, 2), torch.full((4, 1), 0.5))
        tensor(-0.4674)
    """

    scale_by: str = "exp"
    floor: float = 0.0

    def __post_init__(self) -> None:
        check_scales("LogitNormal", self.scale_by, self.floor)

    @property
    def _of_logits(self) -> Gaussian:
        return Gaussian(None, self.scale_by, self.floor)

    def features(self, dimensions: int) -> int:
        return 2 * dimensions

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        low, high = target.log(), torch.log1p(-target)
        return self._of_logits.losses(outputs, low - high) + (low + high).sum(-1)

    def mean(self, outputs: Tensor) -> Tensor:
        normal = self._of_logits.normal(outputs)
        mean = torch.zeros_like(normal.mean)
        for point, weight in zip(*_gauss_hermite(64), strict=True):
            mean = mean + weight * F.sigmoid(normal.mean + point * normal.stddev)
        return mean

    def at_temperature(self, outputs: Tensor, temperature: float) -> distributions.Distribution:
        normal = self._of_logits.normal(outputs, temperature)
        return independent(
            distributions.TransformedDistribution(normal, distributions.SigmoidTransform())
        )

    def cdf(self, outputs: Tensor, target: Tensor) -> Tensor:
        return self._of_logits.cdf(outputs, target.logit())

    def quantile(self, outputs: Tensor, probability: Tensor | float) -> Tensor:
        return F.sigmoid(self._of_logits.quantile(outputs, probability))


@functools.cache
def _gauss_hermite(count: int) -> tuple[list[float], list[float]]:
    """Points and weights of the expectation over a standard normal variable (Golub and Welsch 1969,
    Calculation of Gauss quadrature rules)."""
    beside = torch.diag(torch.arange(1, count, dtype=torch.float64).sqrt(), 1)
    points, vectors = torch.linalg.eigh(beside + beside.t())
    return points.tolist(), vectors[0].square().tolist()

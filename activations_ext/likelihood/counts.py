"""Targets that are counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributions

from activations_ext import functional as F
from activations_ext.likelihood.base import Likelihood, independent


class _Counts(Likelihood):
    def check_numbers(self, target: Tensor) -> None:
        allowed = (target >= 0) & (target == target.floor())
        self.check_range(target, allowed, "numbers 0, 1, 2, …")


@dataclass(frozen=True)
class Poisson(_Counts):
    """Counts of independent events: the outputs are logarithms of rates, D of them.

    ``e^o − t·o + log t!``. (torch.distributions.Poisson)

    Example:
        >>> family = activations_ext.likelihood.Poisson()
        >>> family.nll(torch.zeros(4, 1), torch.zeros(4, 1))  # the rate
        tensor(1.)
    """

    def features(self, dimensions: int) -> int:
        return dimensions

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        return (outputs.exp() - target * outputs + torch.lgamma(target + 1)).sum(-1)

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs.exp()

    def at_temperature(self, outputs: Tensor, temperature: float) -> distributions.Distribution:
        self.no_temperature(temperature)
        return independent(distributions.Poisson(outputs.exp()))

    def cdf(self, outputs: Tensor, target: Tensor) -> Tensor:
        below = torch.special.gammaincc(target.clamp_min(0).floor() + 1, outputs.exp())
        return torch.where(target < 0, 0.0, below)


@dataclass(frozen=True)
class NegativeBinomial(_Counts):
    """Counts whose variance is more than their mean, so of events that come together.

    The outputs are D raw total counts r = softplus(o) + ``floor``, then D logits l, of
    torch.distributions.NegativeBinomial: ``log Γ(r) + log t! − log Γ(r + t) − r·log σ(−l) −
    t·log σ(l)``, mean r·e^l. The first three terms are computed in float64: for large r, where the
    counts are almost Poisson's, they cancel.

    Example:
        >>> family = activations_ext.likelihood.NegativeBinomial()
        >>> family.nll(torch.zeros(4, 2), torch.zeros(4, 1))  # (log 2)²
        tensor(0.4805)
    """

    floor: float = 1e-6

    def features(self, dimensions: int) -> int:
        return 2 * dimensions

    def _parts(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        raw, logits = self.parts_of(outputs, 2)
        return F.softplus(raw) + self.floor, logits

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        total, logits = self._parts(outputs)
        r, t = total.double(), target.double()
        chances = torch.lgamma(r) + torch.lgamma(t + 1) - torch.lgamma(r + t)
        losses = chances - r * F.logsigmoid(-logits).double() - t * F.logsigmoid(logits).double()
        return losses.sum(-1).to(outputs.dtype)

    def mean(self, outputs: Tensor) -> Tensor:
        total, logits = self._parts(outputs)
        return total * logits.exp()

    def at_temperature(self, outputs: Tensor, temperature: float) -> distributions.Distribution:
        self.no_temperature(temperature)
        total, logits = self._parts(outputs)
        return independent(distributions.NegativeBinomial(total, logits=logits))

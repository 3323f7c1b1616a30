"""Normally distributed targets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, distributions

from activations_ext import functional as F
from activations_ext.likelihood.base import Likelihood, check_scales, independent, scale_of


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """Normally distributed numbers around the outputs.

    Args:
        scale: the standard deviation of all targets, so that the loss is the squared error up to a
            factor and a constant; or None, where it is learned: each number has a second output.
        scale_by: what makes a learned standard deviation of its output: ``"exp"``, ``"softplus"``,
            ``"elu"`` (ELU + 1) or ``"identity"``.
        floor: what is added to a learned standard deviation.

    Example:
        >>> family = activations_ext.likelihood.Gaussian()
        >>> family.nll(torch.zeros(4, 2), torch.zeros(4, 2))  # log √(2π) for each number
        tensor(1.8379)
    """

    scale: float | None = 1.0
    scale_by: str = "exp"
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise ValueError(
                "Gaussian(): expected argument 'scale' to be a positive standard deviation or "
                f"None, but got {self.scale}"
            )
        check_scales("Gaussian", self.scale_by, self.floor)

    def features(self, dimensions: int) -> int:
        return dimensions if self.scale is not None else 2 * dimensions

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        if self.scale is None:
            mean, scale = (part.unsqueeze(-2) for part in outputs.chunk(2, -1))
            return F.gaussian_mixture_nll_loss(
                outputs.new_zeros(1),
                mean,
                scale,
                target,
                scale_by=self.scale_by,
                floor=self.floor,
                reduction="none",
            )
        errors = torch.nn.functional.mse_loss(outputs, target, reduction="none").sum(-1)
        constant = target.shape[-1] * (math.log(self.scale) + 0.5 * math.log(2 * math.pi))
        return errors / (2 * self.scale**2) + constant

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs if self.scale is not None else outputs.chunk(2, -1)[0]

    def normal(self, outputs: Tensor, temperature: float = 1.0) -> distributions.Normal:
        root = math.sqrt(temperature)
        if self.scale is not None:
            return distributions.Normal(outputs, torch.full_like(outputs, self.scale * root))
        mean, raw = self.parts_of(outputs, 2)
        return distributions.Normal(mean, scale_of(raw, self.scale_by, self.floor) * root)

    def at_temperature(self, outputs: Tensor, temperature: float) -> distributions.Distribution:
        return independent(self.normal(outputs, temperature))

    def cdf(self, outputs: Tensor, target: Tensor) -> Tensor:
        normal = self.normal(outputs)
        result: Tensor = torch.special.ndtr((target - normal.mean) / normal.stddev)
        return result

    def quantile(self, outputs: Tensor, probability: Tensor | float) -> Tensor:
        normal = self.normal(outputs)
        p = torch.as_tensor(probability, dtype=outputs.dtype, device=outputs.device)
        result: Tensor = normal.mean + normal.stddev * torch.special.ndtri(p)
        return result

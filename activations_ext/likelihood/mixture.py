"""Targets with several answers: what a mixture density network predicts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, distributions

from activations_ext import functional as F
from activations_ext.likelihood.base import (
    Likelihood,
    check_components,
    check_outputs,
    check_scales,
    independent,
    scale_of,
)


@dataclass(frozen=True)
class MixtureOfGaussians(Likelihood):
    """What the outputs of a mixture density network are (Bishop 1994).

    The outputs are ``components`` logits, then the means of the first component, of the second, …,
    and the scales in the same order. The means are taken as they are, the weights are a softmax.

    Args:
        components: how many Gaussians, of diagonal covariance.
        scale_by: what makes a standard deviation of its output: ``"exp"``, ``"softplus"``,
            ``"elu"`` (ELU + 1) or ``"identity"``.
        floor: what is added to it. Without one the likelihood has no bound: a component can settle
            on a single target.

    Example:
        >>> family = activations_ext.likelihood.MixtureOfGaussians(components=3)
        >>> outputs = torch.zeros(4, 3 + 3 * 2 + 3 * 2)  # of targets of two numbers
        >>> family.nll(outputs, torch.zeros(4, 2)).shape, family.mean(outputs).shape
        (torch.Size([]), torch.Size([4, 2]))
    """

    components: int
    scale_by: str = "exp"
    floor: float = 1e-3

    def __post_init__(self) -> None:
        check_components("MixtureOfGaussians", self.components)
        check_scales("MixtureOfGaussians", self.scale_by, self.floor)

    def features(self, dimensions: int) -> int:
        return self.components * (1 + 2 * dimensions)

    def parts(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (\\*, C), means and raw scales (\\*, C, D): views of the outputs."""
        check_outputs("MixtureOfGaussians", outputs, self.components)
        dimensions, rest = divmod(outputs.shape[-1] // self.components - 1, 2)
        if dimensions < 1 or rest:
            raise ValueError(
                "MixtureOfGaussians(): expected argument 'outputs' to have a last dimension of "
                f"{self.components}·(1 + 2·D), but got shape {tuple(outputs.shape)}"
            )
        each = self.components * dimensions
        logits, mean, scale = outputs.split([self.components, each, each], -1)
        shape = (*outputs.shape[:-1], self.components, dimensions)
        return logits, mean.view(shape), scale.view(shape)

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        return F.gaussian_mixture_nll_loss(
            *self.parts(outputs),
            target,
            scale_by=self.scale_by,
            floor=self.floor,
            reduction="none",
        )

    def weights_means_scales(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """φ (\\*, C), μ and σ (\\*, C, D)."""
        logits, mean, raw = self.parts(outputs)
        return F.softmax(logits, -1), mean, scale_of(raw, self.scale_by, self.floor)

    def mean(self, outputs: Tensor) -> Tensor:
        weight, mean, _ = self.weights_means_scales(outputs)
        return (weight.unsqueeze(-1) * mean).sum(-2)

    def variance(self, outputs: Tensor) -> Tensor:
        """That of each number of the target, within the components and between them: (\\*, D)."""
        weight, mean, scale = self.weights_means_scales(outputs)
        spread = mean - self.mean(outputs).unsqueeze(-2)
        return (weight.unsqueeze(-1) * (scale.square() + spread.square())).sum(-2)

    @torch.no_grad()
    def modes(self, outputs: Tensor, steps: int = 100) -> Tensor:
        """Where the density is locally largest, the largest first, of shape (\\*, C, D).

        Each component's mean climbs in ``steps`` fixed-point steps; several may reach the same
        place. (Carreira-Perpiñán 2000, Mode-finding for mixtures of Gaussian distributions.)
        """
        dtype = outputs.dtype
        outputs = outputs.to(
            torch.promote_types(dtype, torch.float32)
        )  # steps of 16 bits get stuck
        logits, mean, raw = self.parts(outputs)
        scale = scale_of(raw, self.scale_by, self.floor)
        given = (logits.unsqueeze(-2), mean.unsqueeze(-3), scale.unsqueeze(-3))  # for each climber
        precision, place = given[2].square().reciprocal(), mean
        for _ in range(steps):
            z = (place.unsqueeze(-2) - given[1]) / given[2]
            joint = given[0] - (0.5 * z.square() + given[2].log()).sum(-1)
            pull = F.softmax(joint, -1).unsqueeze(-1) * precision
            place = (pull * given[1]).sum(-2) / pull.sum(-2)
        losses = F.gaussian_mixture_nll_loss(*given, place, reduction="none", validate_args=False)
        order = losses.argsort(-1).unsqueeze(-1).expand_as(place)
        return place.gather(-2, order).to(dtype)

    def effective_components(self, outputs: Tensor) -> Tensor:
        """How many components the network uses: e^H of the weights' mean over all outputs, from 1,
        where the mixture has collapsed onto one component, to C, where all are used alike."""
        weight = F.softmax(self.parts(outputs)[0], -1).reshape(-1, self.components).mean(0)
        result: Tensor = torch.special.entr(weight).sum().exp()
        return result

    def at_temperature(self, outputs: Tensor, temperature: float) -> distributions.Distribution:
        logits, mean, raw = self.parts(outputs)
        scale = scale_of(raw, self.scale_by, self.floor) * math.sqrt(temperature)
        return distributions.MixtureSameFamily(
            distributions.Categorical(logits=logits / temperature),
            independent(distributions.Normal(mean, scale)),
        )

    def cdf(self, outputs: Tensor, target: Tensor) -> Tensor:
        weight, mean, scale = self.weights_means_scales(outputs)
        below = torch.special.ndtr((target.unsqueeze(-2) - mean) / scale)
        result: Tensor = (weight.unsqueeze(-1) * below).sum(-2)
        return result

    @torch.no_grad()
    def quantile(self, outputs: Tensor, probability: Tensor | float) -> Tensor:
        """By bisection, without a gradient. Of each number by itself."""
        _, mean, scale = self.weights_means_scales(outputs)
        p = torch.as_tensor(probability, dtype=outputs.dtype, device=outputs.device)
        # Between the components' own quantiles.
        of_components = mean + scale * torch.special.ndtri(p).unsqueeze(-2 if p.dim() > 1 else 0)
        low: Tensor = of_components.amin(-2)
        high: Tensor = of_components.amax(-2)
        for _ in range(torch.finfo(torch.float64).bits):
            middle = low + (high - low) / 2
            is_below = self.cdf(outputs, middle) < p
            low, high = torch.where(is_below, middle, low), torch.where(is_below, high, middle)
        return high

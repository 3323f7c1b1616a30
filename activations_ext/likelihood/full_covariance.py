"""Mixtures whose components lie in any direction: Gaussians with full covariances."""

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
    scale_of,
)


@dataclass(frozen=True)
class MixtureOfMultivariateGaussians(Likelihood):
    """``MixtureOfGaussians`` with covariances Σ_c = L_c·L_cᵀ, L_c lower triangular.

    The outputs are ``components`` logits, then the means of the first component, of the second, …,
    and in the same order the D·(D + 1)/2 numbers of each L: its diagonal, then what is below, row
    by row. The diagonal is made positive as a standard deviation is. ``lse(logits) −
    lse(logits + s) + D/2·log 2π`` with ``s_c = −½·|L_c⁻¹(y − μ_c)|² − Σ log L_c,dd``, of torch's
    operators. (Bishop 1994, Mixture density networks; Williams 1996, for the Cholesky factor.)

    Args:
        components: how many Gaussians.
        scale_by, floor: of the diagonals, as ``MixtureOfGaussians``'s.

    Example:
        >>> family = activations_ext.likelihood.MixtureOfMultivariateGaussians(components=3)
        >>> outputs = torch.zeros(4, family.features(2))
        >>> family.nll(outputs, torch.zeros(4, 2)).shape, family.covariance(outputs).shape
        (torch.Size([]), torch.Size([4, 2, 2]))
    """

    components: int
    scale_by: str = "exp"
    floor: float = 1e-3

    def __post_init__(self) -> None:
        check_components(self._name, self.components)
        check_scales(self._name, self.scale_by, self.floor)

    def features(self, dimensions: int) -> int:
        return self.components * (1 + dimensions + dimensions * (dimensions + 1) // 2)

    def parts(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (\\*, C), means (\\*, C, D) and the L (\\*, C, D, D)."""
        check_outputs(self._name, outputs, self.components)
        each = outputs.shape[-1] // self.components  # 1 + D + D·(D + 1)/2
        dimensions = (math.isqrt(1 + 8 * each) - 3) // 2
        if dimensions < 1 or self.features(dimensions) != outputs.shape[-1]:
            raise ValueError(
                f"{self._name}(): expected argument 'outputs' to have a last dimension of "
                f"{self.components}·(1 + D + D·(D + 1)/2), but got shape {tuple(outputs.shape)}"
            )
        count = self.components * dimensions
        sizes = [self.components, count, outputs.shape[-1] - self.components - count]
        logits, mean, entries = outputs.split(sizes, -1)
        shape = (*outputs.shape[:-1], self.components)
        diagonal, below = entries.unflatten(-1, (self.components, -1)).split(
            [dimensions, dimensions * (dimensions - 1) // 2], -1
        )
        tril = torch.diag_embed(scale_of(diagonal, self.scale_by, self.floor))
        row, column = torch.tril_indices(dimensions, dimensions, -1, device=outputs.device)
        place = row * dimensions + column
        tril = tril.flatten(-2).index_add(-1, place, below.to(tril.dtype))
        return (
            logits,
            mean.reshape(*shape, dimensions),
            tril.reshape(*shape, dimensions, dimensions),
        )

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        dtype = torch.promote_types(outputs.dtype, torch.float32)
        logits, mean, tril = self.parts(outputs.to(dtype))
        distance = (target.to(dtype).unsqueeze(-2) - mean).unsqueeze(-1)
        z = torch.linalg.solve_triangular(tril, distance, upper=False).squeeze(-1)
        log_det = tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        joint = logits - 0.5 * z.square().sum(-1) - log_det
        constant = 0.5 * target.shape[-1] * math.log(2 * math.pi)
        losses: Tensor = logits.logsumexp(-1) - joint.logsumexp(-1) + constant
        return losses.to(outputs.dtype)

    def mean(self, outputs: Tensor) -> Tensor:
        logits, mean, _ = self.parts(outputs)
        result: Tensor = (F.softmax(logits, -1).unsqueeze(-1) * mean).sum(-2)
        return result

    def covariance(self, outputs: Tensor) -> Tensor:
        """That of the target, within the components and between them: (\\*, D, D)."""
        logits, mean, tril = self.parts(outputs)
        spread = mean - self.mean(outputs).unsqueeze(-2)
        each = tril @ tril.mT + spread.unsqueeze(-1) * spread.unsqueeze(-2)
        result: Tensor = (F.softmax(logits, -1)[..., None, None] * each).sum(-3)
        return result

    def at_temperature(self, outputs: Tensor, temperature: float) -> distributions.Distribution:
        logits, mean, tril = self.parts(outputs)
        return distributions.MixtureSameFamily(
            distributions.Categorical(logits=logits / temperature),
            distributions.MultivariateNormal(mean, scale_tril=tril * math.sqrt(temperature)),
        )

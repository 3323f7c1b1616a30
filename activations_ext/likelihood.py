"""Outputs of a network as the parameters of a distribution of the target, and its negative
log-likelihood as the loss.

A family takes raw outputs, of any real numbers, whose output activation it applies by itself:

===================  ===================================  ====================================
family               outputs for targets of D numbers     so that the loss is
===================  ===================================  ====================================
Gaussian             D means                              the squared error / 2σ², and a constant
Gaussian(None)       D means, D scales                    that of heteroscedastic regression
Bernoulli            D logits (sigmoid)                   binary cross-entropy
Categorical          a logit for each class (softmax)     cross-entropy
MixtureOfGaussians   C logits, C·D means, C·D scales      that of a mixture density network
===================  ===================================  ====================================

The logarithm of the likelihood undoes the exponential of sigmoid and softmax: the gradient does not
vanish where they saturate, as that of the squared error of their values does. (Goodfellow et al.,
Deep Learning, 6.2.2.)
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass

import torch
from torch import Size, Tensor, distributions

from activations_ext import functional as F
from activations_ext.functional.mixtures import SCALES, check_no_nan, validates
from activations_ext.functional.row_statistics import ordered_sum

__all__ = ["Bernoulli", "Categorical", "Gaussian", "Likelihood", "MixtureOfGaussians"]


class Likelihood(abc.ABC):
    """A family of distributions, from raw outputs of shape (\\*, features)."""

    @abc.abstractmethod
    def features(self, dimensions: int) -> int:
        """How many outputs a target of that many numbers (or classes) takes."""

    @abc.abstractmethod
    def nll(self, outputs: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        """Minus the log-likelihood of each target, summed over its numbers.

        Args:
            outputs: of shape (\\*, features).
            target: of shape (\\*, D).
            reduction: ``"mean"`` or ``"sum"`` over the targets, or ``"none"``.

        Raises:
            ValueError: shapes that do not fit, no such ``reduction``, or, on the CPU, targets that
                are NaN.
        """

    @abc.abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """The expected target, of shape (\\*, D)."""

    @abc.abstractmethod
    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        """The same as torch has it, with the batch shape (\\*)."""

    def sample(self, outputs: Tensor, sample_shape: Size | tuple[int, ...] = ()) -> Tensor:
        """Targets drawn with torch's generator, of shape (\\*sample_shape, \\*, D)."""
        return self.distribution(outputs).sample(Size(sample_shape))


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
        _check_scales("Gaussian", self.scale_by, self.floor)

    def features(self, dimensions: int) -> int:
        return dimensions if self.scale is not None else 2 * dimensions

    def nll(self, outputs: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        _check_target(self, outputs, target)
        if self.scale is None:
            mean, scale = (part.unsqueeze(-2) for part in outputs.chunk(2, -1))
            return F.gaussian_mixture_nll_loss(
                outputs.new_zeros(1),
                mean,
                scale,
                target,
                scale_by=self.scale_by,
                floor=self.floor,
                reduction=reduction,
            )
        if validates(outputs):
            check_no_nan("Gaussian.nll", target)
        errors = torch.nn.functional.mse_loss(outputs, target, reduction="none").sum(-1)
        constant = target.shape[-1] * (math.log(self.scale) + 0.5 * math.log(2 * math.pi))
        return _reduced(errors / (2 * self.scale**2) + constant, reduction)

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs if self.scale is not None else outputs.chunk(2, -1)[0]

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        if self.scale is not None:
            mean, scale = outputs, torch.full_like(outputs, self.scale)
        else:
            _check_outputs("Gaussian", outputs, 2)
            mean, raw = outputs.chunk(2, -1)
            scale = scale_of(raw, self.scale_by, self.floor)
        return distributions.Independent(distributions.Normal(mean, scale), 1)


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Yes or no, D times: logits of shape (\\*, D), targets of 0 and 1 or probabilities.

    Example:
        >>> family = activations_ext.likelihood.Bernoulli()
        >>> family.nll(torch.zeros(4, 1), torch.ones(4, 1))  # log 2
        tensor(0.6931)
    """

    def features(self, dimensions: int) -> int:
        return dimensions

    def nll(self, outputs: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        _check_target(self, outputs, target)
        if validates(outputs):
            check_no_nan("Bernoulli.nll", target)
        losses = F.binary_cross_entropy_with_logits(outputs, target, reduction="none")
        return _reduced(losses.sum(-1), reduction)

    def mean(self, outputs: Tensor) -> Tensor:
        return F.sigmoid(outputs)

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        return distributions.Independent(distributions.Bernoulli(logits=outputs), 1)


@dataclass(frozen=True)
class Categorical(Likelihood):
    """One of C classes: logits of shape (\\*, C), targets (int64) of shape (\\*).

    Example:
        >>> family = activations_ext.likelihood.Categorical()
        >>> family.nll(torch.zeros(4, 10), torch.arange(4))  # log 10
        tensor(2.3026)
    """

    def features(self, dimensions: int) -> int:
        return dimensions

    def nll(self, outputs: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        """Minus the log-probability of the target's class.

        Raises IndexError for a target that is no class, and otherwise what ``Likelihood.nll`` does.
        """
        _check_outputs("Categorical", outputs, 1)
        if target.shape != outputs.shape[:-1]:
            raise ValueError(
                "Categorical.nll(): expected argument 'target' to have a class for each row of "
                f"the outputs, of shape {tuple(outputs.shape[:-1])}, but got {tuple(target.shape)}"
            )
        losses: Tensor = F.cross_entropy(
            outputs.reshape(-1, outputs.shape[-1]), target.reshape(-1), reduction=reduction
        )
        return losses.reshape(target.shape) if reduction == "none" else losses

    def mean(self, outputs: Tensor) -> Tensor:
        """The probability of each class, which is the mean of one-hot targets."""
        return F.softmax(outputs, -1)

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        return distributions.Categorical(logits=outputs)


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
        if self.components < 1:
            raise ValueError(
                "MixtureOfGaussians(): expected argument 'components' to be at least 1, but got "
                f"{self.components}"
            )
        _check_scales("MixtureOfGaussians", self.scale_by, self.floor)

    def features(self, dimensions: int) -> int:
        return self.components * (1 + 2 * dimensions)

    def parts(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (\\*, C), means and raw scales (\\*, C, D): views of the outputs."""
        _check_outputs("MixtureOfGaussians", outputs, self.components)
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

    def nll(self, outputs: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        _check_target(self, outputs, target)
        return F.gaussian_mixture_nll_loss(
            *self.parts(outputs),
            target,
            scale_by=self.scale_by,
            floor=self.floor,
            reduction=reduction,
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
        return place.gather(-2, order)

    def effective_components(self, outputs: Tensor) -> Tensor:
        """How many components the network uses: e^H of the weights' mean over all outputs, from 1,
        where the mixture has collapsed onto one component, to C, where all are used alike."""
        weight = F.softmax(self.parts(outputs)[0], -1).reshape(-1, self.components).mean(0)
        result: Tensor = torch.special.entr(weight).sum().exp()
        return result

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        logits, mean, raw = self.parts(outputs)
        normal = distributions.Normal(mean, scale_of(raw, self.scale_by, self.floor))
        return distributions.MixtureSameFamily(
            distributions.Categorical(logits=logits), distributions.Independent(normal, 1)
        )


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


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    total = ordered_sum(losses)
    return total / losses.numel() if reduction == "mean" else total


def _check_scales(family: str, scale_by: str, floor: float) -> None:
    if scale_by not in SCALES:
        raise ValueError(
            f"{family}(): expected argument 'scale_by' to be one of {', '.join(SCALES)}, but got "
            f"{scale_by!r}"
        )
    if not floor >= 0:
        raise ValueError(f"{family}(): expected argument 'floor' to be at least 0, but got {floor}")


def _check_outputs(family: str, outputs: Tensor, multiple: int) -> None:
    if outputs.dim() == 0 or outputs.shape[-1] == 0 or outputs.shape[-1] % multiple:
        raise ValueError(
            f"{family}(): expected argument 'outputs' to have a last dimension that is a multiple "
            f"of {multiple}, but got shape {tuple(outputs.shape)}"
        )


def _check_target(family: Likelihood, outputs: Tensor, target: Tensor) -> None:
    name = f"{type(family).__name__}.nll"
    if target.dim() == 0:
        raise ValueError(
            f"{name}(): expected argument 'target' to have a dimension of its numbers, but got ()"
        )
    expected = (*target.shape[:-1], family.features(target.shape[-1]))
    if outputs.shape != expected:
        raise ValueError(
            f"{name}(): expected argument 'outputs' to have the shape {expected} for targets of "
            f"shape {tuple(target.shape)}, but got {tuple(outputs.shape)}"
        )

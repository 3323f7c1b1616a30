"""Answers of a few kinds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Size, Tensor, distributions

from activations_ext import functional as F
from activations_ext.likelihood.base import Likelihood, check_outputs, independent


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

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        each = F.binary_cross_entropy_with_logits(outputs, target, reduction="none")
        return each.sum(-1)

    def mean(self, outputs: Tensor) -> Tensor:
        return F.sigmoid(outputs)

    def at_temperature(self, outputs: Tensor, temperature: float) -> distributions.Distribution:
        return independent(distributions.Bernoulli(logits=outputs / temperature))


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

    def rows(self, target: Tensor) -> Size:
        return target.shape

    def check(self, outputs: Tensor, target: Tensor) -> None:
        check_outputs("Categorical", outputs, 1)
        if target.shape != outputs.shape[:-1]:
            raise ValueError(
                "Categorical.nll(): expected argument 'target' to have a class for each row of "
                f"the outputs, of shape {tuple(outputs.shape[:-1])}, but got {tuple(target.shape)}"
            )

    def check_numbers(self, target: Tensor) -> None:
        """``cross_entropy`` raises IndexError for a target that is no class."""

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        rows = outputs.reshape(-1, outputs.shape[-1])
        losses: Tensor = F.cross_entropy(rows, target.reshape(-1), reduction="none")
        return losses.reshape(target.shape)

    def mean(self, outputs: Tensor) -> Tensor:
        """The probability of each class, which is the mean of one-hot targets."""
        return F.softmax(outputs, -1)

    def at_temperature(self, outputs: Tensor, temperature: float) -> distributions.Distribution:
        return distributions.Categorical(logits=outputs / temperature)

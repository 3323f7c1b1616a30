"""The last layer of a mixture density network."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from activations_ext.likelihood import MixtureOfGaussians, raw_of


class MixtureDensityHead(torch.nn.Module):
    """A linear layer whose outputs are a mixture of Gaussians (Bishop 1994).

    ``forward`` gives the raw outputs, of shape (\\*, components·(1 + 2·out_features)), and the
    other methods take them. ``likelihood`` is their ``MixtureOfGaussians``.

    Args:
        in_features: size of the hidden units that come in, (\\*, in_features).
        out_features: how many numbers a target has.
        components: how many Gaussians there are.
        scale_by: what makes a standard deviation of its output, ``"exp"``, ``"softplus"`` or
            ``"elu"``.
        floor: what is added to every standard deviation.

    Example:
        >>> head = nn.MixtureDensityHead(4, 1, components=3)
        >>> outputs = head(torch.zeros(2, 4))
        >>> head.nll(outputs, torch.zeros(2, 1)).shape, head.sample(outputs).shape
        (torch.Size([]), torch.Size([2, 1]))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        components: int,
        scale_by: str = "exp",
        floor: float = 1e-3,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if scale_by == "identity":
            raise ValueError(
                "MixtureDensityHead(): expected argument 'scale_by' to be exp, softplus or elu, "
                "which keep outputs positive, but got 'identity'"
            )
        self.in_features = in_features
        self.out_features = out_features
        self.likelihood = MixtureOfGaussians(components, scale_by, floor)
        self.linear = torch.nn.Linear(
            in_features, self.likelihood.features(out_features), device=device, dtype=dtype
        )

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, {self.likelihood}"

    def forward(self, input: Tensor) -> Tensor:
        outputs: Tensor = self.linear(input)
        return outputs

    def nll(
        self,
        outputs: Tensor,
        target: Tensor,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ) -> Tensor:
        """Minus the log-likelihood of targets of shape (\\*, out_features), weighted or masked."""
        return self.likelihood.nll(outputs, target, reduction, weight)

    def sample(
        self,
        outputs: Tensor,
        sample_shape: Size | tuple[int, ...] = (),
        temperature: float = 1.0,
    ) -> Tensor:
        """Targets of shape (\\*sample_shape, \\*, out_features)."""
        return self.likelihood.sample(outputs, sample_shape, temperature)

    def mean(self, outputs: Tensor) -> Tensor:
        """The expected target, (\\*, out_features)."""
        return self.likelihood.mean(outputs)

    def variance(self, outputs: Tensor) -> Tensor:
        """The variance of each number of the target, (\\*, out_features)."""
        return self.likelihood.variance(outputs)

    def modes(self, outputs: Tensor, steps: int = 100) -> Tensor:
        """The density's local maxima, (\\*, components, out_features), the highest first."""
        return self.likelihood.modes(outputs, steps)

    def effective_components(self, outputs: Tensor) -> Tensor:
        """From 1, a collapsed mixture, to ``components``, all used alike: e^H of mean weights."""
        return self.likelihood.effective_components(outputs)

    @torch.no_grad()
    def init_from_targets(self, target: Tensor, seed: int = 0) -> None:
        """Sets the biases such that the components lie where the targets are.

        From a common start, components tend to stay together, or all but one to lose their weight.
        Targets of one number are cut at their quantiles into as many equal parts as there are
        components; others into k-means clusters (scikit-learn). Mean, standard deviation and share
        of a part become those of a component for an input of 0; the weights stay as they are.

        Args:
            target: of shape (N, out_features), N at least ``components``.
            seed: of k-means.

        Raises:
            ValueError: ``target`` has another shape, fewer targets than components, or NaN.
            ModuleNotFoundError: scikit-learn is needed and missing.
        """
        components, floor = self.likelihood.components, self.likelihood.floor
        if target.dim() != 2 or target.shape[1] != self.out_features or len(target) < components:
            raise ValueError(
                "init_from_targets(): expected argument 'target' to have the shape "
                f"(N, {self.out_features}) with N >= {components}, but got {tuple(target.shape)}"
            )
        if not target.isfinite().all():
            raise ValueError(
                "init_from_targets(): expected argument 'target' to have finite numbers, but got "
                "others"
            )
        target = target.detach().to("cpu", torch.float64)
        of_part = _parts(target, components, seed)
        parts = [target[of_part == c] for c in range(components)]
        share = target.new_tensor([len(part) / len(target) for part in parts])
        mean = torch.stack([part.mean(0) for part in parts])
        spread = torch.stack([part.std(0, correction=0) for part in parts])
        # A part of equal targets would make a component without width.
        least = 1e-2 * target.std(0, correction=0).clamp_min(1e-6)
        raw = raw_of(torch.maximum(spread, least) - floor, self.likelihood.scale_by)
        bias = torch.cat([share.log(), mean.flatten(), raw.flatten()])
        self.linear.bias.copy_(bias)


def _parts(target: Tensor, components: int, seed: int) -> Tensor:
    """A component for each target; none is left without."""
    if target.shape[1] == 1:
        rank = target[:, 0].argsort().argsort()
        return rank * components // len(target)
    from sklearn.cluster import KMeans

    clusters = KMeans(components, n_init=4, random_state=seed).fit(target.numpy())
    labels = torch.from_numpy(clusters.labels_).long()
    if len(labels.unique()) < components:  # fewer distinct targets than components
        return torch.arange(len(target), device=target.device) * components // len(target)
    return labels

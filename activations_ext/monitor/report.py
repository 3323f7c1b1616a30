"""What the monitor says."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Moment:
    """One complete window of the monitor's history, still on the device: numbers by layer."""

    step: int
    """The last of the window."""
    shares: dict[str, Tensor]
    """Of dead units, and of saturated slopes."""
    gradient_norms: dict[str, Tensor]


@dataclass(frozen=True)
class Units:
    """Of each unit of a layer: tensors of shape (units), on the CPU."""

    dead: Tensor
    """It let no gradient through, for no example: bool."""
    revived: Tensor
    """It was dead in the window before and is not in this one: bool."""
    saturated: Tensor
    """The share of slopes that are smaller than the monitor's ``saturated_below``."""
    mean: Tensor
    """Of the outputs."""
    variance: Tensor

    def __len__(self) -> int:
        return len(self.dead)


@dataclass(frozen=True)
class LayerReport:
    """Of one activation in one window."""

    function: str
    units: Units

    @property
    def dead(self) -> float:
        """The share of units that let no gradient through, for no example."""
        return self.units.dead.double().mean().item()

    @property
    def revived(self) -> int:
        """How many units were dead in the window before and are not in this one."""
        return int(self.units.revived.sum())

    @property
    def saturated(self) -> float:
        """The share of slopes that are smaller than the monitor's ``saturated_below``."""
        return self.units.saturated.mean().item()

    @property
    def mean(self) -> float:
        """Of the outputs of all units."""
        return self.units.mean.mean().item()

    @property
    def variance(self) -> float:
        """Of the outputs of all units, within them and between them."""
        between = self.units.mean.var(correction=0)
        return (self.units.variance.mean() + between).item()


@dataclass(frozen=True)
class Report:
    """What ``ActivationMonitor.compute`` knows: by layer, in the order of their first calls."""

    layers: dict[str, LayerReport]
    gradient_norms: dict[str, float]
    """Of a module's own parameters, in the model's order: the root of the mean square over the
    window."""
    step: int
    """The last step of the window."""

    def as_dict(self) -> dict[str, float]:
        """``"layer/dead"`` and so on, for any logger."""
        numbers = {
            f"{name}/{what}": float(getattr(layer, what))
            for name, layer in self.layers.items()
            for what in ("dead", "revived", "saturated", "mean", "variance")
        }
        return numbers | {f"{name}/gradient_norm": n for name, n in self.gradient_norms.items()}

    def __str__(self) -> str:
        from activations_ext.monitor.diagnosis import table

        return table(self)

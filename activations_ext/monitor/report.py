"""What the monitor says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


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
    values: int = 0
    """How many values of each unit were looked at."""

    @property
    def dead_below(self) -> float:
        """A unit that counts as dead lets a gradient through less often than this: the upper end of
        the 95 % confidence interval, 1 − 0.05^(1/values)."""
        return 1 - 0.05 ** (1 / self.values) if self.values else 1.0

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
    overflows: int = 0
    """Steps of the window whose gradients were not finite, which the GradScaler has skipped."""
    misses_gradients: bool = False
    """The model learns, and the last ``update()`` that looked found no gradient."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Calls that could not be looked at, by the reason."""

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain numbers and texts, for json.dumps: shares and sums of the layers, not
        the units."""
        numbers = ("dead", "revived", "saturated", "mean", "variance", "values", "dead_below")
        layers = {
            name: {"function": layer.function, "units": len(layer.units)}
            | {number: getattr(layer, number) for number in numbers}
            for name, layer in self.layers.items()
        }
        rest = ("gradient_norms", "step", "overflows", "misses_gradients", "skipped")
        return {"layers": layers} | {name: getattr(self, name) for name in rest}

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

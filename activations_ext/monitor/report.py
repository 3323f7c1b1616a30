"""The monitor's report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Units:
    """Numbers for each unit of a layer: tensors of shape (units), on the CPU."""

    dead: Tensor
    """bool: it let no gradient through, for any example."""
    revived: Tensor
    """bool: it was dead in the previous window and is not in this one."""
    saturated: Tensor
    """The share of slopes that are smaller than the monitor's ``saturated_below``."""
    mean: Tensor
    """The mean and the variance of the outputs."""
    variance: Tensor

    def __len__(self) -> int:
        return len(self.dead)


@dataclass(frozen=True)
class LayerReport:
    """The report of one activation in one window."""

    function: str
    units: Units
    values: int = 0
    """How many values of each unit were sampled."""

    @property
    def dead_below(self) -> float:
        """A unit that counts as dead lets a gradient through less often than this: the upper end of
        the 95 % confidence interval, 1 − 0.05^(1/values)."""
        return 1 - 0.05 ** (1 / self.values) if self.values else 1.0

    @property
    def dead(self) -> float:
        """The share of units that let no gradient through, for any example."""
        return self.units.dead.double().mean().item()

    @property
    def revived(self) -> int:
        """How many units were dead in the previous window and are not in this one."""
        return int(self.units.revived.sum())

    @property
    def saturated(self) -> float:
        """The share of slopes that are smaller than the monitor's ``saturated_below``."""
        return self.units.saturated.mean().item()

    @property
    def mean(self) -> float:
        """The mean of the outputs of all units."""
        return self.units.mean.mean().item()

    @property
    def variance(self) -> float:
        """The variance of the outputs of all units, within and between them."""
        between = self.units.mean.var(correction=0)
        return (self.units.variance.mean() + between).item()


@dataclass(frozen=True)
class Report:
    """What ``ActivationMonitor.compute`` returns: by layer, in the order of the first calls."""

    layers: dict[str, LayerReport]
    gradient_norms: dict[str, float]
    """Of a module's own parameters, in the model's order: the root of the mean square over the
    window."""
    step: int
    """The last step of the window."""
    overflows: int = 0
    """Steps of the window whose gradients were not finite, which the GradScaler has skipped."""
    misses_gradients: bool = False
    """The model is training, but the last sampled ``update()`` found no gradient."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Calls that could not be examined, by reason."""

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

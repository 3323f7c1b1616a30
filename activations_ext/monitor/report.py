"""What the monitor says."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LayerReport:
    """Of one activation in one window. Shares are of all units, or of units and examples."""

    function: str
    units: int
    dead: float
    """The share of units that let no gradient through, for no example."""
    dead_units: Tensor
    """Which they are: bool, (units), on the CPU."""
    revived: int
    """How many units were dead in the window before and are not in this one."""
    saturated: float
    """The share of slopes that are smaller than the monitor's ``saturated_below``."""
    mean: float
    """Of the outputs."""
    variance: float


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

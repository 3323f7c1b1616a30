"""Heat maps of the layers, window by window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from activations_ext.monitor.history import Moment


def draw(history: list[Moment]) -> Figure:
    """Dead units, saturated slopes and the gradient's norm; layers from below, steps to the right.

    Raises ValueError where no window is complete yet.
    """
    if not history:
        raise ValueError("plot(): expected at least one complete window, but got none yet")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4), layout="constrained")
    steps = [moment.step for moment in history]
    shares = [{name: both.tolist() for name, both in m.shares.items()} for m in history]
    norms = [{name: norm.item() for name, norm in m.gradient_norms.items()} for m in history]
    dead, saturated, gradients = figure.subplots(1, 3)
    scale = {"vmin": 0.0, "vmax": 1.0, "cmap": "viridis"}
    for axes, place, title in ((dead, 0, "dead units"), (saturated, 1, "saturated slopes")):
        rows = [{name: row[place] for name, row in window.items()} for window in shares]
        _heat_map(figure, axes, steps, rows, title, **scale)
    _heat_map(figure, gradients, steps, norms, "gradient norm", norm="log", cmap="magma")
    return figure


def _heat_map(
    figure: Figure,
    axes: Any,
    steps: list[int],
    windows: list[dict[str, float]],
    title: str,
    **options: Any,
) -> None:
    names = list(dict.fromkeys(name for window in windows for name in window))
    axes.set(title=title, xlabel="step")
    if not names:
        return
    numbers = [[window.get(name, float("nan")) for window in windows] for name in names]
    edges = (steps[0], max(steps[-1], steps[0] + 1))
    picture = axes.imshow(
        numbers,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(*edges, -0.5, len(names) - 0.5),
        **options,
    )
    axes.set_yticks(range(len(names)), names, fontsize="small")
    figure.colorbar(picture, ax=axes)

"""A report in plain language: what is wrong, and what helps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activations_ext.monitor.report import LayerReport, Report

# Those that are flat on both sides: a ReLU that is off half of the time is as it should be.
SATURATING = ("sigmoid", "tanh", "hardsigmoid", "hardtanh", "softsign", "relu6")

DEAD = 0.1  # share of units
SATURATED = 0.5  # share of slopes
VANISHING = EXPLODING = 1e3  # ratio of the gradient's norms between two layers


def of_layer(layer: LayerReport) -> str | None:
    """What is wrong with a layer, or None."""
    if math.isnan(layer.mean) or math.isinf(layer.mean):
        return "the outputs are not finite: lower the learning rate, or clip the gradients"
    if layer.function.lower() in SATURATING and layer.saturated >= SATURATED:
        return (
            f"{layer.saturated:.0%} of the slopes are flat: normalise the inputs of the layer, "
            "take smaller initial weights, or a function that does not saturate"
        )
    if layer.dead >= DEAD:
        return (
            f"{layer.dead:.0%} of the units let no gradient through{_how_sure(layer)}: lower the "
            "learning rate, take smaller initial biases, or LeakyReLU, ELU, SERLU instead of ReLU"
        )
    return None


def of_gradients(norms: dict[str, float]) -> str | None:
    """What is wrong with the gradients from layer to layer, or None."""
    if norms and not any(norms.values()):
        return "all gradients are zero: nothing learns, or zero_grad() was called before update()"
    if any(not math.isfinite(norm) for norm in norms.values()):
        name = next(name for name, norm in norms.items() if not math.isfinite(norm))
        return f"the gradient of {name} is not finite: clip it, or lower the learning rate"
    if len(norms) < 2:
        return None
    (first, of_first), *_, (last, of_last) = norms.items()
    if of_first * VANISHING < of_last:
        return (
            f"vanishing: the gradient of {first} is {_times(of_last, of_first)} smaller than that "
            f"of {last}: take ReLU or SELU with their initial weights, normalisation, or shortcuts"
        )
    if of_first > EXPLODING * of_last:
        return (
            f"exploding: the gradient of {first} is {_times(of_first, of_last)} larger than that "
            f"of {last}: clip it, take smaller initial weights, or normalisation"
        )
    return None


def _how_sure(layer: LayerReport) -> str:
    """A caveat for layers of which few values were sampled."""
    return f" (less often than {layer.dead_below:.1%})" if 0 < layer.values < 300 else ""


def _times(large: float, small: float) -> str:
    return f"{large / small:.1e} times" if small > 0 else "infinitely"


def table(report: Report) -> str:
    """The layers, the gradients, and a sentence for each thing that is wrong."""
    width = max([len(name) for name in (*report.layers, *report.gradient_norms)], default=0) + 2
    width = max(width, len("gradient of") + 2)
    lines = [
        f"{'activation':<{width}}{'function':<12}{'units':>7}{'dead':>7}{'revived':>9}"
        f"{'saturated':>11}{'mean':>10}{'deviation':>11}"
    ]
    for name, layer in report.layers.items():
        lines.append(
            f"{name:<{width}}{layer.function:<12}{len(layer.units):>7}{layer.dead:>7.0%}"
            f"{layer.revived:>9}{layer.saturated:>11.0%}{layer.mean:>10.3g}"
            f"{math.sqrt(layer.variance):>11.3g}"
        )
    if report.gradient_norms:
        lines += ["", f"{'gradient of':<{width}}{'norm':<12}"]
        lines += [f"{name:<{width}}{norm:<12.3g}" for name, norm in report.gradient_norms.items()]
    said = [(name, of_layer(layer)) for name, layer in report.layers.items()]
    said += [("gradients", of_gradients(report.gradient_norms)), *of_watching(report)]
    troubles = [f"{name}: {text}." for name, text in said if text is not None]
    return "\n".join([*lines, "", *(troubles or ["Nothing is wrong."])])


def of_watching(report: Report) -> Iterator[tuple[str, str]]:
    """What the monitor has not seen."""
    if not report.layers:
        yield (
            "activations",
            "none was seen: the model has not run in training mode since, or hides them in "
            "TorchScript, an exported program or another thread",
        )
    if report.misses_gradients:
        yield (
            "gradients",
            "update() found none: call it after backward() and before zero_grad(); an optimizer "
            "that steps during backward leaves none to read",
        )
    if report.overflows:
        yield "gradients", f"{report.overflows} steps overflowed, which the GradScaler has skipped"
    for reason, calls in report.skipped.items():
        yield "activations", f"{calls} calls were not looked at: {reason}"

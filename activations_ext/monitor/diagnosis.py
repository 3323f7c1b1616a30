"""A report in plain language: what is the matter, and what helps."""

from __future__ import annotations

import math
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
            f"{layer.dead:.0%} of the units let no gradient through: lower the learning rate, take "
            "smaller initial biases, or LeakyReLU, ELU, SERLU in the place of ReLU"
        )
    return None


def of_gradients(norms: dict[str, float]) -> str | None:
    """What is wrong with the gradients from layer to layer, or None."""
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
    said.append(("gradients", of_gradients(report.gradient_norms)))
    troubles = [f"{name}: {text}." for name, text in said if text is not None]
    return "\n".join([*lines, "", *(troubles or ["Nothing is wrong."])])

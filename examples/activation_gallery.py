"""Every activation of the table, with its first and second derivative, in one picture.

python examples/activation_gallery.py
"""

from __future__ import annotations

import math
from typing import Any

import torch
from tqdm import tqdm

from activations_ext.registry import ACTIVATIONS, Activation
from common import figure_options, new_figure, save_figure, save_numbers

COLUMNS = 5
END = 5.0


def curves(activation: Activation) -> tuple[torch.Tensor, ...]:
    """Inputs, values, slopes and curvatures, in float64."""
    x = torch.linspace(-END, END, 2001, dtype=torch.float64, requires_grad=True)
    y = activation.function(x, *activation.defaults.values())
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    curvature = torch.zeros_like(x)
    if slope.requires_grad:
        (curvature,) = torch.autograd.grad(slope.sum(), x)
    return x.detach(), y.detach(), slope.detach(), curvature


def numbers_of(y: torch.Tensor, slope: torch.Tensor) -> dict[str, float]:
    return {
        "least_value": y.min().item(),
        "largest_value": y.max().item(),
        "least_slope": slope.min().item(),
        "largest_slope": slope.max().item(),
    }


def main() -> None:
    options = figure_options("activation_gallery", "Draw every activation").parse_args()
    rows = math.ceil(len(ACTIVATIONS) / COLUMNS)
    figure, all_axes = new_figure(rows, COLUMNS, figsize=(2.6 * COLUMNS, 2.2 * rows))
    numbers: dict[str, Any] = {}
    for axes, activation in zip(all_axes.flat, tqdm(ACTIVATIONS, unit="function"), strict=False):
        x, y, slope, curvature = curves(activation)
        axes.plot(x, y, label="f")
        axes.plot(x, slope, label="f'", linewidth=1)
        axes.plot(x, curvature, label='f"', linewidth=1, linestyle="dotted")
        axes.set(title=activation.name, ylim=(-2.2, 3.2))
        axes.grid(alpha=0.3)
        numbers[activation.name] = numbers_of(y, slope)
    for axes in all_axes.flat[len(ACTIVATIONS) :]:
        axes.axis("off")
    all_axes.flat[0].legend()
    save_figure(figure, options.plot)
    save_numbers({"interval": [-END, END], "activations": numbers}, options.json)


if __name__ == "__main__":
    main()

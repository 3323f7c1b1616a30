"""How the gradient of the loss fares on its way back through a deep network, by activation.

δ(i), the gradient of the loss by the inputs of the activations of layer i, is measured by autograd
and, beside it, computed by the recursion δ(i) = W(i+1)ᵀ δ(i+1) ⊙ σ'. Where σ' is less than 1 it
vanishes layer by layer. The networks are as they begin, of the widths and initial weights that suit
each; then each learns for a while, and the loss says whether the first layers had any part in it.

    python examples/vanishing_gradients.py
    python examples/vanishing_gradients.py --layers 50 --data ~/mnist
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import nn as torch_nn
from tqdm import tqdm

from activations_ext import nn
from activations_ext.monitor.counts import value_and_slope
from common import explained, figure_options, new_figure, positive, save_figure, save_numbers
from image_data import Images, load_images
from networks import batches, dense

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "ReLU": nn.ReLU, "SELU": nn.SELU}
WIDTH = 128


def loss_of(network: torch_nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    loss: Tensor = nn.functional.cross_entropy(network(x), labels)
    return loss


def measured(network: torch_nn.Sequential, x: Tensor, labels: Tensor) -> list[Tensor]:
    """δ of each activation's input, by autograd."""
    inputs: list[Tensor] = []
    handles = [
        module.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
        for module in network
        if isinstance(module, tuple(ACTIVATIONS.values()))
    ]
    loss = loss_of(network, x, labels)
    for handle in handles:
        handle.remove()
    return list(torch.autograd.grad(loss, inputs))


@torch.no_grad()
def by_recursion(network: torch_nn.Sequential, x: Tensor, labels: Tensor) -> list[Tensor]:
    """The same, from the last layer to the first."""
    slopes: list[Tensor] = []
    for module in network:
        if isinstance(module, tuple(ACTIVATIONS.values())):
            x, slope = value_and_slope(module, x)
            slopes.append(slope)
        else:
            x = module(x)
    one_hot = torch_nn.functional.one_hot(labels, x.shape[1])
    delta = (x.softmax(1) - one_hot) / len(x)  # of the logits
    linear = [module for module in network if isinstance(module, torch_nn.Linear)]
    deltas = []
    for layer, slope in zip(reversed(linear), reversed(slopes), strict=False):
        delta = (delta @ layer.weight) * slope
        deltas.append(delta)
    return deltas[::-1]


def learn(network: torch_nn.Module, images: Images, steps: int, bar: tqdm[Any]) -> float:
    """The mean loss of the last tenth of the steps."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for x, labels in batches(images, 128, steps):
        optimizer.zero_grad()
        loss = loss_of(network, x, labels)
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
        bar.update()
    return statistics.mean(losses[-max(1, steps // 10) :])


def main() -> None:
    parser = figure_options(
        "vanishing_gradients", "The gradient's norm by layer and activation", seeds=5
    )
    parser.add_argument("--layers", type=positive, default=20, help="with an activation behind")
    parser.add_argument("--steps", type=positive, default=300, help="of learning")
    options = parser.parse_args()
    with explained(parser):
        images = load_images(options.data)
    inputs = images.train[0].numel()
    norms: dict[str, list[list[float]]] = {name: [] for name in ACTIVATIONS}
    recursions: dict[str, list[list[float]]] = {name: [] for name in ACTIVATIONS}
    losses: dict[str, list[float]] = {name: [] for name in ACTIVATIONS}
    furthest = 0.0
    with tqdm(total=len(ACTIVATIONS) * options.seeds * options.steps, unit="step") as bar:
        for seed in range(options.seeds):
            for name, make in ACTIVATIONS.items():
                torch.manual_seed(seed)
                widths = [inputs, *[WIDTH] * options.layers, images.classes]
                network = dense(make, widths)
                chosen = torch.randperm(len(images.train))[:256]
                batch = images.train[chosen], images.train_labels[chosen]
                deltas, recursion = measured(network, *batch), by_recursion(network, *batch)
                for one, other in zip(deltas, recursion, strict=True):
                    difference = (one - other).norm() / one.norm().clamp_min(1e-30)
                    furthest = max(furthest, difference.item())
                norms[name].append([delta.norm().item() for delta in deltas])
                recursions[name].append([delta.norm().item() for delta in recursion])
                losses[name].append(learn(network, images, options.steps, bar))
    print(f"\nRecursion and autograd differ by {furthest:.1e} at most, relative to the norm.")
    print(f"{'':<10}{'first / last':>14}{'loss after learning':>24}")
    for name in ACTIVATIONS:
        ratios = [of_seed[0] / of_seed[-1] for of_seed in norms[name]]
        spread = statistics.stdev(losses[name]) if options.seeds > 1 else 0.0
        print(
            f"{name:<10}{statistics.geometric_mean(ratios):>14.1e}"
            f"{statistics.mean(losses[name]):>17.3f} ± {spread:.3f}"
        )
    draw(norms, recursions, options.plot)
    numbers = {
        "norms": norms,
        "by_recursion": recursions,
        "losses": losses,
        "recursion_differs_by": furthest,
    }
    save_numbers({"data": images.name, "layers": options.layers} | numbers, options.json)


def draw(
    norms: dict[str, list[list[float]]], recursions: dict[str, list[list[float]]], path: Path
) -> None:
    figure, axes = new_figure(figsize=(7, 4.5))
    for name, of_seeds in norms.items():
        rows = torch.tensor(of_seeds)
        layers = range(1, rows.shape[1] + 1)
        (line,) = axes.plot(layers, rows.log().mean(0).exp(), label=name, marker=".")
        axes.fill_between(layers, rows.amin(0), rows.amax(0), alpha=0.2, color=line.get_color())
        recursion = torch.tensor(recursions[name]).log().mean(0).exp()
        label = "the recursion" if name == "sigmoid" else None
        axes.plot(layers, recursion, "x", color="black", markersize=4, label=label)
    axes.set(
        yscale="log",
        xlabel="layer, from the input",
        ylabel="norm of δ",
        title="The gradient before learning; spread over seeds",
    )
    axes.legend()
    save_figure(figure, path)


if __name__ == "__main__":
    main()

"""How much sooner a convolutional network with ReLU learns than the same with tanh.

After Krizhevsky, Sutskever and Hinton 2012, figure 1: a four-layer network reached 25 % training
error on CIFAR-10 six times as fast with ReLU as with tanh, each with the learning rate that suits
it best and without regularisation. Here on Fashion-MNIST, or on a directory with CIFAR-10.

    python examples/relu_against_tanh.py
    python examples/relu_against_tanh.py --data ~/cifar-10-batches-py --most-epochs 20
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn as torch_nn
from tqdm import tqdm

from activations_ext import nn
from common import explained, figure_options, new_figure, positive, save_figure, save_numbers
from image_data import Images, load_images
from networks import accuracy, batches

ACTIVATIONS = {"ReLU": nn.ReLU, "tanh": nn.Tanh}
PAPERS_RATIO = 6.0
JUDGED_ON = 2000  # training images


def network_of(make: type[torch_nn.Module], images: Images) -> torch_nn.Module:
    """Four layers, three of them convolutions; torch's initial weights for both."""
    channels, height, width = images.train.shape[1:]
    return torch_nn.Sequential(
        *(torch_nn.Conv2d(channels, 16, 5, padding=2), make(), torch_nn.MaxPool2d(2)),
        *(torch_nn.Conv2d(16, 32, 5, padding=2), make(), torch_nn.MaxPool2d(2)),
        *(torch_nn.Conv2d(32, 32, 3, padding=1), make(), torch_nn.Flatten()),
        torch_nn.Linear(32 * (height // 4) * (width // 4), images.classes),
    )


@dataclass
class Run:
    """The training error by epochs, and when it first was as low as asked for (None: never)."""

    epochs: list[float]
    errors: list[float]
    reached: float | None


def learn(
    make: type[torch_nn.Module],
    rate: float,
    seed: int,
    images: Images,
    options: argparse.Namespace,
    bar: tqdm[Any],
) -> Run:
    torch.manual_seed(seed)
    network = network_of(make, images)
    judged = torch.randperm(len(images.train))[:JUDGED_ON]
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    steps_per_epoch = len(images.train) / options.batch_size
    run = Run([], [], None)
    steps = int(options.most_epochs * steps_per_epoch)
    for step, (x, labels) in enumerate(batches(images, options.batch_size, steps)):
        if step % options.judge_every == 0:
            error = 1 - accuracy(network, images.train[judged], images.train_labels[judged])
            run.epochs.append(step / steps_per_epoch)
            run.errors.append(error)
            if error <= options.error:
                run.reached = run.epochs[-1]
                break
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(network(x), labels))
        optimizer.step()
        bar.update()
    return run


def best_rate(
    name: str, images: Images, options: argparse.Namespace, bar: tqdm[Any]
) -> tuple[float, dict[float, float | None]]:
    """The rate at which the error is reached soonest, and when it is at each."""
    reached = {
        rate: learn(ACTIVATIONS[name], rate, -1, images, options, bar).reached
        for rate in options.rates
    }
    return min(reached, key=lambda rate: reached[rate] or float("inf")), reached


def draw(runs: dict[str, list[Run]], rates: dict[str, float], error: float, path: Path) -> None:
    figure, axes = new_figure(figsize=(7, 4.5))
    for name, style, color in (("ReLU", "-", "C0"), ("tanh", "--", "C1")):
        for i, run in enumerate(runs[name]):
            label = f"{name}, learning rate {rates[name]:g}" if i == 0 else None
            axes.plot(run.epochs, run.errors, style, color=color, label=label, alpha=0.7)
    axes.axhline(error, color="gray", linewidth=0.8)
    axes.set(xlabel="epochs", ylabel="training error", title="Until the error is reached, by seed")
    axes.legend()
    save_figure(figure, path)


def main() -> None:
    parser = figure_options(
        "relu_against_tanh", "ReLU against tanh (Krizhevsky 2012, figure 1)", seeds=5
    )
    parser.add_argument("--error", type=float, default=0.25, help="the training error to reach")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.01, 0.03, 0.1, 0.3], help=" ")
    parser.add_argument("--batch-size", type=positive, default=128, help=" ")
    parser.add_argument("--judge-every", type=positive, default=5, help="so many steps")
    parser.add_argument("--most-epochs", type=float, default=2.0, help=" ")
    options = parser.parse_args()
    with explained(parser):
        images = load_images(options.data)
    rates: dict[str, float] = {}
    sweeps: dict[str, dict[float, float | None]] = {}
    runs: dict[str, list[Run]] = {}
    with tqdm(unit="step") as bar:
        for name, make in ACTIVATIONS.items():
            rates[name], sweeps[name] = best_rate(name, images, options, bar)
            runs[name] = [
                learn(make, rates[name], seed, images, options, bar)
                for seed in range(options.seeds)
            ]
    reached = {name: [run.reached for run in of_seeds] for name, of_seeds in runs.items()}
    print(f"\n{images.name}: epochs to {options.error:.0%} training error, {options.seeds} seeds")
    for name, epochs in reached.items():
        known = [epoch for epoch in epochs if epoch is not None]
        text = f"{statistics.mean(known):.3f}" if known else "never"
        spread = f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else ""
        missed = f", {len(epochs) - len(known)} never" if len(known) < len(epochs) else ""
        print(f"  {name:<5} {text}{spread}{missed} (learning rate {rates[name]:g})")
    ratio = ratio_of(reached)
    print(f"tanh takes {ratio} times as many; in the paper, on CIFAR-10, {PAPERS_RATIO:g}.")
    draw(runs, rates, options.error, options.plot)
    numbers = {
        "data": images.name,
        "error": options.error,
        "rates": rates,
        "sweep": {n: {str(r): e for r, e in sweep.items()} for n, sweep in sweeps.items()},
        "epochs": reached,
        "ratio": ratio,
        "papers_ratio": PAPERS_RATIO,
    }
    save_numbers(numbers, options.json)


def ratio_of(reached: dict[str, list[float | None]]) -> float | None:
    """Of the mean numbers of epochs; None where one of the seeds never came there."""
    means = []
    for epochs in reached.values():
        known = [epoch for epoch in epochs if epoch is not None]
        if len(known) < len(epochs):
            return None
        means.append(statistics.mean(known))
    of_relu, of_tanh = means
    return round(of_tanh / of_relu, 2)


if __name__ == "__main__":
    main()

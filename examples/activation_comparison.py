"""One network, without dropout, learns with each of nine activations.

After Zhang and Li 2018 (Effectiveness of scaled exponentially-regularized linear units), who
compare SERLU with ReLU, LeakyReLU, ELU, SELU and Swish. The learning rate is the same for all, or
the best of several for each with more than one in --rates.

    python examples/activation_comparison.py
    python examples/activation_comparison.py --epochs 20 --seeds 10 --data ~/mnist
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from activations_ext import nn
from common import explained, figure_options, new_figure, positive, save_figure, save_numbers
from image_data import Images, load_images
from networks import accuracy, batches, dense

ACTIVATIONS = {
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
    "PReLU": nn.PReLU,
    "ELU": nn.ELU,
    "SELU": nn.SELU,
    "SERLU": nn.SERLU,
    "Swish": nn.SiLU,
    "GELU": nn.GELU,
    "Mish": nn.Mish,
}
BATCH = 128
WIDTHS = (256, 256, 256)


def learn(
    name: str, rate: float, seed: int, images: Images, options: argparse.Namespace, bar: tqdm[Any]
) -> list[float]:
    """The error on the test images after each epoch."""
    torch.manual_seed(seed)
    network = dense(ACTIVATIONS[name], [images.train[0].numel(), *WIDTHS, images.classes])
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    per_epoch = max(1, len(images.train) // BATCH)
    steps = options.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    errors = []
    for step, (x, labels) in enumerate(batches(images, BATCH, steps)):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(network(x), labels))
        optimizer.step()
        schedule.step()
        bar.update()
        if (step + 1) % per_epoch == 0:
            network.eval()
            errors.append(1 - accuracy(network, images.test, images.test_labels))
            network.train()
    return errors


def draw(errors: dict[str, list[list[float]]], title: str, path: Path) -> None:
    figure, (by_epoch, at_end) = new_figure(1, 2, figsize=(11, 4.2))
    for name, of_seeds in errors.items():
        rows = torch.tensor(of_seeds)
        by_epoch.plot(range(1, rows.shape[1] + 1), rows.mean(0), label=name)
    by_epoch.set(xlabel="epoch", ylabel="test error", title=f"{title}: means of seeds")
    by_epoch.legend(fontsize="small")
    last = [[of_seed[-1] for of_seed in of_seeds] for of_seeds in errors.values()]
    at_end.boxplot(last, tick_labels=list(errors), whis=(0, 100))
    at_end.set(title="at the end, all seeds", ylabel="test error")
    at_end.tick_params("x", rotation=45)
    save_figure(figure, path)


def main() -> None:
    parser = figure_options("activation_comparison", "Nine activations, without dropout", seeds=5)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.05], help=" ")
    parser.add_argument("--epochs", type=positive, default=6, help=" ")
    options = parser.parse_args()
    with explained(parser):
        images = load_images(options.data)
    errors: dict[str, list[list[float]]] = {}
    rates: dict[str, float] = {}
    sweep = len(options.rates) if len(options.rates) > 1 else 0
    runs = len(ACTIVATIONS) * (options.seeds + sweep)
    total = runs * options.epochs * max(1, len(images.train) // BATCH)
    with tqdm(total=total, unit="step") as bar:
        for name in ACTIVATIONS:
            rates[name] = options.rates[0]
            if sweep:  # by a seed that is not among those that count
                ends = {r: learn(name, r, -1, images, options, bar)[-1] for r in options.rates}
                rates[name] = min(ends, key=lambda rate: ends[rate])
            errors[name] = [
                learn(name, rates[name], seed, images, options, bar)
                for seed in range(options.seeds)
            ]
    print(f"\n{images.name}, {options.epochs} epochs: test error, {options.seeds} seeds")
    for name, of_seeds in errors.items():
        last = [of_seed[-1] for of_seed in of_seeds]
        spread = statistics.stdev(last) if len(last) > 1 else 0.0
        print(f"  {name:<10} {statistics.mean(last):.2%} ± {spread:.2%} (rate {rates[name]:g})")
    draw(errors, images.name, options.plot)
    numbers = {"data": images.name, "epochs": options.epochs, "rates": rates, "errors": errors}
    save_numbers(numbers, options.json)


if __name__ == "__main__":
    main()

"""The share of units that die at each learning rate, by activation, as the monitor sees it.

A unit is dead where its slope is 0 for every example of several batches: nothing that comes in
reaches its weights any more. ReLU's units die of steps that are too large; LeakyReLU's and PReLU's
cannot, ELU's and SERLU's only where their slope falls below 10⁻⁶.

    python examples/dying_relu.py
    python examples/dying_relu.py --rates 0.1 1 2 --data ~/mnist
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from activations_ext import nn
from activations_ext.monitor import ActivationMonitor
from common import explained, figure_options, new_figure, positive, save_figure, save_numbers
from image_data import Images, load_images
from networks import accuracy, batches, dense

ACTIVATIONS = {
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
    "PReLU": nn.PReLU,
    "ELU": nn.ELU,
    "SERLU": nn.SERLU,
}
WIDTHS = (256, 256, 256, 256)


@dataclass
class Run:
    """One training: the share of dead units of all layers by step, and what was learned."""

    steps: list[int]
    dead: list[float]
    accuracy: float


def learn(name: str, rate: float, seed: int, images: Images, steps: int, bar: tqdm[Any]) -> Run:
    torch.manual_seed(seed)
    inputs = images.train[0].numel()
    network = dense(ACTIVATIONS[name], [inputs, *WIDTHS, images.classes])
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    with ActivationMonitor(network, every=5, window=4) as monitor:
        for x, labels in batches(images, 128, steps):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(network(x), labels))
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)  # or some would end in NaN
            optimizer.step()
            monitor.update()
            bar.update()
        history = monitor.history
    network.eval()
    correct = accuracy(network, images.test, images.test_labels)
    # The layers are equally wide.
    dead = [
        torch.stack([shares[0] for shares in moment.shares.values()]).mean().item()
        for moment in history
    ]
    return Run([moment.step for moment in history], dead, correct)


def draw(runs: dict[str, dict[float, list[Run]]], path: Path) -> None:
    figure, (by_step, by_rate) = new_figure(1, 2, figsize=(11, 4.2))
    for rate, of_seeds in runs["ReLU"].items():
        rows = torch.tensor([run.dead for run in of_seeds])
        (line,) = by_step.plot(of_seeds[0].steps, rows.mean(0), label=f"learning rate {rate:g}")
        low, high = rows.amin(0), rows.amax(0)
        by_step.fill_between(of_seeds[0].steps, low, high, alpha=0.2, color=line.get_color())
    by_step.set(title="ReLU", xlabel="step", ylabel="share of dead units", ylim=(-0.02, 1.02))
    by_step.legend()
    for name, of_rates in runs.items():
        last = {rate: [run.dead[-1] for run in seeds] for rate, seeds in of_rates.items()}
        means = [statistics.mean(shares) for shares in last.values()]
        errors = [
            [mean - min(shares) for mean, shares in zip(means, last.values(), strict=True)],
            [max(shares) - mean for mean, shares in zip(means, last.values(), strict=True)],
        ]
        by_rate.errorbar(list(last), means, errors, label=name, marker="o", capsize=3)
    by_rate.set(
        title="at the end; spread over seeds",
        xlabel="learning rate",
        xscale="log",
        ylim=(-0.02, 1.02),
    )
    by_rate.legend()
    save_figure(figure, path)


def main() -> None:
    parser = figure_options(
        "dying_relu", "The share of dead units by step and learning rate", seeds=3
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.3, 0.6, 1.0], help=" ")
    parser.add_argument("--steps", type=positive, default=300, help=" ")
    options = parser.parse_args()
    with explained(parser):
        images = load_images(options.data)
    runs: dict[str, dict[float, list[Run]]] = {name: {} for name in ACTIVATIONS}
    total = len(ACTIVATIONS) * len(options.rates) * options.seeds * options.steps
    with tqdm(total=total, unit="step") as bar:
        for name, of_rates in runs.items():
            for rate in options.rates:
                of_rates[rate] = [
                    learn(name, rate, seed, images, options.steps, bar)
                    for seed in range(options.seeds)
                ]
    print(f"\nDead units at the end and test accuracy, means of {options.seeds} seeds:")
    print(f"{'learning rate':<14}" + "".join(f"{name:>18}" for name in runs))
    for rate in options.rates:
        cells = (
            f"{statistics.mean(run.dead[-1] for run in of_rates[rate]):>10.1%}"
            f"{statistics.mean(run.accuracy for run in of_rates[rate]):>8.1%}"
            for of_rates in runs.values()
        )
        print(f"{rate:<14g}" + "".join(cells))
    draw(runs, options.plot)
    numbers = {
        name: {str(rate): [vars(run) for run in seeds] for rate, seeds in of_rates.items()}
        for name, of_rates in runs.items()
    }
    save_numbers({"data": images.name, "runs": numbers}, options.json)


if __name__ == "__main__":
    main()

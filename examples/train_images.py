"""Train one small convolutional network twice from the same seed: once with the activations and the
loss of activations_ext and once with torch's.

The two learn side by side, each batch going to both in turn, so that whatever else the machine is
doing slows them equally. At the end stand the accuracy, the agreement of the losses and the time.

    python examples/train_images.py
    python examples/train_images.py --activation gelu --data ~/mnist --plot losses.png
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from tqdm import tqdm

import activations_ext.nn
from common import explained, new_figure, positive, save_figure
from image_data import Images, load_images
from networks import accuracy, batches, convolutional

# The name of the function and of the module, in torch.nn as in activations_ext.nn.
ACTIVATIONS = {
    module.lower(): module
    for module in (
        *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "SELU", "CELU", "Hardtanh", "Sigmoid"),
        *("Tanh", "LogSigmoid", "Hardsigmoid", "Softsign", "Tanhshrink", "Softplus", "GELU"),
        *("SiLU", "Mish", "Hardswish", "Softshrink", "Hardshrink"),
    )
}
WARM_UP = 3  # steps that are not timed: libraries choose their kernels during the first
WINDOW = 50  # steps over which losses are compared


@dataclass
class Run:
    """One of the two trainings."""

    name: str
    network: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    losses: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def step(self, images: Tensor, labels: Tensor) -> None:
        start = time.perf_counter()
        loss = self.loss(self.network(images), labels)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.schedule.step()
        self.times.append(time.perf_counter() - start)
        self.losses.append(loss.item())

    @property
    def seconds_per_step(self) -> float:
        """The median, which other programs' moments on the processor do not move."""
        return statistics.median(self.times[WARM_UP:] or self.times)


def make_run(library: ModuleType, images: Images, options: argparse.Namespace) -> Run:
    torch.manual_seed(options.seed)
    network = convolutional(getattr(library, ACTIVATIONS[options.activation]), images)
    rate = options.learning_rate
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=options.steps + 1)
    return Run(library.__name__, network, library.CrossEntropyLoss(), optimizer, schedule)


def train(runs: list[Run], images: Images, options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    bar = tqdm(batches(images, options.batch_size, options.steps), total=options.steps, unit="step")
    for step, (some, labels) in enumerate(bar):
        # Who comes second finds the batch in the cache: take turns.
        for run in runs if step % 2 else reversed(runs):
            run.step(some, labels)
        bar.set_postfix({run.name: f"{run.losses[-1]:.3f}" for run in runs}, refresh=False)


def largest_difference(first: list[float], second: list[float]) -> float:
    return max(abs(a - b) / max(abs(b), 1e-12) for a, b in zip(first, second, strict=True))


def report(ours: Run, torchs: Run, images: Images) -> None:
    print(f"\n{'':<18} {'accuracy':>9} {'last loss':>10} {'training':>9} {'a step':>10}")
    for run in (ours, torchs):
        correct = accuracy(run.network, images.test, images.test_labels)
        print(
            f"{run.name:<18} {correct:>9.2%} {statistics.mean(run.losses[-WINDOW:]):>10.4f} "
            f"{sum(run.times):>7.1f} s {run.seconds_per_step * 1e3:>7.1f} ms"
        )
    share = ours.seconds_per_step / torchs.seconds_per_step
    window = min(WINDOW, len(ours.losses))
    early = largest_difference(ours.losses[:window], torchs.losses[:window])
    late = largest_difference(ours.losses[-window:], torchs.losses[-window:])
    print(
        f"\nA step takes {share:.2f} of torch's time, convolutions and optimizer included.\n"
        f"Largest relative difference of the two losses: {early:.1e} in the first {window} steps, "
        f"{late:.1e} in the last {window}.\n(What makes them differ is rounding.)"
    )


def plot(ours: Run, torchs: Run, title: str, path: Path) -> None:
    figure, axes = new_figure(figsize=(7, 4))
    axes.semilogy(torchs.losses, label=torchs.name, linewidth=2.5, alpha=0.5)
    axes.semilogy(ours.losses, label=ours.name, linewidth=0.8, color="black")
    axes.set(title=title, xlabel="step", ylabel="training loss")
    axes.legend()
    save_figure(figure, path)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train a small network with the activations and the loss of activations_ext, "
        "and with torch's"
    )
    parser.add_argument(
        "--activation",
        choices=ACTIVATIONS,
        default="mish",
        metavar="NAME",
        help=f"one of {', '.join(ACTIVATIONS)}; default: %(default)s",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="images in MNIST's or CIFAR-10's (Python) file format; default: Debian's "
        "dataset-fashion-mnist where installed, else scikit-learn's digits",
    )
    parser.add_argument("--steps", type=positive, default=469, help="default: %(default)s")
    parser.add_argument("--batch-size", type=positive, default=128, help="default: %(default)s")
    parser.add_argument("--learning-rate", type=float, default=0.1, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw both loss curves")
    options = parser.parse_args()
    with explained(parser):
        options.images = load_images(options.data)
    return options


def main() -> None:
    options = parse_options()
    images: Images = options.images
    channels, height, width = images.train.shape[1:]
    print(
        f"{images.name}: {len(images.train)} images to learn from, {len(images.test)} to test on, "
        f"{channels}×{height}×{width}, {images.classes} classes.\n"
        f"Activation: {options.activation}. Threads: {torch.get_num_threads()}."
    )
    ours = make_run(activations_ext.nn, images, options)
    torchs = make_run(torch.nn, images, options)
    train([ours, torchs], images, options)
    report(ours, torchs, images)
    if options.plot:
        plot(ours, torchs, f"{options.activation} on {images.name}", options.plot)


if __name__ == "__main__":
    main()

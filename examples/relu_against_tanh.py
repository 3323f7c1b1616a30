"""How much sooner a convolutional network with ReLU learns than the same with tanh.

After Krizhevsky, Sutskever and Hinton 2012, figure 1: a four-layer network reached 25 % training
error on CIFAR-10 six times as fast with ReLU as with tanh, each with the learning rate that suits
it best and without regularisation. Here on some images of Fashion-MNIST, or of a directory with
CIFAR-10: the ratio for several training errors and depths, with the share of tanh's slopes that are
flat.

    python examples/relu_against_tanh.py
    python examples/relu_against_tanh.py --data ~/cifar-10-batches-py --most-epochs 60
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn as torch_nn
from tqdm import tqdm

from activations_ext import nn
from activations_ext.monitor import ActivationMonitor
from common import explained, figure_options, new_figure, positive, save_figure, save_numbers
from image_data import Images, load_images
from networks import accuracy, batches, with_normal_weights

ACTIVATIONS = {"ReLU": nn.ReLU, "tanh": nn.Tanh}
PAPERS_RATIO = 6.0
JUDGED_ON = 1000  # training images


def network_of(make: type[torch_nn.Module], depth: int, images: Images) -> torch_nn.Module:
    """``depth`` layers, all but the last of them convolutions."""
    channels, height, width = images.train.shape[1:]
    convolution = torch_nn.Conv2d
    layers = [
        *(convolution(channels, 8, 5, padding=2), make(), torch_nn.MaxPool2d(2)),
        *(convolution(8, 16, 5, padding=2), make(), torch_nn.MaxPool2d(2)),
        *(part for _ in range(depth - 3) for part in (convolution(16, 16, 3, padding=1), make())),
        *(torch_nn.Flatten(), torch_nn.Linear(16 * (height // 4) * (width // 4), images.classes)),
    ]
    for layer in layers:
        if isinstance(layer, (torch_nn.Conv2d, torch_nn.Linear)):
            with_normal_weights(layer, make)
    return torch_nn.Sequential(*layers)


@dataclass
class Run:
    """The training error by epochs, and what the monitor saw."""

    epochs: list[float]
    errors: list[float]
    saturated: list[tuple[float, float]]
    """Epochs, and the share of flat slopes, the mean over the layers."""

    def reached(self, target: float) -> float | None:
        """When the error first was as low as that; None: never."""
        pairs = zip(self.epochs, self.errors, strict=True)
        return next((epoch for epoch, error in pairs if error <= target), None)


def learn(
    name: str,
    depth: int,
    rate: float,
    seed: int,
    images: Images,
    options: argparse.Namespace,
    bar: tqdm[Any],
) -> Run:
    torch.manual_seed(seed)
    network = network_of(ACTIVATIONS[name], depth, images)
    judged = torch.randperm(len(images.train))[:JUDGED_ON]
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    steps_per_epoch = len(images.train) / options.batch_size
    run = Run([], [], [])
    steps = int(options.most_epochs * steps_per_epoch)
    with ActivationMonitor(network, every=20, window=1) as monitor:
        for step, (x, labels) in enumerate(batches(images, options.batch_size, steps)):
            if step % options.judge_every == 0:
                network.eval()
                error = 1 - accuracy(network, images.train[judged], images.train_labels[judged])
                network.train()
                run.epochs.append(step / steps_per_epoch)
                run.errors.append(error)
                if error <= min(options.errors):
                    break
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(network(x), labels))
            optimizer.step()
            monitor.update()
            bar.update()
        for moment in monitor.history:
            shares = [share.tolist()[1] for share in moment.shares.values()]
            run.saturated.append((moment.step / steps_per_epoch, statistics.mean(shares)))
    return run


def epochs_in_all(run: Run, options: argparse.Namespace) -> float:
    """To all the errors; where one was not reached, more than there are epochs."""
    reached = [run.reached(target) for target in options.errors]
    return sum(2 * options.most_epochs if epoch is None else epoch for epoch in reached)


def share_of_flat_slopes(run: Run) -> float:
    """Over all that the monitor saw of the run."""
    return round(statistics.mean(share for _, share in run.saturated), 4)


def ratio(runs: dict[str, list[Run]], target: float) -> float | None:
    """Of the mean numbers of epochs, tanh to ReLU; None where a seed never came there."""
    means = []
    for name in ("tanh", "ReLU"):
        epochs = [run.reached(target) for run in runs[name]]
        known = [epoch for epoch in epochs if epoch is not None]
        if len(known) < len(epochs):
            return None
        means.append(statistics.mean(known))
    of_tanh, of_relu = means
    return round(of_tanh / of_relu, 2) if of_relu else None


def at_depth(
    depth: int, images: Images, options: argparse.Namespace, bar: tqdm[Any]
) -> tuple[dict[str, float], dict[str, list[Run]]]:
    """The best rate of each activation, by a seed of its own, and the runs of the other seeds."""
    rates, runs = {}, {}
    for name in ACTIVATIONS:
        sweep = {
            rate: epochs_in_all(learn(name, depth, rate, -1, images, options, bar), options)
            for rate in options.rates
        }
        rates[name] = min(sweep, key=lambda rate: sweep[rate])
        runs[name] = [
            learn(name, depth, rates[name], seed, images, options, bar)
            for seed in range(options.seeds)
        ]
    return rates, runs


def draw(by_depth: dict[int, dict[str, list[Run]]], options: argparse.Namespace) -> None:
    figure, (ratios, flat) = new_figure(1, 2, figsize=(11, 4.5))
    for i, (depth, runs) in enumerate(by_depth.items()):
        known = {t: r for t in options.errors if (r := ratio(runs, t)) is not None}
        ratios.plot(
            [100 * target for target in known], list(known.values()), "o-", label=f"{depth} layers"
        )
        for name, style in (("tanh", "-"), ("ReLU", "--")):
            epochs, shares = zip(*runs[name][0].saturated, strict=True)
            flat.plot(epochs, shares, style, color=f"C{i}", label=f"{name}, {depth} layers")
    ratios.axhline(1, color="gray", linewidth=0.8)
    ratios.set(xscale="log", xlabel="training error, %", ylabel="epochs of tanh / epochs of ReLU")
    ratios.set_xticks([100 * t for t in options.errors], [f"{100 * t:g}" for t in options.errors])
    ratios.minorticks_off()
    ratios.invert_xaxis()
    flat.set(xlabel="epochs", ylabel="share of flat slopes", title="The first seed", ylim=(0, 1))
    for axes in (ratios, flat):
        axes.legend(fontsize="small")
    save_figure(figure, options.plot)


def main() -> None:
    parser = figure_options(
        "relu_against_tanh", "ReLU against tanh (Krizhevsky 2012, figure 1)", seeds=3
    )
    parser.add_argument(
        "--errors", type=float, nargs="+", default=[0.25, 0.15, 0.1, 0.05, 0.02, 0.01], help=" "
    )
    parser.add_argument("--depths", type=positive, nargs="+", default=[4, 8, 16], help=" ")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.03, 0.1, 0.3], help=" ")
    parser.add_argument("--images", type=positive, default=1500, help="to train on")
    parser.add_argument("--batch-size", type=positive, default=64, help=" ")
    parser.add_argument("--judge-every", type=positive, default=10, help="so many steps")
    parser.add_argument("--most-epochs", type=float, default=40.0, help=" ")
    options = parser.parse_args()
    with explained(parser):
        images = load_images(options.data)
    chosen = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(0))
    chosen = chosen[: options.images]
    images = replace(images, train=images.train[chosen], train_labels=images.train_labels[chosen])
    by_depth: dict[int, dict[str, list[Run]]] = {}
    rates: dict[int, dict[str, float]] = {}
    with tqdm(unit="step") as bar:
        for depth in options.depths:
            rates[depth], by_depth[depth] = at_depth(depth, images, options, bar)
    print(
        f"\n{len(images.train)} images of {images.name}, {options.seeds} seeds: epochs of tanh to"
    )
    print(f"epochs of ReLU (in the paper {PAPERS_RATIO:g}, to 25 % on CIFAR-10, 4 layers)")
    print(f"{'layers':<8}" + "".join(f"{target:>8.0%}" for target in options.errors))
    for depth, runs in by_depth.items():
        ratios = [ratio(runs, target) for target in options.errors]
        cells = [f"{'never' if r is None else format(r, '.2f'):>8}" for r in ratios]
        flat = {n: statistics.mean(map(share_of_flat_slopes, of)) for n, of in runs.items()}
        shares = ", ".join(f"{share:.0%} of {name}'s slopes flat" for name, share in flat.items())
        print(f"{depth:<8}{''.join(cells)}   rates {rates[depth]}, {shares}")
    draw(by_depth, options)
    save_numbers(
        {
            "data": images.name,
            "images": len(images.train),
            "errors": options.errors,
            "rates": rates,
            "ratios": {d: [ratio(runs, t) for t in options.errors] for d, runs in by_depth.items()},
            "epochs": {
                depth: {
                    name: [[run.reached(target) for target in options.errors] for run in of_seeds]
                    for name, of_seeds in runs.items()
                }
                for depth, runs in by_depth.items()
            },
            "saturated": {
                depth: {name: [share_of_flat_slopes(run) for run in runs[name]] for name in runs}
                for depth, runs in by_depth.items()
            },
            "papers_ratio": PAPERS_RATIO,
        },
        options.json,
    )


if __name__ == "__main__":
    main()

"""Times training with and without an ActivationMonitor at its default sampling, and writes
monitor-<instruction set>.md.

python -m benchmarks.monitor [--seconds 20] [--out DIR]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from activations_ext import nn
from activations_ext.monitor import ActivationMonitor
from benchmarks import tables
from benchmarks.timing import Contender, interleaved


def convolutional() -> tuple[torch.nn.Module, Tensor]:
    network = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), torch.nn.Conv2d(32, 64, 2, 2)),
        *(nn.ReLU(), torch.nn.Conv2d(64, 64, 2, 2), nn.ReLU(), torch.nn.Flatten()),
        *(torch.nn.Linear(64 * 49, 128), nn.ReLU(), torch.nn.Linear(128, 10)),
    )
    return network, torch.randn(128, 1, 28, 28)


def dense() -> tuple[torch.nn.Module, Tensor]:
    widths = [256] * 8
    layers = [(torch.nn.Linear(a, b), nn.Tanh()) for a, b in pairwise(widths)]
    parts = (part for layer in layers for part in layer)
    return torch.nn.Sequential(*parts, torch.nn.Linear(256, 10)), torch.randn(128, 256)


EVERY: int = inspect.signature(ActivationMonitor).parameters["every"].default
STEPS = 20
NETWORKS = {
    "four layers of convolutions and units, ReLU": (convolutional, False),
    "eight layers of 256 units, tanh": (dense, False),
    "the same, compiled": (dense, True),
}


def training(
    make: Callable[[], tuple[torch.nn.Module, Tensor]], compiled: bool, every: int | None
) -> Callable[[], None]:
    """``STEPS`` steps with a monitor that samples one step in ``every``, or with none."""
    network, x = make()
    target = torch.randint(10, x.shape[:1])
    monitor = None if every is None else ActivationMonitor(network, every=every)
    run = torch.compile(network) if compiled else network
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)

    def steps() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(run(x), target))
            optimizer.step()
            if monitor is not None:
                monitor.update()

    return steps


def table(seconds: float) -> str:
    lines = [
        "# What an ActivationMonitor costs\n",
        f"{tables.machine()}. Milliseconds a training step, medians, taken in turn. The mean: at "
        f"the\ndefault sampling, one step in {EVERY}; the steps between have no hooks.\n",
        "| | without | looked at | | in the mean |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, (make, compiled) in NETWORKS.items():
        torch.compiler.reset()
        kinds = {"without": None, "looked at": 1}
        contenders = {k: Contender(training(make, compiled, every)) for k, every in kinds.items()}
        times = interleaved(contenders, seconds)
        without, looked_at = (1e3 * times[kind] / STEPS for kind in kinds)
        more = looked_at / without - 1
        lines.append(
            f"| {name} | {without:.3f} | {looked_at:.3f} | {1 + more:.2f} × | {more / EVERY:.1%} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.write("monitor", table, seconds=20.0, description=__doc__ or "")

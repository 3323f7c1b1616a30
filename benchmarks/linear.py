"""Times linear_cross_entropy, forward and backward, against the same loss of all the logits and
torch's in chunks, and writes linear-<instruction set>.md.

python -m benchmarks.linear [--seconds 1] [--out DIR]
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import perf_counter

import torch
import torch.nn.functional as reference
from torch import Tensor

from activations_ext import functional as F
from benchmarks import tables
from benchmarks.memory import peak_of

ROWS, FEATURES, CLASSES = 4096, 1024, 128_256
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def whole(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    result: Tensor = F.cross_entropy(reference.linear(hidden, weight), target)
    return result


def torchs(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    options = torch.nn.LinearCrossEntropyOptions()
    return reference.linear_cross_entropy(hidden, weight, target, options=options)


LOSSES: dict[str, Loss] = {
    "linear_cross_entropy": F.linear_cross_entropy,
    "linear, then our cross_entropy": whole,
    "torch's linear_cross_entropy in chunks": torchs,
}


def table(seconds: float) -> str:
    hidden = torch.randn(ROWS, FEATURES, requires_grad=True)
    weight = (torch.randn(CLASSES, FEATURES) / 32).requires_grad_()
    target = torch.randint(CLASSES, (ROWS,))

    def step(loss: Loss) -> Callable[[], None]:
        def run() -> None:
            hidden.grad = weight.grad = None
            loss(hidden, weight, target).backward()

        return run

    times: dict[str, list[float]] = {name: [] for name in LOSSES}
    memory: dict[str, list[int]] = {name: [] for name in LOSSES}
    end = perf_counter() + seconds
    while perf_counter() < end or len(times[next(iter(LOSSES))]) < 3:
        for name, loss in LOSSES.items():  # in turn, so that all meet the machine's moods
            hidden.grad = weight.grad = None
            start = perf_counter()
            memory[name].append(peak_of(step(loss)))
            times[name].append(perf_counter() - start)
    gradients = (hidden.numel() + weight.numel()) * 4
    ours = statistics.median(times["linear_cross_entropy"])
    lines = [
        f"# Linear cross-entropy, {ROWS} × {FEATURES} into {CLASSES} classes, float32\n",
        f"{tables.machine()}. Forward and backward, medians of {len(times[name])}, taken in turn.",
        f"The logits alone take {ROWS * CLASSES * 4 / 1e6:.0f} MB; memory is the largest increase",
        f"of the process', less the two gradients of {gradients / 1e6:.0f} MB.\n",
        "| | seconds | / ours | MB |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in LOSSES:
        duration = statistics.median(times[name])
        more = (statistics.median(memory[name]) - gradients) / 1e6
        lines.append(f"| {name} | {duration:.1f} | {duration / ours:.2f} | {more:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.write("linear", table, seconds=1.0, description=__doc__ or "")

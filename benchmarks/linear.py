"""Times linear_cross_entropy, linear_kl_div and linear_jsd, forward and backward, against the same
losses of all the logits, torch's in chunks and torch.compile. Writes linear-<instruction set>.md.

python -m benchmarks.linear [--seconds 1] [--out DIR]
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from functools import partial
from time import perf_counter

import torch
import torch.nn.functional as reference
from torch import Tensor

from activations_ext import functional as F
from benchmarks import tables
from benchmarks.memory import peak_of

ROWS, FEATURES, CLASSES = 4096, 1024, 128_256
STUDENT = (2048, 512, 32_000)
Loss = Callable[..., Tensor]


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


def kl_of_logits(hidden: Tensor, weight: Tensor, teacher: Tensor, of_teacher: Tensor) -> Tensor:
    p = reference.linear(hidden, weight).log_softmax(1)
    q = reference.linear(teacher, of_teacher).log_softmax(1)
    return reference.kl_div(p, q, reduction="batchmean", log_target=True)


def js_of_logits(hidden: Tensor, weight: Tensor, teacher: Tensor, of_teacher: Tensor) -> Tensor:
    p = reference.linear(hidden, weight).log_softmax(1)
    q = reference.linear(teacher, of_teacher).log_softmax(1)
    log_m = torch.logaddexp(p, q) - math.log(2)
    of = partial(reference.kl_div, log_m, reduction="batchmean", log_target=True)
    return 0.5 * (of(p) + of(q))


DIVERGENCES: dict[str, Loss] = {
    "linear_kl_div": F.linear_kl_div,
    "linear, then our kl_divergence": lambda h, w, t, v: F.kl_divergence(
        reference.linear(h, w), reference.linear(t, v)
    ),
    "torch's operators": kl_of_logits,
    "the same, torch.compile": torch.compile(kl_of_logits),
    "linear_jsd": F.linear_jsd,
    "torch's operators, Jensen–Shannon": js_of_logits,
    "the same, torch.compile, Jensen–Shannon": torch.compile(js_of_logits),
}


def compared(
    losses: dict[str, Loss], leaves: list[Tensor], others: list[Tensor], seconds: float
) -> list[str]:
    """Lines of a table: forward and backward, and the largest increase of memory without the
    gradients of ``leaves``."""

    def step(loss: Loss) -> Callable[[], None]:
        def run() -> None:
            for leaf in leaves:
                leaf.grad = None
            loss(*leaves, *others).backward()

        return run

    times: dict[str, list[float]] = {name: [] for name in losses}
    memory: dict[str, list[int]] = {name: [] for name in losses}
    end = perf_counter() + seconds
    while perf_counter() < end or len(times[next(iter(losses))]) < 3:
        for name, loss in losses.items():  # in turn, so that all meet the machine's moods
            for leaf in leaves:
                leaf.grad = None
            start = perf_counter()
            memory[name].append(peak_of(step(loss)))
            times[name].append(perf_counter() - start)
    gradients = sum(leaf.nbytes for leaf in leaves)
    ours = statistics.median(times[next(iter(losses))])
    lines = ["| | seconds | / the first | MB |", "| --- | ---: | ---: | ---: |"]
    for name in losses:
        duration = statistics.median(times[name])
        more = (statistics.median(memory[name]) - gradients) / 1e6
        lines.append(f"| {name} | {duration:.2f} | {duration / ours:.2f} | {more:.0f} |")
    return lines


def layer(rows: int, features: int, classes: int) -> list[Tensor]:
    return [torch.randn(rows, features), torch.randn(classes, features) / features**0.5]


def table(seconds: float) -> str:
    pair = [leaf.requires_grad_() for leaf in layer(ROWS, FEATURES, CLASSES)]
    target = torch.randint(CLASSES, (ROWS,))
    rows, features, classes = STUDENT
    student = [leaf.requires_grad_() for leaf in layer(*STUDENT)]
    teacher = layer(rows, 2 * features, classes)
    return "\n".join(
        [
            "# Losses of a linear layer, float32\n",
            f"{tables.machine()}. Forward and backward, medians, taken in turn. Memory is the",
            "largest increase of the process', less the gradients.\n",
            f"## Cross-entropy, {ROWS} × {FEATURES} into {CLASSES} classes\n",
            f"The logits alone take {ROWS * CLASSES * 4 / 1e6:.0f} MB.\n",
            *compared(LOSSES, pair, [target], seconds),
            f"\n## Distillation, {rows} × {features} into {classes} classes\n",
            f"The teacher has {2 * features} features. The logits of either take",
            f"{rows * classes * 4 / 1e6:.0f} MB.\n",
            *compared(DIVERGENCES, student, teacher, seconds),
            "",
        ]
    )


if __name__ == "__main__":
    tables.write("linear", table, seconds=1.0, description=__doc__ or "")

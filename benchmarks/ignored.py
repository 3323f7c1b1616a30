"""Times losses, forward and backward, by the share of rows that are ignored, as in fine-tuning, and
writes ignored-<instruction set>.md.

python -m benchmarks.ignored [--seconds 4] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as reference
from torch import Tensor

from activations_ext import functional as F
from benchmarks import tables
from benchmarks.timing import Contender, interleaved

ROWS, FEATURES, CLASSES = 2048, 512, 32_000
SHARES = (0.0, 0.5, 0.9)
Loss = Callable[[Tensor], Tensor]


def losses(dtype: torch.dtype) -> dict[str, tuple[Loss, tuple[Tensor, ...]]]:
    """Functions of the targets, and what they are differentiated by."""
    logits = torch.randn(ROWS, CLASSES, dtype=dtype, requires_grad=True)
    hidden = torch.randn(ROWS, FEATURES, dtype=dtype, requires_grad=True)
    weight = (torch.randn(CLASSES, FEATURES) / 32).to(dtype).requires_grad_()
    result: dict[str, tuple[Loss, tuple[Tensor, ...]]] = {
        "cross_entropy": (lambda target: F.cross_entropy(logits, target), (logits,)),
        "torch's cross_entropy": (lambda t: reference.cross_entropy(logits, t), (logits,)),
    }
    if dtype == torch.float32:  # torch's products of 16 bits are slow on many CPUs
        result |= {
            "linear_cross_entropy": (
                lambda target: F.linear_cross_entropy(hidden, weight, target),
                (hidden, weight),
            ),
            "linear_cross_entropy, a loss for each row": (
                lambda t: F.linear_cross_entropy(hidden, weight, t, reduction="none").sum(),
                (hidden, weight),
            ),
            "linear, then torch's cross_entropy": (
                lambda t: reference.cross_entropy(reference.linear(hidden, weight), t),
                (hidden, weight),
            ),
        }
    return result


def times(name: str, dtype: torch.dtype, seconds: float) -> dict[float, float]:
    """Seconds by the share that is ignored."""
    loss, inputs = losses(dtype)[name]

    def contender(share: float) -> Contender:
        target = torch.randint(CLASSES, (ROWS,))
        target[torch.randperm(ROWS)[: round(share * ROWS)]] = -100

        def run() -> None:
            torch.autograd.grad(loss(target), inputs)

        return Contender(run)

    contenders = {str(share): contender(share) for share in SHARES}
    return {float(share): time for share, time in interleaved(contenders, seconds).items()}


def table(seconds: float) -> str:
    header = " | ".join(f"{share:.0%} ignored" for share in SHARES)
    lines = [
        f"# Ignored rows, {ROWS} × {CLASSES} logits\n",
        f"{tables.machine()}. Forward and backward, medians in milliseconds; in parentheses the",
        f"share of the time of none ignored. `linear`: {FEATURES} features.\n",
        f"| loss | dtype | {header} |",
        f"| --- | --- |{' ---: |' * len(SHARES)}",
    ]
    for dtype in (torch.float32, torch.bfloat16):
        for name in losses(dtype):
            measured = times(name, dtype, seconds)
            cells = [f"{1e3 * t:.1f} ({t / measured[0.0]:.2f})" for t in measured.values()]
            lines.append(f"| {name} | {str(dtype)[6:]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.write("ignored", table, seconds=4.0, description=__doc__ or "")

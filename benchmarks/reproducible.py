"""What `activations_ext.reproducible` costs: its time over the usual kernels', and writes
reproducible-<instruction set>.md.

python -m benchmarks.reproducible [--seconds 0.3] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import activations_ext
from activations_ext import functional as F
from activations_ext.registry import ACTIVATIONS, Activation
from benchmarks import tables
from benchmarks.timing import Contender, interleaved

ELEMENTS = 2**20
ROWS, CLASSES = 512, 2048
DTYPES = (torch.float32, torch.bfloat16)
Call = Callable[[Tensor], Tensor]


def calls(dtype: torch.dtype) -> dict[str, tuple[Call, tuple[int, ...]]]:
    """Functions of one tensor, and its shape."""
    found: dict[str, tuple[Call, tuple[int, ...]]] = {
        activation.name: (partial(_with_defaults, activation), (ELEMENTS,))
        for activation in ACTIVATIONS
    }
    target = torch.randint(CLASSES, (ROWS,))
    share = torch.rand(ROWS, CLASSES).round().to(dtype)
    mean, scale = torch.randn(4096, 32, 8, dtype=dtype), torch.rand(4096, 32, 8).add(0.1).to(dtype)
    value = torch.randn(4096, 8, dtype=dtype)
    rows = (ROWS, CLASSES)
    return found | {
        "softmax": (lambda x: F.softmax(x, -1), rows),
        "log_softmax": (lambda x: F.log_softmax(x, -1), rows),
        "cross_entropy": (lambda x: F.cross_entropy(x, target), rows),
        "binary_cross_entropy_with_logits": (
            lambda x: F.binary_cross_entropy_with_logits(x, share),
            rows,
        ),
        "gaussian_mixture_nll_loss": (
            lambda x: F.gaussian_mixture_nll_loss(x, mean, scale, value),
            (4096, 32),
        ),
    }


def _with_defaults(activation: Activation, x: Tensor) -> Tensor:
    return activation.function(x, *activation.defaults.values())


def ratio(call: Call, x: Tensor, backward: bool, seconds: float) -> float:
    """Time with `reproducible` over the time without."""
    grad_output = torch.ones_like(call(x))

    def contender(mode: bool) -> Contender:
        def run() -> None:
            with activations_ext.reproducible(mode):
                if backward:
                    torch.autograd.grad(call(x), x, grad_output)
                else:
                    call(x)

        return Contender(run)

    times = interleaved({"usual": contender(False), "same": contender(True)}, seconds)
    return times["same"] / times["usual"]


def table(seconds: float) -> str:
    lines = [
        "# What `reproducible` costs\n",
        f"{tables.machine()}. Time with `activations_ext.reproducible()` over the time without,",
        f"medians; {ELEMENTS:,} elements, {ROWS} × {CLASSES} logits, mixtures of 4,096 × 32 × 8.\n",
        "| | forward, float32 | with backward | forward, bfloat16 | with backward |",
        "| --- |" + " ---: |" * 4,
    ]
    by_dtype = {dtype: calls(dtype) for dtype in DTYPES}
    for name in by_dtype[torch.float32]:
        cells = []
        for dtype in DTYPES:
            call, shape = by_dtype[dtype][name]
            x = torch.randn(shape).to(dtype)
            cells.append(ratio(call, x, backward=False, seconds=seconds))
            cells.append(ratio(call, x.requires_grad_(), backward=True, seconds=seconds))
        lines.append(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.write("reproducible", table, seconds=0.3, description=__doc__ or "")

"""Times torch's functions with and without ``activations_ext.enable(all=True)``, and writes
enabled-<instruction set>.md: which of them ``enable()`` is to replace.

python -m benchmarks.enabled [--seconds 0.2] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

import activations_ext
from activations_ext import _C
from benchmarks import tables
from benchmarks.timing import TURN_SECONDS, Contender, interleaved

SIZES = {"16": 16, "4K": 4096, "1M": 2**20, "32M": 2**25}
DTYPES = (torch.float32, torch.bfloat16)
CLASSES = {"16": 16, "4K": 64, "1M": 1024, "32M": 32_768}
"""Of a row, for what works on rows."""

Function = Callable[[Tensor], Tensor]
FUNCTIONS: dict[str, Function] = {
    "relu": F.relu,
    "hardtanh": F.hardtanh,
    "leaky_relu": F.leaky_relu,
    "threshold": lambda x: F.threshold(x, 0.1, 20.0),
    "elu": F.elu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardsigmoid": F.hardsigmoid,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "gelu, tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "softshrink": F.softshrink,
    "hardshrink": F.hardshrink,
    "exp": torch.exp,
    "prelu": lambda x: F.prelu(x, torch.full((1,), 0.25, dtype=x.dtype)),
    "softmax": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "cross_entropy_loss": lambda x: F.cross_entropy(x, torch.zeros(len(x), dtype=torch.int64)),
}
ON_ROWS = ("softmax", "log_softmax", "cross_entropy_loss")


def input_of(name: str, size: str, dtype: torch.dtype) -> Tensor:
    x = torch.randn(SIZES[size], dtype=dtype)
    return x.view(-1, CLASSES[size]) if name in ON_ROWS else x


def speedup(function: Function, x: Tensor, backward: bool, seconds: float) -> float:
    """Torch's time divided by ours."""
    x = x.detach().requires_grad_(backward)
    grad = torch.ones_like(function(x)) if backward else None

    def once() -> None:
        result = function(x)
        if grad is not None:
            torch.autograd.grad(result, x, grad)

    once()
    single = Contender(once).turn(3)
    count = max(1, int(TURN_SECONDS / single))

    def run() -> None:
        for _ in range(count):
            once()

    names = _C.replaceable()
    times = interleaved(
        {
            "torch": Contender(run, lambda: _C.replace([])),
            "ours": Contender(run, lambda: _C.replace(names)),
        },
        seconds,
    )
    _C.replace([])
    return times["torch"] / times["ours"]


def table(seconds: float) -> str:
    activations_ext.disable()
    columns = [f"{str(d).removeprefix('torch.')} {size}" for d in DTYPES for size in SIZES]
    lines = [
        f"# With enable()\n\n{tables.machine()}. Speedup over torch's kernel behind the same "
        "function, forward / forward\nand backward; medians, interleaved, malloc keeps its pages.\n"
        "`enable()` replaces what is nowhere slower than 0.98 and somewhere faster than 1.1.\n",
        f"| function | {' | '.join(columns)} | replaced |",
        f"| --- |{' ---: |' * len(columns)} --- |",
    ]
    faster: dict[str, bool] = {}
    for name, function in track(FUNCTIONS.items(), description="timing"):
        cells, ratios = [], []
        for dtype in DTYPES:
            for size in SIZES:
                x = input_of(name, size, dtype)
                pair = [speedup(function, x, backward, seconds) for backward in (False, True)]
                ratios += pair
                cells.append(" / ".join(f"{ratio:.2f}" for ratio in pair))
        wanted = min(ratios) >= 0.98 and max(ratios) >= 1.1
        group = name.partition(",")[0]
        faster[group] = faster.get(group, True) and wanted
        lines.append(f"| {name} | {' | '.join(cells)} | {'yes' if wanted else ''} |")
    lines.append(f"\nReplaced: {', '.join(name for name, yes in faster.items() if yes)}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.keep_pages()
    tables.write("enabled", table, seconds=0.2, description=__doc__ or "")

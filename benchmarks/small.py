"""Times short calls beside torch's, and writes small-<instruction set>.md.

python -m benchmarks.small [--seconds 0.05] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as reference
from torch import Tensor

from activations_ext import functional as F
from activations_ext import nn
from activations_ext.registry import ACTIVATIONS
from benchmarks import mixture, tables
from benchmarks.timing import Contender, interleaved

SIZES = (16, 256, 4096)
Call = Callable[[Tensor], Tensor]


def _of_rows(
    function: Callable[..., Tensor], shape: tuple[int, int], second: object, x: Tensor
) -> Tensor:
    return function(x.view(shape), second)


def pairs(size: int) -> dict[str, tuple[Call, Call]]:
    """Ours and torch's, of a vector of ``size`` elements."""
    found: dict[str, tuple[Call, Call]] = {}
    for activation in ACTIVATIONS:
        parameters = tuple(activation.defaults.values())
        ours, torchs = (
            partial(lambda f, p, x: f(x, *p), function, parameters)
            for function in (activation.function, activation.reference)
        )
        found[activation.name] = ours, torchs
    found["nn.ReLU"] = nn.ReLU(), torch.nn.ReLU()
    found["nn.GELU"] = nn.GELU(), torch.nn.GELU()
    weight = torch.full((1,), 0.25)
    found["prelu"] = (lambda x: F.prelu(x, weight)), (lambda x: reference.prelu(x, weight))
    found["rrelu, training"] = (
        lambda x: F.rrelu(x, training=True),
        lambda x: reference.rrelu(x, training=True),
    )
    for shape in ((size // 16, 16), (1, size)):
        target = torch.arange(shape[0]) % shape[1]
        for name in ("softmax", "log_softmax", "cross_entropy"):
            second = target if name == "cross_entropy" else -1
            found[f"{name} {shape[0]} × {shape[1]}"] = (
                partial(_of_rows, getattr(F, name), shape, second),
                partial(_of_rows, getattr(reference, name), shape, second),
            )
    target = torch.randn(size // 16, 4)
    mean, scale = torch.randn(size // 16, 16, 4), torch.randn(size // 16, 16, 4)
    found["mixture, by hand"] = (
        lambda x: mixture.ours(x.view(-1, 16), mean, scale, target),
        lambda x: mixture.formula(x.view(-1, 16), mean, scale, target),
    )
    return found


def ratios(ours: Call, torchs: Call, size: int, seconds: float) -> tuple[float, float]:
    """Torch's time over ours, forward and forward with backward."""
    x = torch.randn(size)
    leaf = x.clone().requires_grad_()
    grad_output = torch.ones_like(ours(x))

    def both(call: Call) -> Contender:
        return Contender(lambda: torch.autograd.grad(call(leaf), leaf, grad_output))

    forward = interleaved(
        {"ours": Contender(partial(ours, x)), "torch": Contender(partial(torchs, x))}, seconds
    )
    backward = interleaved({"ours": both(ours), "torch": both(torchs)}, seconds)
    return forward["torch"] / forward["ours"], backward["torch"] / backward["ours"]


def table(seconds: float) -> str:
    lines = [
        "# Short calls\n",
        f"{tables.machine()}. Speedup over eager PyTorch, medians, float32: forward, and with",
        "backward.\n",
        "| elements | function | forward | both |",
        "| ---: | --- | ---: | ---: |",
    ]
    for size in SIZES:
        for name, (ours, torchs) in pairs(size).items():
            forward, both = ratios(ours, torchs, size, seconds)
            lines.append(f"| {size} | {name} | {forward:.2f} | {both:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.write("small", table, seconds=0.05, description=__doc__ or "")

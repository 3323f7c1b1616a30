"""Times compiled graphs with our functions fused into their loops, with our operators whole and
with torch's functions, and writes compiled-<instruction set>.md: each function alone, in the chain
f(2·x + b)·x, and in a block of linear layers.

python -m benchmarks.compiled [--seconds 0.3] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from rich.progress import track
from torch import Tensor

import activations_ext.functional as F
from activations_ext.compiled import Choice, in_compiled_graphs
from activations_ext.registry import ACTIVATIONS
from benchmarks import tables
from benchmarks.timing import Contender, interleaved

SHAPE = (2048, 2048)
CHOICES: tuple[Choice, ...] = ("ours", "whole", "torchs")
WIDTH = 512
Function = Callable[[Tensor], Tensor]


ACTIVATION_NAMES = frozenset(row.name for row in ACTIVATIONS)


def functions() -> dict[str, Function]:
    weight, target = torch.full((1,), 0.25), torch.rand(SHAPE)
    result: dict[str, Function] = {}
    for row in ACTIVATIONS:
        parameters = (0.1, 20.0) if row.name == "threshold" else ()
        result[row.name] = lambda x, f=row.function, p=parameters: f(x, *p)  # type: ignore[misc]
    result["prelu"] = lambda x: F.prelu(x, weight)
    result["softmax"] = lambda x: F.softmax(x, 1)
    result["log_softmax"] = lambda x: F.log_softmax(x, 1)
    result["binary_cross_entropy_with_logits"] = lambda x: F.binary_cross_entropy_with_logits(
        x, target
    )
    return result


def times(function: Function, x: Tensor, seconds: float) -> dict[Choice, float]:
    """Milliseconds of the compiled function, with backward if ``x`` wants a gradient."""
    contenders: dict[str, Contender] = {}
    torch.compiler.reset()
    for choice in CHOICES:
        compiled = torch.compile(lambda y: function(y), fullgraph=True)

        def run(compiled: Function = compiled, choice: Choice = choice) -> None:
            with in_compiled_graphs(choice):
                result = compiled(x)
            if x.requires_grad:
                torch.autograd.grad(result, x, torch.ones_like(result))

        contenders[choice] = Contender(run)
    measured = interleaved(contenders, seconds)
    return {choice: 1e3 * measured[choice] for choice in CHOICES}


def faster(measured: list[dict[Choice, float]]) -> bool:
    """Ours is no slower than torch's, allowing 2 % for noise."""
    return all(one["ours"] <= 1.02 * one["torchs"] for one in measured)


def table(seconds: float) -> str:
    x, b = torch.randn(SHAPE), torch.randn(SHAPE[1])
    half, weight = x.bfloat16(), torch.randn(WIDTH, WIDTH) / WIDTH**0.5
    batch = torch.randn(SHAPE[0], WIDTH)
    lines = [
        f"# In compiled graphs\n\n{tables.machine()}, {SHAPE[0]} × {SHAPE[1]}, float32 but for "
        f"the last; the block is {SHAPE[0]} × {WIDTH}.\nMilliseconds with ours fused / ours "
        "whole / torch's. *Ours* where it is at most 2 % slower\nthan torch's in each column but "
        "the block's, which is mostly products.\n",
        "| function | alone | 2·x + b, f, ·x | chain, forward+backward | linear, f, linear "
        "| chain, bfloat16 | holds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, function in track(functions().items(), description="compiling"):

        def chain(y: Tensor, f: Function = function) -> Tensor:
            return f(2 * y + b.to(y.dtype)) * y

        def block(y: Tensor, f: Function = function) -> Tensor:
            return torch.mm(f(torch.mm(y, weight)), weight)

        measured = [
            times(function, x, seconds),
            times(chain, x, seconds),
            times(chain, x.detach().requires_grad_(), seconds),
        ]
        shown = [*measured, {}, {}]
        if name in ACTIVATION_NAMES:
            shown[3] = times(block, batch, seconds)
            shown[4] = times(chain, half, seconds)
            measured.append(shown[4])
        cells = [" / ".join(f"{one[way]:.2f}" for way in CHOICES) if one else "" for one in shown]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {'ours' if faster(measured) else 'torch’s'} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.write("compiled", table, seconds=0.3, description=__doc__ or "")

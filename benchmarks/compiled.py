"""Times compiled graphs that hold our operators against ones that hold torch's, and writes
compiled-<instruction set>.md: each function alone and in the chain f(2·x + b)·x.

python -m benchmarks.compiled [--seconds 0.5] [--out DIR]
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
CHOICES: tuple[Choice, ...] = ("ours", "torchs")
Function = Callable[[Tensor], Tensor]


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


def table(seconds: float) -> str:
    x, b = torch.randn(SHAPE), torch.randn(SHAPE[1])
    lines = [
        f"# In compiled graphs\n\n{tables.machine()}, float32, {SHAPE[0]} × {SHAPE[1]}. "
        "Milliseconds around our operator / around torch's function,\nwhich Inductor fuses. *Ours* "
        "where ours is no slower in each.\n",
        "| function | alone | 2·x + b, f, ·x | chain, forward+backward | holds |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for name, function in track(functions().items(), description="compiling"):

        def chain(y: Tensor, f: Function = function) -> Tensor:
            return f(2 * y + b) * y

        measured = [
            times(function, x, seconds),
            times(chain, x, seconds),
            times(chain, x.detach().requires_grad_(), seconds),
        ]
        ours = all(one["ours"] <= one["torchs"] for one in measured)
        cells = [f"{one['ours']:.2f} / {one['torchs']:.2f}" for one in measured]
        lines.append(f"| {name} | {' | '.join(cells)} | {'ours' if ours else 'torch’s'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.write("compiled", table, seconds=0.5, description=__doc__ or "")

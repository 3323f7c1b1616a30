"""Times compiled snippets that know nothing of this package, compiled before and after
``activations_ext.enable()``, and writes snippets-<instruction set>.md.

python -m benchmarks.snippets [--seconds 1] [--out DIR]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

import activations_ext
from benchmarks import tables
from benchmarks.timing import Contender, interleaved

SHAPE = (2048, 2048)
HEADS = (8, 8, 256, 256)
Snippet = Callable[[Tensor], Tensor]


def _gelu_new(x: Tensor) -> Tensor:
    """As transformers writes it."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def _lstm_cell(x: Tensor) -> Tensor:
    """The gates of a cell, of which all the products have been made."""
    i, f, g, o = x.chunk(4, 1)
    return o.sigmoid() * (f.sigmoid() * g + i.sigmoid() * g.tanh()).tanh()


def _attention(x: Tensor) -> Tensor:
    """Causal attention's probabilities; the products are torch's either way."""
    scores = x.view(HEADS) * 0.125
    mask = torch.ones(HEADS[2:], dtype=torch.bool).tril()
    return scores.masked_fill(~mask, -math.inf).softmax(-1)


def _targets(x: Tensor) -> Tensor:
    return torch.arange(x.shape[0], device=x.device)


SNIPPETS: dict[str, Snippet] = {
    "silu(2x + 1)·x": lambda x: F.silu(2 * x + 1) * x,
    "sigmoid(2x + 1)·x": lambda x: torch.sigmoid(2 * x + 1) * x,
    "tanh(2x + 1)·x": lambda x: torch.tanh(2 * x + 1) * x,
    "gelu(2x + 1)·x": lambda x: F.gelu(2 * x + 1) * x,
    "gelu(2x + 1, tanh)·x": lambda x: F.gelu(2 * x + 1, approximate="tanh") * x,
    "transformers' NewGELU": _gelu_new,
    "mish(2x + 1)·x": lambda x: F.mish(2 * x + 1) * x,
    "softplus(2x + 1)·x": lambda x: F.softplus(2 * x + 1) * x,
    "elu(2x + 1)·x": lambda x: F.elu(2 * x + 1) * x,
    "logsigmoid(2x + 1)·x": lambda x: F.logsigmoid(2 * x + 1) * x,
    "e^(−x²)·x": lambda x: torch.exp(-x * x) * x,
    "2^x + e^x − 1": lambda x: torch.exp2(x) + torch.expm1(x),
    "log(1 + x²)": lambda x: torch.log1p(x * x),
    "log(|x| + ½)·x": lambda x: torch.log(x.abs() + 0.5) * x,
    "erf(x) + erfc(x/2)": lambda x: torch.erf(x) + torch.erfc(x * 0.5),
    "swiglu of halves": lambda x: F.silu(x[:, ::2].contiguous()) * x[:, 1::2],
    "cell of an LSTM": _lstm_cell,
    "softmax of rows": lambda x: F.softmax(x, 1),
    "log_softmax of rows": lambda x: F.log_softmax(x, 1),
    "logsumexp of rows": lambda x: torch.logsumexp(x, 1),
    "cross-entropy": lambda x: F.cross_entropy(x, _targets(x)),
    "causal attention": _attention,
    "layer_norm, gelu": lambda x: F.gelu(F.layer_norm(x, x.shape[1:])),
    "entropy of sigmoid(x)": lambda x: -(F.sigmoid(x) * F.logsigmoid(x)).mean(),
}


def compiled_alone(function: Any) -> Any:
    """With a backend of its own: for one backend Dynamo would find the code it has."""
    from torch._inductor.compile_fx import compile_fx

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        return compile_fx(graph, inputs)

    return torch.compile(function, backend=backend, dynamic=False)


def times(snippet: Snippet, x: Tensor, seconds: float) -> dict[str, float]:
    """Seconds, with backward if ``x`` wants a gradient."""
    contenders: dict[str, Contender] = {}
    torch.compiler.reset()
    for name in ("torch", "ours"):
        function = compiled_alone(snippet)

        def run(function: Snippet = function) -> None:
            result = function(x)
            if x.requires_grad:
                torch.autograd.grad(result, x, torch.ones_like(result))

        if name == "ours":
            with activations_ext.enabled():
                run()
        else:
            run()
        contenders[name] = Contender(run)
    return interleaved(contenders, seconds)


def table(seconds: float) -> str:
    activations_ext.disable()
    x = torch.randn(SHAPE)
    lines = [
        f"# Compiled snippets of torch's functions\n\n{tables.machine()}, {SHAPE[0]} × {SHAPE[1]} "
        "float32. Milliseconds compiled by torch.compile / compiled\nwhile `enable()` is on, and "
        "the speedup; medians, interleaved, malloc keeps its pages.\n",
        "| snippet | forward | forward+backward |",
        "| --- | ---: | ---: |",
    ]
    for name, snippet in track(SNIPPETS.items(), description="compiling"):
        cells = []
        for y in (x, x.detach().requires_grad_()):
            measured = times(snippet, y, seconds)
            theirs, ours = 1e3 * measured["torch"], 1e3 * measured["ours"]
            cells.append(f"{theirs:.2f} / {ours:.2f} = {theirs / ours:.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.keep_pages()
    tables.write("snippets", table, seconds=1.0, description=__doc__ or "")

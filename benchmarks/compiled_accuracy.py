"""How exact the activations are in compiled graphs, in ULP of the result: ours in the generated
loops, our formula on torch's operators, and torch.compile's code for torch's functions. Writes
compiled-accuracy-<instruction set>.md.

python -m benchmarks.compiled_accuracy [--out DIR]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from rich.progress import track
from torch import Tensor

from activations_ext import _C
from activations_ext.compiled import Choice, in_compiled_graphs
from activations_ext.registry import ACTIVATIONS, Activation
from benchmarks import tables
from benchmarks.accuracy import every_pattern, gradient, largest_error, ordinary, whole_range
from benchmarks.references import truth_of

CHOICES: tuple[Choice, ...] = ("ours", "torchs")
Function = Callable[[Tensor], Tensor]


def compiled(activation: Activation, choice: Choice) -> Function:
    function = partial(_call, activation)

    def run(x: Tensor) -> Tensor:
        with in_compiled_graphs(choice):
            result: Tensor = torch.compile(function, fullgraph=True, dynamic=False)(x)
            return result

    return run


def _call(activation: Activation, x: Tensor) -> Tensor:
    return activation.function(x, *activation.defaults.values())


def formula(activation: Activation) -> Function:
    parameters = tuple(activation.defaults.values())
    return lambda x: _C.formula(activation.name, _C.Pass.kForward, parameters, x, x)


def row(activation: Activation) -> str:
    truth = truth_of(activation)
    x, half = torch.cat([ordinary(), whole_range()]), every_pattern(torch.bfloat16)
    torch.compiler.reset()
    ours, torchs = (compiled(activation, choice) for choice in CHOICES)
    ways = (ours, formula(activation), torchs)
    exact, exact_half = truth.value(x.double()), truth.value(half.double())
    away = x[(x - truth.slope_root).abs() > 0.1]
    slope = truth.slope(away.double())
    cells = [
        [largest_error(way(x), exact) for way in ways],
        [largest_error(way(half), exact_half) for way in ways],
        [largest_error(gradient(way, away), slope) for way in (ours, torchs)],
    ]
    return f"| {activation.name} | {' | '.join(' / '.join(f'{e:.3g}' for e in c) for c in cells)} |"


def table(_: float) -> str:
    lines = [
        f"# Errors in compiled graphs\n\n{tables.machine()}. The largest error in ULP over the "
        "whole range of float32 and\nall patterns of bfloat16: ours in the generated loops / our "
        "formula on torch's operators, which a\ngraph for a GPU holds (computed here by eager "
        "torch) / torch.compile's code for torch's function.\nSlopes without the tenth around "
        "their zero.\n",
        "| function | float32 | bfloat16 | slope, float32: ours / torch.compile's |",
        "| --- | ---: | ---: | ---: |",
        *(row(activation) for activation in track(ACTIVATIONS, description="compiling")),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.write("compiled-accuracy", table, seconds=0.0, description=__doc__ or "")

"""Times the gated linear units of one tensor's halves against torch's composition, eager and
compiled, and writes gated-<instruction set>.md.

python -m benchmarks.gated [--seconds 1] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as reference
from torch import Tensor

from activations_ext import functional as F
from benchmarks import tables
from benchmarks.timing import Contender, copy_contender, interleaved

Unit = Callable[[Tensor], Tensor]
SHAPES = ((4096, 11_008), (4096, 1024), (256, 1024))
COLUMNS = ("ours", "torch", "torch.compile", "copy")


def gpt_oss(input: Tensor) -> Tensor:
    gate, up = input[..., ::2].clamp(max=7.0), input[..., 1::2].clamp(-7.0, 7.0)
    return gate * torch.sigmoid(1.702 * gate) * (up + 1)


def composed(activation: Unit) -> Unit:
    def unit(input: Tensor) -> Tensor:
        gate, up = input.chunk(2, -1)
        return activation(gate) * up

    return unit


UNITS: dict[str, tuple[Unit, Unit]] = {
    "swiglu": (F.swiglu, composed(reference.silu)),
    "swiglu, as gpt-oss": (
        lambda x: F.swiglu(x, interleaved=True, alpha=1.702, limit=7.0, offset=1.0),
        gpt_oss,
    ),
    "geglu": (F.geglu, composed(reference.gelu)),
    "reglu": (F.reglu, composed(reference.relu)),
    "glu": (F.glu, reference.glu),
}


def row(name: str, shape: tuple[int, int], dtype: torch.dtype, both: bool, seconds: float) -> str:
    rows, features = shape
    input = torch.randn(rows, 2 * features, dtype=dtype, requires_grad=both)
    grad_output = torch.randn(rows, features, dtype=dtype)
    torch.compiler.reset()
    ours, torchs = UNITS[name]

    def contender(unit: Unit) -> Contender:
        def run() -> None:
            result = unit(input)
            if both:
                torch.autograd.grad(result, input, grad_output)

        return Contender(run)

    units = {"ours": ours, "torch": torchs, "torch.compile": torch.compile(torchs)}
    contenders = {column: contender(unit) for column, unit in units.items()}
    # Forward reads both halves and writes one; backward reads three and writes two.
    contenders["copy"] = copy_contender(grad_output.nbytes * (8 if both else 3) // 2)
    times = interleaved(contenders, seconds)
    cells = [name, f"{rows} × {features}", str(dtype).removeprefix("torch.")]
    cells += ["forward+backward" if both else "forward"]
    cells += [f"{1e3 * times[column]:.3f}" for column in COLUMNS]
    cells += [f"{times[column] / times['ours']:.2f}" for column in COLUMNS[1:]]
    return f"| {' | '.join(cells)} |"


def table(seconds: float) -> str:
    ratios = [f"{column} / ours" for column in COLUMNS[1:]]
    lines = [
        f"# Gated linear units\n\n{tables.machine()}. Medians in milliseconds, taken in turn;",
        "rows × features of the result. Copy: one of as many bytes as have to be moved.\n",
        f"| function | result | dtype | pass | {' | '.join((*COLUMNS, *ratios))} |",
        f"| --- | --- | --- | --- |{' ---: |' * (len(COLUMNS) + len(ratios))}",
    ]
    for name in UNITS:
        for shape in SHAPES:
            for dtype in (torch.float32, torch.bfloat16):
                lines += [row(name, shape, dtype, both, seconds) for both in (False, True)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.keep_pages()
    tables.write("gated", table, seconds=1.0, description=__doc__ or "")

"""How exact the activations are, in ULP of the result, beside torch's.

    python -m benchmarks.accuracy [--only elu,mish] [--out DIR]

Prints a table and writes accuracy.md and accuracy.json. Inputs in float32 are two million ordinary
numbers, then one of every thousand of all floats, with the neighbours of the multiples of 1/8 up to
128; in bfloat16 and float16 all 65,536 patterns. They are judged against float64 wherever that is a
normal number of the dtype. Slopes are the gradient of a sum, without the tenth around their zero.
Beside the errors stands what the value costs: clocks of the processor's nominal rate for an
element, one thread, 32,768 numbers in cache.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from activations_ext.registry import ACTIVATIONS, Activation
from benchmarks.references import Function, Truth, truth_of
from benchmarks.report import clock_megahertz, machine, machine_line, markdown_table
from benchmarks.timing import Contender, interleaved

ROOT = Path(__file__).resolve().parent.parent
LIMIT, ROUNDED_ONCE = 2.0, 0.51
"""The limits in float32, unless torch is worse, and in 16 bits: half an ULP plus the error of the
float32 in between."""


def ordinary(count: int = 2**20) -> Tensor:
    """Normal numbers with a standard deviation of 3, and uniform ones from −20 to 20."""
    random = torch.Generator().manual_seed(0)
    normal = 3 * torch.randn(count, generator=random)
    return torch.cat([normal, 40 * torch.rand(count, generator=random) - 20])


def whole_range(step: int = 1021) -> Tensor:
    """Every ``step``-th float from the smallest to the largest, and those around round numbers."""
    bits = torch.arange(1, 0x7F800000, step, dtype=torch.int32)
    round_ = torch.arange(1, 1025) / 8
    beside = torch.arange(-3, 4, dtype=torch.int32)
    near = (round_.view(torch.int32)[:, None] + beside).flatten()
    positive = torch.cat([bits, near]).view(torch.float32)
    return torch.cat([positive, -positive])


def every_pattern(dtype: torch.dtype) -> Tensor:
    """All finite numbers of a dtype of 16 bits."""
    values = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    return values[values.isfinite()]


def largest_error(actual: Tensor, exact: Tensor) -> float:
    """In ULP of ``actual``'s dtype, where the float64 ``exact`` is a normal number of it. NaN or
    infinity where there is a number is an infinite error."""
    limits = torch.finfo(actual.dtype)
    normal = (exact.abs() >= limits.smallest_normal) & (exact.abs() <= limits.max)
    exact, value = exact[normal], actual.double()[normal]
    unit = torch.ldexp(torch.full_like(exact, limits.eps), torch.frexp(exact)[1] - 1)
    errors = ((value - exact).abs() / unit).nan_to_num(torch.inf, posinf=torch.inf)
    return errors.max().item() if errors.numel() else 0.0


def gradient(function: Function, input: Tensor) -> Tensor:
    leaf = input.clone().requires_grad_()
    (result,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return result


@dataclass(frozen=True)
class Pair:
    """The largest errors of both, or their clocks."""

    ours: float
    torch: float

    def __str__(self) -> str:
        return f"{self.ours:.3g} / {self.torch:.3g}"


@dataclass(frozen=True)
class Row:
    """One activation's largest errors in ULP."""

    name: str
    ordinary: Pair
    whole_range: Pair
    slope: Pair
    bfloat16: Pair
    float16: Pair
    clocks: Pair

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return self.ordinary, self.whole_range, self.slope, self.bfloat16, self.float16

    @property
    def met(self) -> bool:
        """The values' targets."""
        float32 = max(self.ordinary.ours, self.whole_range.ours)
        allowed = max(LIMIT, self.ordinary.torch, self.whole_range.torch)
        return float32 <= allowed and max(self.bfloat16.ours, self.float16.ours) <= ROUNDED_ONCE

    def cells(self) -> list[str]:
        return [self.name, *map(str, self.pairs), str(self.clocks), "yes" if self.met else "no"]


COLUMNS = (
    *("ours / torch", "value", "value, whole range", "slope", "bfloat16", "float16"),
    *("clocks", "met"),
)


def measure(activation: Activation) -> Row:
    truth = truth_of(activation)
    parameters = tuple(activation.defaults.values())

    def ours(input: Tensor) -> Tensor:
        return activation.function(input, *parameters)

    def torchs(input: Tensor) -> Tensor:
        return activation.reference(input, *parameters)

    def values(input: Tensor) -> Pair:
        exact = truth.value(input.double())
        return Pair(*(largest_error(function(input), exact) for function in (ours, torchs)))

    return Row(
        activation.name,
        values(ordinary()),
        values(whole_range()),
        slopes((ours, torchs), truth, torch.cat([ordinary(), whole_range()])),
        values(every_pattern(torch.bfloat16)),
        values(every_pattern(torch.float16)),
        clocks((ours, torchs)),
    )


def clocks(functions: tuple[Function, Function], count: int = 2**15) -> Pair:
    """Of float32 with a standard deviation of 3."""
    x = ordinary(count)[:count]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        contenders = {
            name: Contender(partial(function, x))
            for name, function in zip(("ours", "torch"), functions, strict=True)
        }
        seconds = interleaved(contenders, seconds=0.2)
    finally:
        torch.set_num_threads(threads)
    return Pair(*(1e6 * clock_megahertz() * seconds[name] / count for name in contenders))


def slopes(functions: tuple[Function, Function], truth: Truth, input: Tensor) -> Pair:
    input = input[(input - truth.slope_root).abs() > 0.1]
    exact = truth.slope(input.double())
    return Pair(*(largest_error(gradient(function, input), exact) for function in functions))


def parse_activations(text: str) -> list[Activation]:
    by_name = {activation.name: activation for activation in ACTIVATIONS}
    names = text.split(",")
    for name in names:
        if name not in by_name:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(by_name)}; got {name}")
    return [by_name[name] for name in names]


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.accuracy", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", type=parse_activations, default=list(ACTIVATIONS), help="names")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    return parser.parse_args(arguments)


def print_table(rows: Sequence[Row]) -> None:
    table = Table(title="Largest error in ULP")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == COLUMNS[0] else "right")
    for row in rows:
        table.add_row(*row.cells(), style=None if row.met else "red")
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(table)


def markdown(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    met = sum(row.met for row in rows)
    parts = [
        "# Accuracy",
        f"{machine_line(facts)}. {met} of {len(rows)} within 2 ULP in float32, or no worse than "
        "torch where torch is above that, and rounded once in 16 bits.",
        markdown_table(COLUMNS, [row.cells() for row in rows]),
        "Slopes above 10⁷: elu, selu, celu, sigmoid and tanh compute theirs from the saved result, "
        "which is rounded to −α, 0 or 1 far out. Its absolute error is half an ULP of 1 there.",
        f"Clocks: of {clock_megahertz():,.0f} MHz, for an element of the value in float32; one "
        "thread, 32,768 elements in cache, the call included.",
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_options(arguments)
    facts = machine()
    log = Console(stderr=True)
    rows = [
        measure(activation)
        for activation in track(options.only, "accuracy", console=log, transient=True)
    ]
    print_table(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "accuracy.md").write_text(markdown(rows, facts))
    content = {"machine": facts, "rows": [{**asdict(row), "met": row.met} for row in rows]}
    (options.out / "accuracy.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"Written: {options.out}/accuracy.md, accuracy.json")


if __name__ == "__main__":
    main()

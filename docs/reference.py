"""Sphinx extension: the pages of the reference, one for each function, from docstrings and results.

A page of an activation has its formula, a plot of the value and its derivatives, what comes of
kinks, infinities and NaN as computed here, and the errors and times that were measured
(benchmarks/results). The pages go into docs/reference/, which is not under version control.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from formulas import FORMULAS

from activations_ext import functional
from activations_ext.registry import ACTIVATIONS, Activation
from cases import KINKS

DOCS = Path(__file__).resolve().parent
PAGES = DOCS / "reference"
RESULTS = DOCS.parent / "benchmarks/results"


def public_functions() -> list[str]:
    """Ours: whatever else the module has is torch's."""
    return [
        name
        for name in functional.__all__
        if getattr(getattr(functional, name), "__module__", "").startswith("activations_ext.")
        and inspect.isfunction(getattr(functional, name))
        and not name.endswith("_")
    ]


def curves(activation: Activation, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The value and its first two derivatives."""
    x = x.detach().requires_grad_()
    y = activation.function(x, *activation.defaults.values())
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    curvature = torch.zeros_like(x)
    if slope.requires_grad:
        (curvature,) = torch.autograd.grad(slope.sum(), x)
    return y.detach(), slope.detach(), curvature


def draw(activation: Activation) -> None:
    from matplotlib.figure import Figure

    x = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    for y, label in zip(curves(activation, x), ("value", "slope", "curvature"), strict=True):
        axes.plot(x, y, label=label)
    axes.set(ylim=(-2.2, 3.2), xlabel="x")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(PAGES / f"{activation.name}.svg")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def number(value: float) -> str:
    return {math.inf: "∞", -math.inf: "−∞"}.get(value, "NaN" if math.isnan(value) else f"{value:g}")


def special_values(activation: Activation) -> str:
    kinks = (
        KINKS[activation.name](*activation.defaults.values()) if activation.name in KINKS else ()
    )
    at = [*dict.fromkeys((*kinks, 0.0)), math.inf, -math.inf, math.nan]
    value, slope, _ = curves(activation, torch.tensor(at, dtype=torch.float64))
    rows = [
        (number(x) + (" (kink)" if x in kinks else ""), number(y), number(s))
        for x, y, s in zip(at, value.tolist(), slope.tolist(), strict=True)
    ]
    return table(("x", "value", "gradient"), rows)


def measured(name: str) -> Iterator[str]:
    errors = []
    for capability, path in (("AVX-512", "accuracy.json"), ("AVX2", "avx2/accuracy.json")):
        for row in json.loads((RESULTS / path).read_text())["rows"]:
            if row["name"] == name:
                value, slope = row["whole_range"], row["slope"]
                errors.append(
                    (
                        capability,
                        *(f"{of['ours']:.3g}" for of in (value, slope)),
                        *(f"{of['torch']:.3g}" for of in (value, slope)),
                        *(f"{row['clocks'][who]:.2f}" for who in ("ours", "torch")),
                    )
                )
    if errors:
        yield "Largest error in float32, in units of the last place over the whole range:\n"
        columns = ("value", "gradient", "torch's value", "torch's gradient")
        yield table(("", *columns, "clocks", "torch's clocks"), errors)
        yield "Clocks for an element of the value, one thread, in cache: `accuracy.md` says more.\n"
        yield "In bfloat16 and float16 the float32 result is rounded once.\n"
    written = json.loads((RESULTS / "speed.json").read_text())
    rows = [
        (
            *(f"{row['size']:,}", row["mode"], row["dtype"]),
            *(f"{row[who] / row['size'] * 1e9:.3f}" for who in ("ours", "torch", "copy")),
        )
        for row in written["rows"]
        if row["name"] == name and row["size"] in (4096, 2**20)
    ]
    if rows:
        machine = written["machine"]
        yield (
            f"Nanoseconds per element ({machine['cpu']}, {machine['capability']}, "
            f"{machine['threads']} threads, torch {machine['torch']}, "
            f"commit {machine['commit']}):\n"
        )
        yield table(("elements", "pass", "dtype", "ours", "torch", "a copy"), rows)


def page(name: str, activation: Activation | None) -> str:
    parts = [f"# {name}\n"]
    if name in FORMULAS:
        parts.append(f"$$\n{FORMULAS[name]}\n$$\n")
    parts.append(f"```{{eval-rst}}\n.. autofunction:: activations_ext.functional.{name}\n```\n")
    if activation is not None:
        parts.append(f"![Value, slope and curvature of {name}]({name}.svg)\n")
        parts.append(
            "## At kinks, infinities and NaN\n\nIn float64, with the default parameters:\n"
        )
        parts.append(special_values(activation))
        results = list(measured(name))
        if results:
            parts += ["## Measured\n", *results]
    return "\n".join(parts)


def write(path: Path, text: str) -> None:
    """Leaves a file alone that says so already: Sphinx reads what is new."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def write_pages(_: Any = None) -> None:
    PAGES.mkdir(exist_ok=True)
    activations = {activation.name: activation for activation in ACTIVATIONS}
    names = public_functions()
    for name in names:
        if name in activations:
            draw(activations[name])
        write(PAGES / f"{name}.md", page(name, activations.get(name)))
    entries = "\n".join(names)
    write(
        PAGES / "index.md",
        "# Functions\n\n`activations_ext.functional`, one page each. Whatever else "
        "`torch.nn.functional` has is found there too, and is torch's own.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n",
    )


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}

"""How the time grows: of gelu with the number of elements, of softmax and cross-entropy with
the number of classes, on one thread and on all.

    python -m benchmarks.growth [--seconds 1] [--most 8] [--out DIR]

Writes growth-<instruction set>.md and growth-<instruction set>.png: nanoseconds for an element, of
ours, torch, torch.compile, ONNX Runtime where it has the operator, and a copy of the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as reference
from torch import Tensor

from activations_ext import cpu_capability
from activations_ext import functional as F
from benchmarks import tables
from benchmarks.losses import onnx_runtime
from benchmarks.report import machine, machine_line
from benchmarks.timing import Contender, copy_contender, interleaved

LOGITS = 2**22
CLASSES = tuple(10**k for k in range(1, 7))
STYLES = {
    "ours": "C0-",
    "torch": "C1--",
    "torch.compile": "C2-.",
    "ONNX Runtime": "C3:",
    "a copy": "k-",
}
Contenders = dict[str, Contender]
Times = dict[str, float]
Panels = dict[tuple[str, int], dict[int, Times]]
"""By function and number of threads, then by size."""


def gelu(elements: int) -> Contenders:
    x = torch.randn(elements)
    torch.compiler.reset()
    compiled = torch.compile(reference.gelu)
    return {
        "ours": Contender(lambda: F.gelu(x)),
        "torch": Contender(lambda: reference.gelu(x)),
        "torch.compile": Contender(lambda: compiled(x)),
        **onnx_runtime("Gelu", x),
        "a copy": copy_contender(8 * elements),
    }


def softmax(classes: int) -> Contenders:
    x = torch.randn(LOGITS // classes, classes)
    torch.compiler.reset()
    compiled = torch.compile(reference.softmax)
    return {
        "ours": Contender(lambda: F.softmax(x, 1)),
        "torch": Contender(lambda: reference.softmax(x, 1)),
        "torch.compile": Contender(lambda: compiled(x, 1)),
        **onnx_runtime("Softmax", x, axis=-1),
        "a copy": copy_contender(8 * x.numel()),
    }


def cross_entropy(classes: int) -> Contenders:
    """Forward and backward."""
    x = torch.randn(LOGITS // classes, classes, requires_grad=True)
    target = torch.randint(classes, x.shape[:1])
    torch.compiler.reset()

    def contender(function: Callable[[Tensor, Tensor], Tensor]) -> Contender:
        return Contender(lambda: torch.autograd.grad(function(x, target), x))

    return {
        "ours": contender(F.cross_entropy),
        "torch": contender(reference.cross_entropy),
        "torch.compile": contender(torch.compile(reference.cross_entropy)),
        "a copy": copy_contender(12 * x.numel()),  # read twice and written once
    }


def curves(
    make: Callable[[int], Contenders], sizes: tuple[int, ...], seconds: float
) -> Iterator[tuple[int, Times]]:
    """By size, nanoseconds for an element."""
    for size in sizes:
        elements = size if make is gelu else LOGITS // size * size
        measured = interleaved(make(size), seconds)
        yield size, {name: 1e9 * time / elements for name, time in measured.items()}


def draw(panels: Panels, path: Path, facts: dict[str, Any]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(name for name, _ in panels))
    threads = list(dict.fromkeys(count for _, count in panels))
    figure, axes = pyplot.subplots(
        len(threads), len(names), figsize=(12, 7), layout="constrained", squeeze=False
    )
    for (name, count), of_size in panels.items():
        axis = axes[threads.index(count)][names.index(name)]
        for contender, style in STYLES.items():
            points = [(s, times[contender]) for s, times in of_size.items() if contender in times]
            if points:
                axis.loglog(*zip(*points, strict=True), style, marker=".", label=contender)
        axis.set_title(f"{name}, {count} thread{'s' * (count > 1)}")
        axis.set_xlabel("elements" if name.startswith("gelu") else f"classes of {LOGITS:,} logits")
        axis.set_ylabel("ns per element")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.text(0.01, -0.02, machine_line(facts), fontsize=6)
    figure.savefig(path, dpi=130, bbox_inches="tight")
    pyplot.close(figure)


def table(panels: Panels, facts: dict[str, Any]) -> str:
    lines = [
        "# How the time grows with the work\n",
        f"{machine_line(facts)}. Nanoseconds for an element, medians, float32.",
        f"Softmax and cross-entropy: {LOGITS:,} logits in rows of so many classes.\n",
        f"| function | threads | size | {' | '.join(STYLES)} |",
        f"| --- | ---: | ---: |{' ---: |' * len(STYLES)}",
    ]
    for (name, threads), of_size in panels.items():
        for size, times in of_size.items():
            cells = [f"{times[column]:.3g}" if column in times else "" for column in STYLES]
            lines.append(f"| {name} | {threads} | {size:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    parser.add_argument(
        "--most", type=int, default=8, help="the most elements, a power of ten; 9 takes 32 GB"
    )
    parser.add_argument("--out", type=Path, default=tables.RESULTS)
    options = parser.parse_args()
    facts = machine()
    elements = tuple(10**k for k in range(1, options.most + 1))
    panels = {}
    for threads in sorted({1, torch.get_num_threads()}):
        torch.set_num_threads(threads)
        for name, make, sizes in (
            ("gelu, forward", gelu, elements),
            ("softmax, forward", softmax, CLASSES),
            ("cross_entropy, both", cross_entropy, CLASSES),
        ):
            panels[name, threads] = dict(curves(make, sizes, options.seconds))
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / f"growth-{cpu_capability().lower()}"
    stem.with_suffix(".md").write_text(table(panels, facts))
    draw(panels, stem.with_suffix(".png"), facts)
    print(f"Written: {stem}.md, {stem}.png")


if __name__ == "__main__":
    tables.keep_pages()
    main()

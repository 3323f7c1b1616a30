"""The benchmark's rows as a table on the terminal, Markdown, JSON and a picture.

    python -m benchmarks.report benchmarks/results/speed.json

prints the README's table.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import activations_ext
from benchmarks.targets import BACKWARD, BOTH, FORWARD, INPLACE, target

COLUMNS = (
    "activation",
    "pass",
    "dtype",
    "size",
    "ours µs",
    "torch µs",
    "ratio",
    "compile µs",
    "MB",
    "GB/s",
    "of copy",
    "ratio THP",
    "target",
    "met",
)

OVERVIEW = (
    ("4K forward", 2**12, "float32", FORWARD),
    ("4K both", 2**12, "float32", BOTH),
    ("1M forward", 2**20, "float32", FORWARD),
    ("1M backward", 2**20, "float32", BACKWARD),
    ("1M bf16 forward", 2**20, "bfloat16", FORWARD),
    ("1M bf16 backward", 2**20, "bfloat16", BACKWARD),
    ("32M forward", 2**25, "float32", FORWARD),
    ("32M backward", 2**25, "float32", BACKWARD),
    ("32M in place", 2**25, "float32", INPLACE),
)
"""The README's columns."""
DERIVED = (
    "ratio",
    "ratio_huge_pages",
    "gigabytes_per_second",
    "fraction_of_copy",
    "target",
    "target_huge_pages",
    "met",
)
"""What of a row is written to JSON beside the measured fields."""


@dataclass(frozen=True)
class Row:
    """One measurement; times in seconds of one run."""

    name: str
    mode: str
    dtype: str
    size: int
    bytes_moved: int
    ours: float
    torch: float
    copy: float
    compiled: float | None = None
    ours_huge_pages: float | None = None
    torch_huge_pages: float | None = None

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.name, self.mode, self.dtype, self.size

    @property
    def ratio(self) -> float:
        return self.torch / self.ours

    @property
    def ratio_huge_pages(self) -> float | None:
        """torch's time over ours where torch, too, asks for huge pages."""
        if self.ours_huge_pages is None or self.torch_huge_pages is None:
            return None
        return self.torch_huge_pages / self.ours_huge_pages

    @property
    def gigabytes_per_second(self) -> float:
        return self.bytes_moved / self.ours / 1e9

    @property
    def fraction_of_copy(self) -> float:
        return self.copy / self.ours

    @property
    def target(self) -> float | None:
        return target(self.name, self.dtype, self.size, self.mode)

    @property
    def target_huge_pages(self) -> float | None:
        return target(self.name, self.dtype, self.size, self.mode, huge_pages=True)

    @property
    def met(self) -> bool | None:
        """Each target that was measured is reached; None if there is none."""
        wanted = [(self.target, self.ratio), (self.target_huge_pages, self.ratio_huge_pages)]
        verdicts = [
            ratio >= least for least, ratio in wanted if least is not None and ratio is not None
        ]
        return all(verdicts) if verdicts else None

    def with_huge_pages(self, other: Row) -> Row:
        """This row with the times of ``other``, the same measurement in such a run."""
        return replace(self, ours_huge_pages=other.ours, torch_huge_pages=other.torch)

    def as_json(self) -> dict[str, Any]:
        """The measured numbers and those derived from them."""
        return {**asdict(self), **{name: getattr(self, name) for name in DERIVED}}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Row:
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__})

    def cells(self) -> tuple[str, ...]:
        """The texts under ``COLUMNS``."""
        return (
            self.name,
            self.mode,
            self.dtype,
            size_label(self.size),
            _number(self.ours * 1e6),
            _number(self.torch * 1e6),
            f"{self.ratio:.2f}×",
            "" if self.compiled is None else _number(self.compiled * 1e6),
            f"{self.bytes_moved / 1e6:.3g}",
            f"{self.gigabytes_per_second:.1f}",
            f"{self.fraction_of_copy:.2f}",
            "" if self.ratio_huge_pages is None else f"{self.ratio_huge_pages:.2f}×",
            self._target_text(),
            {None: "", True: "yes", False: "no"}[self.met],
        )

    def _target_text(self) -> str:
        texts = [] if self.target is None else [f"{self.target:g}×"]
        if self.target_huge_pages is not None and self.ratio_huge_pages is not None:
            texts.append(f"{self.target_huge_pages:g}× THP")
        return ", ".join(texts)


@dataclass(frozen=True)
class Point:
    """A point of the picture: one forward call of ``name`` at ``size``; times in seconds."""

    name: str
    size: int
    bytes_moved: int
    ours: float
    torch: float
    copy: float


def size_label(size: int) -> str:
    """4096 → 4K, 2^20 → 1M."""
    for unit, letter in ((2**20, "M"), (2**10, "K")):
        if size >= unit and size % unit == 0:
            return f"{size // unit}{letter}"
    return str(size)


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """The machine and the versions that the numbers come from."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "capability": activations_ext.cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": load,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "activations_ext": activations_ext.__version__,
        "commit": _commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _cpu_facts() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)


def clock_megahertz() -> float:
    """The processor's nominal rate. Where it is unknown, 1000: clocks are nanoseconds then."""
    return float(_cpu_facts().get("cpu MHz", 1000))


def _cpu_model() -> str:
    facts = _cpu_facts()
    model = facts.get("model name", platform.processor() or platform.machine()).strip()
    # Clouds hide the model's number; family and model tell the generation.
    if "cpu family" in facts and "model" in facts:
        model += f" (family {facts['cpu family'].strip()}, model {facts['model'].strip()})"
    return model


def _commit() -> str | None:
    """The revision of the working tree, ``-dirty`` where it has been changed since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        process = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()


def machine_line(facts: dict[str, Any]) -> str:
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['threads']} threads, "
        f"{facts['capability']}, torch {facts['torch']}, {facts['date'][:10]}, "
        f"commit {facts['commit']}"
    )


def print_table(rows: Sequence[Row], console: Console) -> None:
    """The rows, targets missed in red."""
    table = Table(title="Time of one call", caption=_caption(rows))
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in COLUMNS[:3] else "right")
    for row in rows:
        table.add_row(*row.cells(), style="red" if row.met is False else None)
    console.print(table)


def _caption(rows: Iterable[Row]) -> str:
    verdicts = [row.met for row in rows if row.met is not None]
    return f"{sum(verdicts)} of {len(verdicts)} targets met"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """A Markdown table; the first ``texts`` columns are texts, the others numbers."""
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def speedups(rows: Sequence[Row], size: int) -> str:
    """One line an activation: torch's time over ours, in the columns dtype and pass."""
    chosen = [row for row in rows if row.size == size]
    columns = list(dict.fromkeys((row.dtype, row.mode) for row in chosen))
    by_key = {row.key: row for row in chosen}
    lines = []
    for name in dict.fromkeys(row.name for row in chosen):
        line = [name]
        for dtype, mode in columns:
            row = by_key.get((name, mode, dtype, size))
            line.append("" if row is None else _speedup(row))
        lines.append(line)
    return markdown_table(["", *(f"{dtype} {mode}" for dtype, mode in columns)], lines)


def overview(rows: Sequence[Row]) -> str:
    """One line an activation: torch's time over ours in the columns that matter most, of those that
    were measured.

    Where torch was measured with huge pages, too, that comes first: what is in brackets is due to
    the policy for pages, not to kernels.
    """
    by_key = {row.key: row for row in rows}
    measured = {(row.size, row.dtype, row.mode) for row in rows}
    columns = [column for column in OVERVIEW if column[1:] in measured]
    lines = []
    for name in dict.fromkeys(row.name for row in rows):
        line = [name]
        for _, size, dtype, mode in columns:
            row = by_key.get((name, mode, dtype, size))
            if row is None:
                line.append("")
            elif row.ratio_huge_pages is None:
                line.append(f"{row.ratio:.1f}")
            else:
                line.append(f"{row.ratio_huge_pages:.1f} ({row.ratio:.1f})")
        lines.append(line)
    return markdown_table(["", *(column[0] for column in columns)], lines)


def _speedup(row: Row) -> str:
    text = f"{row.ratio:.1f}×"
    if row.ratio_huge_pages is not None:
        text += f" ({row.ratio_huge_pages:.1f}×)"
    return text + (f" < {row._target_text()}" if row.met is False else "")


def markdown(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    """Speed-ups by size, then every row."""
    parts = ["# Speed", f"{machine_line(facts)}. {_caption(rows)}."]
    for size in dict.fromkeys(row.size for row in rows):
        parts.append(f"## torch eager's time / ours, {size_label(size)} elements")
        if any(row.ratio_huge_pages is not None for row in rows if row.size == size):
            parts.append("In brackets: with THP_MEM_ALLOC_ENABLE=1, torch's huge pages.")
        parts.append(speedups(rows, size))
    parts += ["## Every row", markdown_table(COLUMNS, [row.cells() for row in rows], texts=3)]
    return "\n\n".join(parts) + "\n"


def write_json(path: Path, rows: Sequence[Row], points: Sequence[Point], facts: Any) -> None:
    content = {
        "machine": facts,
        "rows": [row.as_json() for row in rows],
        "chart": [asdict(point) for point in points],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def draw(path: Path, points: Sequence[Point], facts: dict[str, Any]) -> None:
    """GB/s by size: ours solid, torch's dashed, the copy's black."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for index, name in enumerate(dict.fromkeys(point.name for point in points)):
        chosen = [point for point in points if point.name == name]
        sizes = [point.size for point in chosen]
        color = f"C{index}"
        for style, label, times in (
            ("-", name, [point.ours for point in chosen]),
            ("--", None, [point.torch for point in chosen]),
        ):
            rates = [
                point.bytes_moved / time / 1e9 for point, time in zip(chosen, times, strict=True)
            ]
            axes.plot(sizes, rates, style, color=color, label=label, marker=".")
    copies = {point.size: point.bytes_moved / point.copy / 1e9 for point in points}
    axes.plot(list(copies), list(copies.values()), "k-", linewidth=2, label="copy")
    axes.plot([], [], "--", color="gray", label="torch eager")
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(copies), [size_label(size) for size in copies])
    axes.minorticks_off()
    axes.set_xlabel("elements, float32")
    axes.set_ylabel("GB/s, read and written")
    axes.set_title("Forward, no_grad: one read and one write")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.text(0.01, -0.02, machine_line(facts), fontsize=6)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    pyplot.close(figure)


if __name__ == "__main__":
    written = json.loads(Path(sys.argv[1]).read_text())
    print(f"{machine_line(written['machine'])}:\n")
    print(overview([Row.from_json(fields) for fields in written["rows"]]))

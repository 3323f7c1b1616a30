"""What is made of the GPU's measurements: which targets they meet, lines, a table and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Row = dict[str, Any]

TARGETS: dict[str, dict[str, float]] = {
    "losses": {"torch": 2.5, "torch.compile": 1.1, "liger-kernel": 1.3, "quack": 1.0},
    "linear": {"three products": 1 / 1.1},
    "rows": {"copy": 0.90},
    "small calls": {"torch": 1.0},
    "activations": {"copy": 0.92},
}
"""The speedup over each that ours has to reach."""


def verdicts(one: Row) -> dict[str, bool]:
    targets = TARGETS[one["group"]]
    return {
        other: times >= targets[other]
        for other, times in one["times_faster_than"].items()
        if other in targets
    }


def line(one: Row) -> str:
    met = verdicts(one)
    times = ", ".join(
        f"{'' if met.get(other, True) else 'MISSED '}{times:.2f}× {other}"
        for other, times in one["times_faster_than"].items()
    )
    ours = one["seconds"].get("ours", float("nan"))
    return f"{one['name']:32} {one['dtype']:9} {one['shape']!s:18} {ours * 1e6:9.1f} µs  {times}"


def table(facts: dict[str, str], found: list[Row]) -> str:
    """In Markdown: our time, and how many times it the others take."""
    others = list(dict.fromkeys(name for one in found for name in one["times_faster_than"]))
    lines = [
        "# On a GPU",
        "",
        ", ".join(f"{name} {value}" for name, value in facts.items()) + ".",
        "Speedups over the others (their median time over ours, interleaved, warm); `copy` is a",
        "copy of the same bytes. Bold: below the target in `benchmarks/cuda_report.py`.",
        "",
        "| | dtype | shape | µs | " + " | ".join(others) + " |",
        "|---|---|---|---:|" + "---:|" * len(others),
    ]
    for one in found:
        met = verdicts(one)
        ratios = []
        for other in others:
            times = one["times_faster_than"].get(other)
            shown = "" if times is None else f"{times:.2f}"
            ratios.append(shown if met.get(other, True) else f"**{shown}**")
        shape = one["shape"]
        size = " × ".join(f"{n:,}" for n in shape) if isinstance(shape, (list, tuple)) else shape
        ours = one["seconds"].get("ours", float("nan")) * 1e6
        cells = [one["name"], one["dtype"], str(size), f"{ours:,.1f}", *ratios]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(found: list[Row], path: Path, title: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [one for one in found if "copy" in one["times_faster_than"]]
    figure, axis = plt.subplots(figsize=(max(8, len(shown) / 6), 6), layout="constrained")
    labels = [f"{one['group']}: {one['name']}, {one['dtype']}" for one in shown]
    axis.plot([one["times_faster_than"]["copy"] for one in shown], "o")
    axis.set_xticks(range(len(shown)), labels, rotation=90, fontsize=5)
    axis.axhline(0.92, color="grey", linestyle="--")
    axis.set(ylabel="share of a copy's rate", ylim=(0, None), title=title)
    figure.savefig(path, dpi=120)
    plt.close(figure)

"""Times the activations on a GPU against torch's and a copy of the same bytes.

    python -m benchmarks.cuda [--size 64M] [--out DIR] [--device cuda]

Writes cuda.json, with the card, the driver and torch, and cuda.png. `--device cpu` tries the
program itself where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from rich.progress import track

from benchmarks.speed import ROOT, SUBJECTS, Problem, Subject, bytes_moved, parse_size
from benchmarks.targets import BACKWARD, FORWARD
from benchmarks.timing import Contender, copy_contender

SMALL = 4096
"""Elements of a tensor whose time is the call's."""
TARGET = 0.92
"""Of the rate of a copy, from 64 M elements on."""


def rounds(contenders: Mapping[str, Contender], device: str, count: int) -> dict[str, float]:
    """The median time of one run in seconds, measured on the device, all in turn."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(count + 3):
        for name, contender in contenders.items():
            seconds = _on_gpu(contender) if device == "cuda" else contender.turn(1)
            if turn >= 3:  # warm
                times[name].append(seconds)
    return {name: statistics.median(each) for name, each in times.items()}


def _on_gpu(contender: Contender) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    contender.run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def calls(contenders: Mapping[str, Contender], device: str, count: int = 1000) -> dict[str, float]:
    """Calls a second, the GPU's end awaited only once."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(7):
        for name, contender in contenders.items():
            contender.run()
            if device == "cuda":
                torch.cuda.synchronize()
            start = perf_counter()
            for _ in range(count):
                contender.run()
            if device == "cuda":
                torch.cuda.synchronize()
            rates[name].append(count / (perf_counter() - start))
    return {name: statistics.median(each) for name, each in rates.items()}


@torch.no_grad()
def measure(
    subject: Subject, mode: str, size: int, dtype: torch.dtype, device: str
) -> dict[str, Any]:
    moved = bytes_moved(mode, size, dtype.itemsize)
    with torch.device(device):  # not while the clock runs: it costs some microseconds a call
        large, small = (Problem(subject, count, dtype) for count in (size, SMALL))
        contenders = {
            "ours": large.contender(subject.ours, mode),
            "torch": large.contender(subject.torchs, mode),
            "copy": copy_contender(moved),
        }
        callers = {
            "ours": small.contender(subject.ours, mode),
            "torch": small.contender(subject.torchs, mode),
        }
    times = rounds(contenders, device, 15)
    rates = calls(callers, device, 1000 if device == "cuda" else 20)
    return {
        "activation": subject.name,
        "pass": mode,
        "dtype": str(dtype).removeprefix("torch."),
        "size": size,
        "seconds": times,
        "of_copy": times["copy"] / times["ours"],
        "calls_a_second": rates,
    }


def machine(device: str) -> dict[str, str]:
    facts = {"torch": torch.__version__, "cuda": str(torch.version.cuda)}
    if device == "cuda":
        facts["card"] = torch.cuda.get_device_name()
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True)
        facts["driver"] = driver.stdout.strip() or "unknown"
    return facts


def draw(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(11, 8), sharey=True, layout="constrained")
    for axis, mode in zip(axes, (FORWARD, BACKWARD), strict=True):
        of_mode = [row for row in rows if row["pass"] == mode]
        names = list(dict.fromkeys(row["activation"] for row in of_mode))
        for dtype in dict.fromkeys(row["dtype"] for row in of_mode):
            shares = {row["activation"]: row["of_copy"] for row in of_mode if row["dtype"] == dtype}
            axis.plot(names, [shares[name] for name in names], "o", label=dtype)
        axis.axhline(TARGET, color="grey", linestyle="--")
        axis.set(ylabel="share of a copy's rate", title=mode, ylim=(0, None))
        axis.tick_params(axis="x", rotation=60)
    axes[0].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", type=parse_size, default=2**26)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/cuda")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--only", type=lambda text: text.split(","), default=None)
    options = parser.parse_args()
    subjects = [s for s in SUBJECTS if options.only is None or s.name in options.only]
    jobs = [
        (subject, mode, dtype)
        for dtype in (torch.bfloat16, torch.float32)
        for mode in (FORWARD, BACKWARD)
        for subject in subjects
    ]
    rows = [
        measure(subject, mode, options.size, dtype, options.device)
        for subject, mode, dtype in track(jobs, description="activations")
    ]
    facts = machine(options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "cuda.json").write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")
    draw(rows, options.out / "cuda.png", facts.get("card", "no GPU"))
    for row in rows:
        rates = row["calls_a_second"]
        print(
            f"{row['activation']:16} {row['pass']:9} {row['dtype']:9} "
            f"{row['of_copy']:5.2f} of a copy, "
            f"{row['seconds']['torch'] / row['seconds']['ours']:5.2f}× torch, "
            f"small: {rates['ours'] / rates['torch']:5.2f}× torch's calls a second"
        )


if __name__ == "__main__":
    main()

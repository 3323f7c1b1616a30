"""Instructions per element and bytes in flight on a GPU, counted in the machine code.

    python -m benchmarks.instructions [--card sm_90]

Nothing is run; needs nvcc and nvdisasm (sass.py). A card moves so many bytes a second and issues so
many instructions: more of them for an element than its budget, and the memory has to wait. For the
pointwise sweep the shortest way through a block of packs is counted, prologue included; where a
branch depends on the numbers, the shorter side. For rows the longest way through a step of the main
loop.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from benchmarks.sass import ROOT, Kernel, kernels

RESULTS = ROOT / "benchmarks" / "results"
PASSES = ("forward", "backward", "curvature", "backward of the result", "curvature of the result")
SIZES = {"float": 4, "__nv_bfloat16": 2, "__half": 2}
NAMES = {"float": "float32", "__nv_bfloat16": "bfloat16", "__half": "float16"}
BYTES_A_SECOND = {"H100": 3.35e12, "H200": 4.8e12, "B200": 8.0e12}
CORES_AND_CLOCK = {
    "H100": (132 * 128, 1.755e9),
    "H200": (132 * 128, 1.755e9),
    "B200": (148 * 128, 1.85e9),
}
"""A core issues one instruction of a thread in each cycle."""
SHOWN = ("float", "__nv_bfloat16")
"""Of the shares; float16 is as bfloat16."""
PACKS = 2
"""That a thread of the pointwise sweep loads at once (kPacksAtOnce)."""
AHEAD = 4
"""That a thread of a row loads at once (kAhead)."""
PACK = 16

POINTWISE = re.compile(r"pointwise<\(activations_ext::Pass\)(\d), activations_ext::(\w+), (\w+)>")
ROW = re.compile(
    r"(row_statistics|row_statistics_backward|softmax_rows|softmax_backward_rows)<(.*?), "
    r"activations_ext::cuda::Team<(\d+), \(activations_ext::cuda::By\)0"
)


def share(card: str, instructions: float, moved: int) -> float:
    """Of the memory's rate that is left where an element of ``moved`` bytes takes so many."""
    cores, clock = CORES_AND_CLOCK[card]
    budget = cores * clock / BYTES_A_SECOND[card] * moved
    return min(1.0, budget / instructions)


def in_flight(kernel: Kernel, packs: int) -> float:
    """KB that a multiprocessor has asked for at once, as far as the registers go."""
    return kernel.threads() * packs * PACK / 1024


def pointwise_table(found: list[Kernel]) -> list[str]:
    rows: dict[tuple[str, int], dict[str, tuple[float, Kernel]]] = {}
    for kernel in found:
        match = POINTWISE.search(kernel.name)
        if match is None or match[3] not in SIZES:
            continue
        inputs = 1 if match[1] == "0" else 2
        # A pass may need one of its two inputs only: curvatures that are constant.
        ways = (
            kernel.shortest({"LDG.E.128": PACKS * read, "STG.E.EF.128": PACKS})
            for read in range(inputs, -1, -1)
        )
        way = next((way for way in ways if way is not None), None)
        if way is None:
            raise RuntimeError(f"{kernel.name} does not store {PACKS} packs")
        each = way / (PACKS * PACK // SIZES[match[3]])
        rows.setdefault((match[2], int(match[1])), {})[match[3]] = (each, kernel)
    cards = [f"{card} {NAMES[dtype]}" for card in BYTES_A_SECOND for dtype in SHOWN]
    columns = [*NAMES.values(), "KB in flight", *cards]
    lines = [
        f"| activation | pass | {' | '.join(columns)} |",
        "|---|---|" + "---:|" * len(columns),
    ]
    for (activation, which), row in sorted(rows.items()):
        inputs = 1 if which == 0 else 2
        counts = [f"{row[dtype][0]:.0f}" for dtype in NAMES]
        least = min(in_flight(kernel, PACKS * inputs) for _, kernel in row.values())
        shares = [
            share(card, row[dtype][0], SIZES[dtype] * (inputs + 1))
            for card in BYTES_A_SECOND
            for dtype in SHOWN
        ]
        cells = [f"{s:.2f}" if s == 1 else f"**{s:.2f}**" for s in shares]
        lines.append(
            f"| {activation} | {PASSES[which]} | {' | '.join(counts)} | {least:.0f} "
            f"| {' | '.join(cells)} |"
        )
    return lines


def main_loops(kernel: Kernel) -> list[range]:
    """The innermost loops that move packs from or to memory."""
    moving = [
        loop
        for loop in kernel.loops()
        if any(kernel.opcode(at).startswith(("LDG.E.128", "STG.E.EF.128")) for at in loop)
    ]
    return [
        loop
        for loop in moving
        if not any(loop != other and loop.start <= other.start < loop.stop for other in moving)
    ]


def row_table(found: list[Kernel]) -> list[str]:
    lines = [
        "| kernel | threads a row | registers | KB in flight | instructions an element, by loop |",
        "|---|---:|---:|---:|---|",
    ]
    for kernel in sorted(found, key=lambda kernel: kernel.name):
        match = ROW.search(kernel.name)
        if match is None:
            continue
        arguments = match[2].replace("activations_ext::", "").replace("cuda::", "")
        dtype = next(
            dtype for dtype in ("__nv_bfloat16", "__half", "double", "float") if dtype in arguments
        )
        numbers = AHEAD * PACK // SIZES.get(dtype, 8)
        loops = [loop for loop in main_loops(kernel) if has_loads(kernel, loop)]
        counts = ", ".join(f"{len(loop) / numbers:.0f}" for loop in loops) or "none: in registers"
        inputs = 2 if "gradient" in match[1] and "softmax" in match[1] else 1
        lines.append(
            f"| {match[1]}<{arguments}> | {match[3]} | {kernel.registers} "
            f"| {in_flight(kernel, AHEAD * inputs):.0f} | {counts} |"
        )
    return lines


def has_loads(kernel: Kernel, loop: range) -> bool:
    return any(kernel.opcode(at).startswith("LDG") for at in loop)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--card", default="sm_90")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    cuda = ROOT / "csrc/cuda"
    text = "\n".join(
        [
            f"# What the CUDA kernels would execute, {options.card}",
            "",
            "Counted in the machine code by `python -m benchmarks.instructions`; nothing was run.",
            "The last columns: the share of a card's memory rate that the instructions leave; bold",
            "where they are the limit.",
            "",
            *pointwise_table(list(kernels(cuda / "pointwise_kernels.cu", options.card))),
            "",
            "Rows of classes. An H100 has time for 35 instructions for a float32 element that is",
            "read, for 71 where it is written too, and for half as many in 16 bits.",
            "",
            *row_table(list(kernels(cuda / "row_kernels.cu", options.card))),
        ]
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "cuda-instructions.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

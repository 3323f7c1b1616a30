"""What a GPU executes for one element: the instructions of the pointwise sweep's loop, counted.

python -m benchmarks.instructions [--card sm_90]

Needs CUDA's nvcc and nvdisasm (which torch's triton brings along), but no GPU. An H100 moves 3 TB/s
and issues 28·10¹² float32 instructions a second: about 75 for a float32 element read and written,
38 for one of 16 bits, half as many again where two are read. Where a branch is left out, less is
executed than is counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PASSES = ("forward", "backward", "curvature", "backward of the result", "curvature of the result")
DTYPES = {"float": "float32", "__nv_bfloat16": "bfloat16", "__half": "float16"}
SIZES = {"float": 4, "__nv_bfloat16": 2, "__half": 2}
BUDGETS = {"float32": 75, "bfloat16": 38, "float16": 38}
KERNEL = re.compile(r"pointwise<\(activations_ext::Pass\)(\d), activations_ext::(\w+), (\w+)>")

Counts = dict[tuple[str, int], dict[str, float]]


def tool(name: str) -> str:
    """A program of CUDA's, on the PATH, in its usual place or inside of triton."""
    places = [Path("/usr/local/cuda/bin"), *sorted(Path("/usr/local").glob("cuda-*/bin"))]
    triton = importlib.util.find_spec("triton")
    if triton is not None and triton.origin is not None:
        places.append(Path(triton.origin).parent / "backends/nvidia/bin")
    found = shutil.which(name) or shutil.which(name, path=":".join(map(str, places)))
    if found is None:
        raise SystemExit(f"{name} was not found on the PATH, under /usr/local or in triton")
    return found


def disassembled(card: str) -> str:
    with tempfile.TemporaryDirectory() as directory:
        binary = f"{directory}/kernels.cubin"
        command = [tool("nvcc"), "-O3", "-std=c++20", "--expt-relaxed-constexpr", f"-arch={card}"]
        command += ["-cubin", str(ROOT / "csrc/cuda/pointwise_kernels.cu"), "-o", binary]
        subprocess.run(command, check=True)
        text = subprocess.run([tool("nvdisasm"), "-c", binary], capture_output=True, check=True)
    return text.stdout.decode()


def loop_length(code: str) -> int:
    """Instructions of the innermost loop that reads 16 bytes at once."""
    instructions: list[str] = []
    labels: dict[str, int] = {}
    loops: list[range] = []
    for line in code.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(instructions)
        elif instruction := re.match(r"\s*/\*[0-9a-f]+\*/\s+(.*?);", line):
            instructions.append(instruction[1])
            back = re.search(r"BRA.*`\((\.L_x_\d+)\)", instruction[1])
            if back and back[1] in labels:
                loops.append(range(labels[back[1]], len(instructions)))
    wide = [loop for loop in loops if any("LDG.E.128" in instructions[i] for i in loop)]
    return min(map(len, wide))


def count(text: str) -> Counts:
    """Instructions an element, by activation and pass, then by dtype."""
    sections = re.split(r"\n\s*\.section\s+\.text\.", text)[1:]
    names = "\n".join(section.split(",")[0].strip() for section in sections)
    plain = subprocess.run(["c++filt"], input=names, capture_output=True, text=True, check=True)
    counts: Counts = {}
    for section, name in zip(sections, plain.stdout.splitlines(), strict=True):
        kernel = KERNEL.search(name)
        if kernel and kernel[3] in DTYPES:
            in_pack = 16 // SIZES[kernel[3]]
            row = counts.setdefault((kernel[2], int(kernel[1])), {})
            row[DTYPES[kernel[3]]] = loop_length(section) / in_pack
    return counts


def report(counts: Counts, card: str) -> str:
    dtypes = list(BUDGETS)
    lines = [
        f"# Instructions an element of the CUDA pointwise sweep, {card}",
        "",
        "Counted in the machine code by `python -m benchmarks.instructions`; nothing was run.",
        "Bold: more than an H100 issues while it moves the element, in and out ("
        + ", ".join(f"{dtype} {budget}" for dtype, budget in BUDGETS.items())
        + "),",
        "or two in and one out (half as many again).",
        "",
        f"| activation | pass | {' | '.join(dtypes)} |",
        f"|---|---|{'---:|' * len(dtypes)}",
    ]
    for (activation, which), row in sorted(counts.items()):
        moved = 1.0 if PASSES[which] == "forward" else 1.5
        over = {dtype: row[dtype] > moved * BUDGETS[dtype] for dtype in dtypes}
        cells = [f"**{row[d]:.0f}**" if over[d] else f"{row[d]:.0f}" for d in dtypes]
        lines.append(f"| {activation} | {PASSES[which]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--card", default="sm_90")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    text = report(count(disassembled(options.card)), options.card)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "cuda-instructions.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()

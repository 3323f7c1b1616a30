"""Times cross_entropy against torch's and torch.compile's, and writes losses.md.

python -m benchmarks.losses [--seconds 2] [--out DIR]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as reference
from torch import Tensor

from activations_ext import cpu_capability
from activations_ext import functional as F
from benchmarks.timing import Contender, interleaved

RESULTS = Path(__file__).resolve().parent / "results"
SHAPES = ((2048, 32_000), (1024, 128_256), (4096, 1000), (8192, 10), (128, 10))
DTYPES = (torch.float32, torch.bfloat16)
Loss = Callable[[Tensor, Tensor], Tensor]


def times(shape: tuple[int, int], dtype: torch.dtype, both: bool, seconds: float) -> list[float]:
    """Milliseconds of ours, torch's and torch.compile's, forward or forward and backward."""
    target = torch.randint(0, shape[1], shape[:1])
    logits = torch.randn(shape, dtype=dtype).requires_grad_(both)

    def contender(loss: Loss) -> Contender:
        def run() -> None:
            result = loss(logits, target)
            if both:
                torch.autograd.grad(result, logits)

        return Contender(run)

    torch.compiler.reset()
    compiled = torch.compile(reference.cross_entropy)
    losses: dict[str, Loss] = {"ours": F.cross_entropy, "torch": reference.cross_entropy}
    losses["compiled"] = compiled
    measured = interleaved({name: contender(loss) for name, loss in losses.items()}, seconds)
    return [1e3 * measured[name] for name in losses]


def table(seconds: float) -> str:
    machine = f"{cpu_capability()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    lines = [
        f"# cross_entropy\n\n{machine}. Medians in milliseconds; ratios to ours.\n",
        "| logits | dtype | pass | ours | torch | torch.compile | torch / ours | compile / ours |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for shape in SHAPES:
        for dtype in DTYPES:
            for both in (False, True):
                ours, torchs, compiled = times(shape, dtype, both, seconds)
                row = [f"{shape[0]} × {shape[1]}", str(dtype).removeprefix("torch.")]
                row += ["forward+backward" if both else "forward"]
                row += [f"{value:.3f}" for value in (ours, torchs, compiled)]
                row += [f"{value / ours:.2f}" for value in (torchs, compiled)]
                lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row of the table")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    # Inductor's cache does not tell one ATEN_CPU_CAPABILITY from another (torch 2.13): what was
    # compiled for AVX-512 and is found again on AVX2 ends the process.
    with tempfile.TemporaryDirectory(prefix="inductor-") as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        text = table(arguments.seconds)
    print(text)
    (arguments.out / f"losses-{cpu_capability().lower()}.md").write_text(text)


if __name__ == "__main__":
    main()

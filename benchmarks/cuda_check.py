"""All that a GPU can say about the package, one step after another, in under nine minutes.

    python -m benchmarks.cuda_check

The suite on the GPU, compute-sanitizer's three tools on a short selection, the benchmark. Every
step is done even where one before has failed; check.json says how each went, and the logs lie
beside it. The exit status is 0 if all went well.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from benchmarks.cuda import machine

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "benchmarks/results/cuda"
PYTEST = [sys.executable, "-m", "pytest", "-q", "--device", "cuda", "-p", "no:cacheprovider"]
SHORT = [
    *("tests/test_cuda.py", "-k"),
    "gradients_at_every_start and (mish or relu or softshrink) or weights_gradient or seed",
]
"""What compute-sanitizer, which slows kernels down a hundredfold, looks at."""


def steps() -> dict[str, tuple[list[str], int]]:
    """Commands and the seconds that they may take: of nine minutes, what compiling leaves."""
    sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    look = [sanitizer, "--error-exitcode", "9", "--launch-timeout", "0", "--tool"]
    found = {"suite": ([*PYTEST, "tests"], 210)}
    for tool in ("memcheck", "racecheck", "initcheck"):
        found[tool] = ([*look, tool, *PYTEST, *SHORT], 40)
    found["benchmark"] = ([sys.executable, "-m", "benchmarks.cuda"], 100)
    return found


def run(command: list[str], seconds: int, log: Path) -> str:
    """ "passed", or what went wrong."""
    uncached = "sanitizer" in command[0]  # each tensor an allocation, so that its end is seen
    environment = {**os.environ, **({"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"} if uncached else {})}
    with log.open("w") as file:
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=file, stderr=file, timeout=seconds
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{type(error).__name__}: {error}"
    if done.returncode == 0:
        return "passed"
    last = log.read_text().strip().splitlines()[-1:]
    return f"exit status {done.returncode}: {''.join(last)}"


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    results = {}
    for name, (command, seconds) in steps().items():
        start = perf_counter()
        results[name] = {
            "result": run(command, seconds, OUT / f"{name}.log"),
            "command": " ".join(Path(part).name if "/" in part else part for part in command),
            "seconds": round(perf_counter() - start),
        }
        print(f"{name}: {results[name]['result']} ({results[name]['seconds']} s)", flush=True)
        # After each step: the session may end before the last.
        text = json.dumps({**machine("cuda"), "steps": results}, indent=1)
        (OUT / "check.json").write_text(text + "\n")
    sys.exit(any(step["result"] != "passed" for step in results.values()))


if __name__ == "__main__":
    main()

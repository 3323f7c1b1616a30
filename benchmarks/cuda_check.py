"""Everything to be learned from a GPU, in three commands of at most eight minutes each.

    make cuda-check-build     compiles for the card that is there; what it makes stays
    make cuda-check-test      the suite on the GPU, and compute-sanitizer's tools
    make cuda-check-bench     every target (cuda.py)

Every step is done even where one before has failed; check.json says how each went. The test and the
benchmark leave five files under benchmarks/results/cuda. The exit status is 0 if all went well.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from benchmarks.cuda import machine

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "benchmarks/results/cuda"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "-rfE"]

# What differs on a GPU: kernels, their launchers and the way there. Tests of the CPU's kernels, of
# other processes, of documentation and of compiled graphs say nothing about it.
SUITE = tuple(
    f"tests/test_{name}.py"
    for name in (
        *("cuda", "values", "parameters", "in_place", "autograd", "saved", "layouts"),
        *("prelu", "random", "rrelu", "serlu", "shift_dropout", "softmax", "losses", "mixture"),
        "gated",
        "mixture_limits",
        *("cross_entropy", "cross_entropy_beyond", "loss_rules", "loss_arguments"),
        *("linear_cross_entropy", "focal_loss", "likelihood", "autocast", "fallback"),
        *("errors", "hostile"),
    )
)
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
SUITE_SECONDS, SANITIZER_SECONDS, BENCHMARK_SECONDS = 260, 160, 420


class Step(NamedTuple):
    name: str
    command: list[str]
    seconds: int


class Outcome(NamedTuple):
    result: str
    seconds: float
    log: str


def suite() -> Step:
    """On half of the processors: each process takes GPU memory of its own."""
    processes = max(1, (os.cpu_count() or 1) // 2)
    shared = ["-n", str(processes)] if importlib.util.find_spec("xdist") else []
    chosen = ["--device", "cuda", "-m", "not compiler"]
    return Step("suite", [*PYTEST, *chosen, *shared, *SUITE], SUITE_SECONDS)


def sanitizers() -> list[Step]:
    """Each kind of kernel once, on small tensors: the tools are a hundred times slower."""
    program = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    look = [program, "--error-exitcode", "9", "--launch-timeout", "0", "--tool"]
    small = [*PYTEST, "tests/test_cuda.py", "-k", "every_kind_of_kernel"]
    return [Step(tool, [*look, tool, *small], SANITIZER_SECONDS) for tool in SANITIZERS]


def run(step: Step) -> Outcome:
    uncached = "sanitizer" in step.command[0]  # each tensor an allocation, so that its end is seen
    environment = {**os.environ, **({"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"} if uncached else {})}
    start = perf_counter()
    try:
        done = subprocess.run(
            step.command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=step.seconds,
            text=True,
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout or ""
        log = said.decode(errors="replace") if isinstance(said, bytes) else said
        return Outcome(f"stopped after {step.seconds} s", perf_counter() - start, log)
    except OSError as error:
        return Outcome(f"{type(error).__name__}: {error}", perf_counter() - start, "")
    last = (done.stdout.strip().splitlines() or [""])[-1]
    result = "passed" if done.returncode == 0 else f"exit status {done.returncode}"
    return Outcome(f"{result}: {last}", perf_counter() - start, done.stdout)


def record(log: str, outcomes: dict[str, Outcome]) -> None:
    """Written at once: the session may end before the next."""
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{log}.log").write_text(
        "\n".join(f"== {name}\n{outcome.log}" for name, outcome in outcomes.items())
    )
    path = OUT / "check.json"
    steps = json.loads(path.read_text())["steps"] if path.exists() else {}
    steps |= {
        name: {"result": outcome.result, "seconds": round(outcome.seconds)}
        for name, outcome in outcomes.items()
    }
    path.write_text(json.dumps({**machine("cuda"), "steps": steps}, indent=1) + "\n")
    for name, outcome in outcomes.items():
        print(f"{name}: {outcome.result} ({outcome.seconds:.0f} s)", flush=True)


def test() -> bool:
    tests = {"suite": run(suite())}
    record("suite", tests)
    with ThreadPoolExecutor() as pool:
        steps = sanitizers()
        found = dict(zip([step.name for step in steps], pool.map(run, steps), strict=True))
    record("sanitizers", found)
    return all(outcome.result.startswith("passed") for outcome in (tests | found).values())


def bench() -> bool:
    command = [sys.executable, "-m", "benchmarks.cuda", "--seconds", str(BENCHMARK_SECONDS)]
    outcome = run(Step("benchmark", command, BENCHMARK_SECONDS + 50))
    record("benchmark", {"benchmark": outcome})
    print(outcome.log)
    return outcome.result.startswith("passed")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("test", "bench"))
    options = parser.parse_args()
    sys.exit(not {"test": test, "bench": bench}[options.what]())


if __name__ == "__main__":
    main()

"""Random calls of every function against float64, and hostile ones of every operator.

A call follows from a seed. ``test_fuzz.py`` runs some of each in the suite; ``make fuzz`` runs
10^5 of each, in a process of its own, and names the seed of the first that fails or crashes:

    python tests/fuzz.py --calls 100000
    python tests/fuzz.py elu --calls 1 --seed 1234
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from fuzz_hostile import OPERATORS, check_hostile, check_lies
from fuzz_memory import GuardedMemory, Random
from fuzz_values import (
    check_activation,
    check_binary,
    check_cross_entropy,
    check_linear_cross_entropy,
    check_mixture,
    check_prelu,
    check_softmax,
)
from helpers import CASES

__all__ = ["CHECKS", "GuardedMemory", "main", "run"]

# --- all of them ----------------------------------------------------------------------------------

CHECKS: dict[str, Callable[[Random], None]] = {
    **{str(case): lambda r, case=case: check_activation(case, r) for case in CASES},
    "prelu": check_prelu,
    **{
        name: lambda r, name=name: check_softmax(name, r)
        for name in ("softmax", "softmin", "log_softmax", "logsumexp")
    },
    "cross_entropy": check_cross_entropy,
    "linear_cross_entropy": check_linear_cross_entropy,
    "binary_cross_entropy_with_logits": check_binary,
    "gaussian_mixture_nll_loss": check_mixture,
    **{name.replace("::", "."): lambda r, name=name: check_hostile(name, r) for name in OPERATORS},
    "hooks": check_lies,
}


def run(name: str, seed: int) -> None:
    CHECKS[name](Random(f"{name} {seed}"))


def _worker(name: str, first: int, calls: int, current: Any) -> None:
    faulthandler.enable()
    torch.set_num_threads(1)
    for seed in range(first, first + calls):
        current.value = seed
        run(name, seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="of CHECKS; all by default")
    parser.add_argument("--calls", type=int, default=100_000, help="of each")
    parser.add_argument("--seed", type=int, default=0, help="of the first call")
    options = parser.parse_args()
    failed = []
    for name in options.names or CHECKS:
        start, current = time.monotonic(), multiprocessing.get_context("fork").Value("q", -1)
        process = multiprocessing.get_context("fork").Process(
            target=_worker, args=(name, options.seed, options.calls, current)
        )
        process.start()
        process.join()
        seconds = time.monotonic() - start
        outcome = "ok" if process.exitcode == 0 else f"FAILED at --seed {current.value}"
        print(f"{name:45} {current.value + 1 - options.seed:8} calls {seconds:7.0f} s  {outcome}")
        sys.stdout.flush()
        if process.exitcode != 0:
            failed.append(name)
    print(f"{len(failed)} of {len(options.names or CHECKS)} failed")
    return min(len(failed), 1)


if __name__ == "__main__":
    raise SystemExit(main())

"""The sources of all CPU kernels under AddressSanitizer and UBSan, for every instruction set that
this processor has: ``make fuzz``, after the random calls."""

from __future__ import annotations

import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from helpers import CAPABILITIES, CAPABILITY_FLAGS, COMPILER, ROOT

NUMBERS = ("float", "double", "BFloat16", "Half")
FLAGS = (
    *("-std=c++20", "-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    *("-ffp-contract=off", "-I", str(ROOT / "csrc")),
)


def check(capability: str, number: str, directory: Path) -> str:
    """An empty text if all is well."""
    program = directory / f"{capability}-{number}"
    # Rows of every number are in one program.
    name = "rows_sanitized" if number == "rows" else "sweeps_sanitized"
    command = [*COMPILER, *FLAGS, *CAPABILITY_FLAGS[capability], f"-DSWEPT_NUMBER={number}"]
    command += [str(ROOT / f"tests/{name}.cpp"), "-o", str(program)]
    for step in (command, [str(program)]):
        result = subprocess.run(step, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            return result.stderr[-3000:]
    awake = subprocess.run([program, "overflow"], capture_output=True, text=True, check=False)
    return "" if "heap-buffer-overflow" in awake.stderr else "the sanitizer is asleep"


def main() -> int:
    failed = 0
    jobs = [(c, n) for c in CAPABILITIES for n in (*NUMBERS, "rows")]
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(2) as pool:
        start = time.monotonic()
        results = pool.map(lambda job: check(*job, Path(directory)), jobs)
        for (capability, number), error in zip(jobs, results, strict=True):
            seconds = time.monotonic() - start
            print(f"{capability:8} {number:9} {'FAILED' if error else 'clean':7} {seconds:5.0f} s")
            if error:
                print(error)
                failed += 1
    print(f"{failed} of {len(jobs)} failed")
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main())

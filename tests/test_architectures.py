"""The float kernels are accurate on every instruction set, other architectures' included.

They know no torch: a program of them and nothing else is compiled and run, for ARM in an emulator
where there is a cross compiler (Debian: g++-aarch64-linux-gnu, qemu-user).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from helpers import CAPABILITIES, CAPABILITY_FLAGS, COMPILER

ROOT = Path(__file__).resolve().parent.parent
CROSS = ["aarch64-linux-gnu-g++", "-static"]


def run_accuracy(compiler: list[str], emulator: list[str], program: Path) -> None:
    for tool in (compiler[0], *emulator):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    # As setup.py has it: contraction would make results depend on the instruction set.
    command = [*compiler, "-std=c++20", "-O2", "-ffp-contract=off", "-I", str(ROOT / "csrc")]
    command += [str(ROOT / "tests/kernels_accuracy.cpp"), "-o", str(program)]
    compiled = subprocess.run(command, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr[-3000:]
    result = subprocess.run([*emulator, str(program)], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "accurate\n"), result.stdout + result.stderr


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_this_machine(capability: str, tmp_path: Path) -> None:
    run_accuracy([*COMPILER, *CAPABILITY_FLAGS[capability]], [], tmp_path / "accuracy")


def test_arm(tmp_path: Path) -> None:
    run_accuracy(CROSS, ["qemu-aarch64"], tmp_path / "accuracy")

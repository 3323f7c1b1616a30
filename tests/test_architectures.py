"""The elementary functions and the float kernels are accurate on every instruction set, other
architectures' included.

They know no torch: a program of them and nothing else is compiled and run, for ARM in an emulator
where there is a cross compiler (Debian: g++-aarch64-linux-gnu, qemu-user).
"""

from __future__ import annotations

import shutil
import subprocess

import pytest

from helpers import CAPABILITIES, CAPABILITY_FLAGS, COMPILER, ROOT
from programs import compiled

pytestmark = pytest.mark.compiler
PROGRAMS = ("math", "kernels")
CROSS = ["aarch64-linux-gnu-g++", "-static"]


def run_accuracy(name: str, compiler: list[str], emulator: list[str]) -> None:
    for tool in (compiler[0], *emulator):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    # As setup.py has it: contraction would make results depend on the instruction set.
    command = [*compiler, "-std=c++20", "-O2", "-ffp-contract=off", "-I", str(ROOT / "csrc")]
    program, _ = compiled([*command, str(ROOT / f"tests/{name}_accuracy.cpp")])
    result = subprocess.run([*emulator, str(program)], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "accurate\n"), result.stdout + result.stderr


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_this_machine(capability: str, name: str) -> None:
    run_accuracy(name, [*COMPILER, *CAPABILITY_FLAGS[capability]], [])


@pytest.mark.parametrize("name", PROGRAMS)
def test_arm(name: str) -> None:
    run_accuracy(name, CROSS, ["qemu-aarch64"])

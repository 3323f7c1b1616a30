"""Nothing is read or written out of bounds: the kernels under AddressSanitizer and UBSan."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from helpers import CAPABILITIES, CAPABILITY_FLAGS, COMPILER, ROOT
from programs import compiled

pytestmark = pytest.mark.compiler


@pytest.mark.skipif(shutil.which(COMPILER[0]) is None, reason="no compiler")
@pytest.mark.parametrize("capability", sorted(set(CAPABILITIES) & {"avx2", "avx512"}))
def test_rows(capability: str) -> None:
    command = [*COMPILER, "-std=c++20", "-O0", "-g1", "-fsanitize=address,undefined"]
    command += ["-fno-sanitize-recover=all", "-ffp-contract=off", "-I", str(ROOT / "csrc")]
    command += [*CAPABILITY_FLAGS[capability], str(ROOT / "tests/rows_sanitized.cpp")]
    program, _ = compiled(command)
    awake = subprocess.run([program, "overflow", "more"], capture_output=True, text=True)
    assert "heap-buffer-overflow" in awake.stderr
    clean = subprocess.run([program], capture_output=True, text=True)
    assert (clean.returncode, clean.stdout) == (0, "clean\n"), clean.stderr[-3000:]

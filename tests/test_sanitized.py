"""Nothing is read or written out of bounds: the kernels under AddressSanitizer and UBSan."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from helpers import CAPABILITIES, CAPABILITY_FLAGS, COMPILER

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(shutil.which(COMPILER[0]) is None, reason="no compiler")
@pytest.mark.parametrize("capability", sorted(set(CAPABILITIES) & {"avx2", "avx512"}))
def test_rows_and_binary_losses(capability: str, tmp_path: Path) -> None:
    program = str(tmp_path / "rows")
    command = [*COMPILER, "-std=c++20", "-O0", "-g", "-fsanitize=address,undefined"]
    command += ["-fno-sanitize-recover=all", "-ffp-contract=off", "-I", str(ROOT / "csrc")]
    source = str(ROOT / "tests/rows_sanitized.cpp")
    command += [*CAPABILITY_FLAGS[capability], source, "-o", program]
    compiled = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in compiled.stderr and "asan" in compiled.stderr:
        pytest.skip("the compiler comes without its sanitizers")
    assert compiled.returncode == 0, compiled.stderr[-3000:]
    awake = subprocess.run([program, "overflow", "more"], capture_output=True, text=True)
    assert "heap-buffer-overflow" in awake.stderr
    clean = subprocess.run([program], capture_output=True, text=True)
    assert (clean.returncode, clean.stdout) == (0, "clean\n"), clean.stderr[-3000:]

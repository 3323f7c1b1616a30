"""``python -m activations_ext``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import activations_ext

pytestmark = pytest.mark.slow


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "activations_ext", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


PROGRAM = """
import sys, activations_ext, torch
if __name__ == "__main__":
    print(sys.argv[1:], len(activations_ext.replaced()))
    print(torch.tanh(torch.zeros(3)).tolist(), __file__.endswith("program.py"))
"""


def test_run(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    for how in (["program.py"], ["-m", "program"]):
        result = command("run", "--all", *how, "--flag", "x", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        first, second = result.stdout.splitlines()
        assert first.startswith("['--flag', 'x'] ")
        assert int(first.split()[-1]) > 40
        assert second == "[0.0, 0.0, 0.0] True"
    (tmp_path / "program.py").write_text("raise SystemExit(7)")
    assert command("run", "program.py", cwd=tmp_path).returncode == 7
    for wrong in (["run"], ["run", "-m"], []):
        assert command(*wrong).returncode == 2


def test_info() -> None:
    result = command("info")
    assert result.returncode == 0
    assert activations_ext.cpu_capability() in result.stdout
    assert activations_ext.__version__ in result.stdout
    assert "enable() replaces:" in result.stdout


def test_check() -> None:
    result = command("check")
    assert result.returncode == 0, result.stdout
    assert result.stdout.endswith("all is well\n")
    assert "WRONG" not in result.stdout


@pytest.mark.parametrize("op", ["gelu", "log_softmax"])
def test_bench(op: str) -> None:
    options = ("--shape", "16x32", "--dtype", "bf16", "--seconds", "0.05")
    result = command("bench", "--op", op, *options)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("times as fast") == 2

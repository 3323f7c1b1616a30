"""Each instruction set in turn: the same tests, in a process that was told to use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from activations_ext import cpu_capability
from helpers import ROOT, run_python

ORDER = ("default", "avx2", "avx512")

# Small and complete: values, gradients, special values, all 16-bit patterns, ends of vectors.
SELECTION = {
    "test_values.py": "two_ulp or sixteen or special_values or (gradient_equals and float32)",
    "test_half.py": "forward or _backward",
    "test_accuracy_tails.py": "",
    "test_layouts.py": "(every_size and float32 and (relu or gelu)) or nothing",
}


def available() -> tuple[str, ...]:
    best = torch.backends.cpu.get_cpu_capability().lower()
    if best not in ORDER:
        return ("default",)
    if os.environ.get("ATEN_CPU_CAPABILITY"):
        return (best,)
    return ORDER[: ORDER.index(best) + 1]


def test_the_best_is_chosen() -> None:
    """The one that torch itself has chosen."""
    best = torch.backends.cpu.get_cpu_capability()
    assert cpu_capability() == (best if best.lower() in ORDER else "DEFAULT")


@pytest.mark.parametrize("capability", available())
def test_the_environment_decides(capability: str) -> None:
    code = "import activations_ext; print(activations_ext.cpu_capability())"
    assert run_python(code, ATEN_CPU_CAPABILITY=capability).strip() == capability.upper()


@pytest.mark.parametrize("file", SELECTION)
@pytest.mark.parametrize("capability", [c for c in available() if c != available()[-1]])
def test_core_tests_pass(capability: str, file: str) -> None:
    """The best one is what the rest of the suite runs on."""
    tests = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += (
        [str(tests / file), "-k", SELECTION[file]] if SELECTION[file] else [str(tests / file)]
    )
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        command,
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-1000:]
    assert " passed" in process.stdout


AGREEMENT = """
import sys, torch
from helpers import CASES, DTYPES, sample
results = {}
for case in CASES:
    for dtype in DTYPES:
        x = sample(5003, dtype)
        results[str(case), dtype] = (
            case(x), case.operator("_backward")(torch.ones_like(x), x, *case.parameters)
        )
torch.save(results, sys.argv[1])
"""


def test_instruction_sets_agree_with_each_other(tmp_path: Path) -> None:
    """float64 goes through the same C library: equal but for contracted products. Others: a few
    ULP of the largest term apart, as their products and sums may or may not be fused."""
    if len(available()) == 1:
        pytest.skip("this machine has one instruction set")
    results = []
    for capability in available():
        path = tmp_path / capability
        run_python(AGREEMENT, str(path), ATEN_CPU_CAPABILITY=capability)
        results.append(torch.load(path))
    for other in results[1:]:
        assert other.keys() == results[0].keys()
        for (case, dtype), tensors in results[0].items():
            eps = torch.finfo(dtype).eps
            for ours, theirs in zip(tensors, other[case, dtype], strict=True):
                torch.testing.assert_close(
                    ours,
                    theirs,
                    rtol=8 * eps,
                    atol=8 * eps,
                    equal_nan=True,
                    msg=f"{case}, {dtype}",
                )

"""Each instruction set in turn: the same tests, in a process that was told to use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from activations_ext import cpu_capability
from activations_ext._kernels import choose_capability
from helpers import CAPABILITIES, ROOT, run_python

# Small and complete: values, gradients, special values, all 16-bit patterns, ends of vectors.
SELECTION = {
    "test_values.py": "two_ulp or sixteen or special_values or (gradient_equals and float32)",
    "test_half.py": "forward or _backward",
    "test_accuracy_tails.py": "",
    "test_layouts.py": "(every_size and float32 and (relu or gelu)) or nothing",
}


def available() -> tuple[str, ...]:
    """This process's own last: the rest of the suite runs on it."""
    return CAPABILITIES[: CAPABILITIES.index(cpu_capability().lower()) + 1]


def test_the_best_is_chosen() -> None:
    """The one that torch itself has chosen, where the processor runs it."""
    wanted = torch.backends.cpu.get_cpu_capability().lower()
    runs = wanted in CAPABILITIES or wanted not in ("avx2", "avx512")
    assert not runs or cpu_capability() == (wanted.upper() if wanted in CAPABILITIES else "DEFAULT")


@pytest.mark.parametrize(
    ("wanted", "supported", "expected"),
    [
        ("AVX512", ("DEFAULT", "AVX2"), "AVX2"),
        ("AVX512", ("DEFAULT",), "DEFAULT"),
        ("AVX2", ("DEFAULT",), "DEFAULT"),
    ],
)
def test_what_the_processor_does_not_run_is_not_loaded(
    wanted: str, supported: tuple[str, ...], expected: str
) -> None:
    with pytest.warns(RuntimeWarning, match=rf"{wanted}.*processor.*{expected}"):
        assert choose_capability(wanted, supported) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"), [("AVX512", "AVX512"), ("AVX2", "AVX2"), ("SVE256", "DEFAULT")]
)
def test_what_it_runs_is_loaded_without_a_word(
    wanted: str, expected: str, recwarn: pytest.WarningsRecorder
) -> None:
    assert choose_capability(wanted, ("DEFAULT", "AVX2", "AVX512")) == expected
    assert not recwarn


def test_asking_for_more_than_the_processor_has() -> None:
    """In a process of its own: a result, and one warning where it has not."""
    code = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import activations_ext
ours = [w for w in caught if "activations_ext" in str(w.message)]
import torch, activations_ext.functional as F
F.gelu(torch.ones(100))
print(activations_ext.cpu_capability().lower(), len(ours))
"""
    expected = (CAPABILITIES[-1], "0" if CAPABILITIES[-1] == "avx512" else "1")
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2", "AVX512"):
        assert tuple(run_python(code, ATEN_CPU_CAPABILITY="avx512").split()) == expected


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

"""Some of ``make fuzz``'s random calls. A seed that failed there is given as an @example here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fuzz
from helpers import CASES

HOSTILE = [name for name in fuzz.CHECKS if name.startswith("activations_ext.")]
VALUES = [name for name in fuzz.CHECKS if name not in HOSTILE]
seeds = st.integers(0, 2**40)


@pytest.mark.parametrize("name", VALUES)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(seeds)
@pytest.mark.slow
def test_random_calls(name: str, seed: int) -> None:
    fuzz.run(name, seed)


@pytest.mark.parametrize("name", HOSTILE)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(seeds)
def test_hostile_calls(name: str, seed: int) -> None:
    fuzz.run(name, seed)


def test_every_function_and_operator_is_there() -> None:
    assert len(VALUES) > len(CASES) + 8
    assert {"activations_ext.row_statistics", "activations_ext.elu_backward"} < set(HOSTILE)


def test_a_wrong_value_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import activations_ext.functional as F

    right = F.cross_entropy
    monkeypatch.setattr(F, "cross_entropy", lambda *a, **k: right(*a, **k) * 1.001)

    def until_it_fails() -> None:
        for seed in range(50):
            fuzz.run("cross_entropy", seed)

    with pytest.raises(AssertionError, match=r"value|gradient"):
        until_it_fails()


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.slow
def test_guard_pages_end_a_process_that_touches_them(at_end: bool) -> None:
    code = f"""
import ctypes, torch, fuzz
memory = fuzz.GuardedMemory()
tensor = memory.holding(torch.ones(5), at_end={at_end})
assert tensor.sum() == 5
ctypes.string_at(tensor.data_ptr() + ({20 if at_end else -1}), 1)
"""
    tests = str(Path(__file__).parent)
    touched = subprocess.run([sys.executable, "-c", code], cwd=tests, capture_output=True)
    assert touched.returncode == -11


@pytest.mark.slow
def test_the_command_names_the_seed() -> None:
    command = [sys.executable, str(Path(fuzz.__file__)), "elu", "hooks", "--calls=3", "--seed=5"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(" 3 calls") == 2
    assert "0 of 2 failed" in result.stdout

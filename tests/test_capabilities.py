"""How the instruction set is chosen, and that all of them agree. The tests marked
``each_capability`` run on each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from activations_ext import cpu_capability
from activations_ext._kernels import choose_capability
from helpers import (
    CAPABILITIES,
    CASES,
    DTYPES,
    kernels_of,
    own_capabilities,
    results_by_capability,
    run_python,
    sample,
)


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


@pytest.mark.slow
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


@pytest.mark.parametrize("capability", own_capabilities())
@pytest.mark.slow
def test_the_environment_decides(capability: str) -> None:
    code = "import activations_ext; print(activations_ext.cpu_capability())"
    assert run_python(code, ATEN_CPU_CAPABILITY=capability).strip() == capability.upper()


def test_the_kernels_can_be_switched() -> None:
    own = cpu_capability()
    for capability in own_capabilities():
        with kernels_of(capability):
            assert cpu_capability() == capability.upper()
    assert cpu_capability() == own


def values_and_gradients() -> Iterator[Tensor]:
    for case in CASES:
        for dtype in DTYPES:
            x = sample(5003, dtype)
            yield case(x)
            yield case.operator("_backward")(torch.ones_like(x), x, *case.parameters)


def test_instruction_sets_agree_with_each_other() -> None:
    """float64 goes through the same C library: equal but for contracted products. Others: a few
    ULP of the largest term apart, as their products and sums may or may not be fused."""
    if len(own_capabilities()) == 1:
        pytest.skip("this machine has one instruction set")
    results = results_by_capability(values_and_gradients)
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            eps = torch.finfo(ours.dtype).eps
            torch.testing.assert_close(ours, theirs, rtol=8 * eps, atol=8 * eps, equal_nan=True)

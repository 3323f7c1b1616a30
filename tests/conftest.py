"""Fixtures of every test: one seed, and the number of threads put back. The device of the tests.

With `pytest --device cuda` the same tests create their tensors on a GPU.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import types
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

# Inductor's cache does not tell one ATEN_CPU_CAPABILITY from another (torch 2.13): code made for
# AVX2, found again and compiled with AVX-512, writes beyond the end of its buffers.
_cache = tempfile.TemporaryDirectory(prefix="inductor-")
os.environ["TORCHINDUCTOR_CACHE_DIR"] = _cache.name

# torch's own samples and opcheck import it for tests that ours have none of, and torch does not
# depend on it.
if importlib.util.find_spec("expecttest") is None:
    sys.modules["expecttest"] = types.SimpleNamespace(TestCase=unittest.TestCase)  # type: ignore[assignment]

# The tests compile to see our operators in the graph; test_compiled_choice.py sees to the default.
os.environ["ACTIVATIONS_EXT_COMPILED"] = "ours"


from helpers import kernels_of, own_capabilities  # noqa: E402 - torch reads the environment

ONLY_ON_CPU = (
    *("architectures", "benchmarks", "build", "capabilities", "compile", "compiled_choice"),
    *(
        "cuda_sources",
        "export",
        "half",
        "inductor",
        "large_blocks",
        "memory",
        "minimax",
        "readme",
        "sanitized",
    ),
)
"""Test files about the CPU's kernels, the sources or other processes. A GPU does not round 16 bits
from the same float32: test_cuda.py has every pattern for it."""


LONG = ("compiler", "slow")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", help="where tensors are made that name no device")


def pytest_configure(config: pytest.Config) -> None:
    if device := config.getoption("--device"):
        torch.set_default_device(device)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On the instruction sets below this process's own too, where a test asks for each. A GPU has
    only one."""
    if metafunc.definition.get_closest_marker("each_capability"):
        *others, own = own_capabilities()
        if metafunc.config.getoption("--device"):
            others = []
        marked = [pytest.param(name, marks=pytest.mark.other_capability) for name in others]
        metafunc.parametrize("capability", [own, *marked], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: several processes then end at about the same time."""
    items.sort(
        key=lambda item: next(
            (i for i, m in enumerate(LONG) if item.get_closest_marker(m)), len(LONG)
        )
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    name = collection_path.stem.removeprefix("test_")
    return True if config.getoption("--device") and name in ONLY_ON_CPU else None


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def capability(request: pytest.FixtureRequest) -> Iterator[str]:
    """The instruction set of our kernels in this test: this process's own, unless the test is
    marked ``each_capability``."""
    own = own_capabilities()[-1]
    wanted = getattr(request, "param", own)
    if wanted == own:
        yield own
        return
    with kernels_of(wanted):
        yield wanted


@pytest.fixture
def no_vmap_fallback() -> Iterator[None]:
    """vmap's slow loop over the batch is an error instead of a warning."""
    functorch: Any = torch._C._functorch
    functorch._set_vmap_fallback_enabled(False)
    yield
    functorch._set_vmap_fallback_enabled(True)


@pytest.fixture
def disabled_afterwards() -> Iterator[None]:
    """torch's own kernels are back after a test of ``enable()``."""
    import activations_ext

    yield
    activations_ext.disable()
    assert activations_ext.replaced() == ()

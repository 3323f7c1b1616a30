"""What the tests share: the cases of the registry, inputs and comparisons."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from activations_ext import _C
from activations_ext._kernels import cpu_capability, use_kernels
from activations_ext.registry import ACTIVATIONS, Activation
from cases import BOUNDED, KINKS, OTHERS, SAVES_RESULT, SAVES_RESULT_IN_PLACE

CAPABILITIES = tuple(name.lower() for name in _C.supported_capabilities())
COMPILER = shlex.split(os.environ.get("CXX", "c++"))
CAPABILITY_FLAGS = {
    "default": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c"],
}
"""What ATEN_CPU_CAPABILITY may be on this processor, the best last."""

ROOT = Path(__file__).resolve().parent.parent
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def rounded_parameters(
    name: str, parameters: tuple[float, ...], dtype: torch.dtype
) -> tuple[float, ...]:
    """Bounds as ``dtype`` holds them, what else is compared as the type that computes does."""
    if name not in BOUNDED:
        return parameters
    computes = torch.float64 if dtype == torch.float64 else torch.float32
    return tuple(
        torch.tensor(value, dtype=dtype if i in BOUNDED[name] else computes).item()
        for i, value in enumerate(parameters)
    )


@dataclass(frozen=True)
class Case:
    """An activation together with the values of its parameters."""

    activation: Activation
    parameters: tuple[float, ...]

    @property
    def name(self) -> str:
        return self.activation.name

    @property
    def is_default(self) -> bool:
        return self.parameters == tuple(self.activation.defaults.values())

    @property
    def saves_result(self) -> bool:
        return self.name in SAVES_RESULT

    @property
    def saves_result_in_place(self) -> bool:
        return self.name in SAVES_RESULT_IN_PLACE and SAVES_RESULT_IN_PLACE[self.name](
            *self.parameters
        )

    @property
    def kinks(self) -> tuple[float, ...]:
        return KINKS[self.name](*self.parameters) if self.name in KINKS else ()

    def rounded(self, dtype: torch.dtype) -> Case:
        """With the parameters that the kernels for ``dtype`` compare its numbers with."""
        return Case(self.activation, rounded_parameters(self.name, self.parameters, dtype))

    def __call__(self, input: Tensor, **keywords: Any) -> Tensor:
        return self.activation.function(input, *self.parameters, **keywords)

    def reference(self, input: Tensor) -> Tensor:
        if self.name in ("hardsigmoid", "hardswish") and input.is_cuda:
            # whose 1/6 is a float32 in torch's kernels for float64
            gate = torch.nn.functional.relu6(input + 3) / 6
            return gate if self.name == "hardsigmoid" else input * gate
        return self.activation.reference(input, *self.parameters)

    def differentiable_reference(self, input: Tensor) -> Tensor:
        """The same, but for what torch's own derivatives lack: hardsigmoid has no second one and a
        first one with 1/6 rounded to float32, celu's have 1/alpha rounded to float32."""
        if self.name == "hardsigmoid":
            return torch.nn.functional.relu6(input + 3) / 6
        if self.name == "celu":
            (alpha,) = self.parameters
            # clamp's derivative at its bound is 1 up to torch 2.13 and 0 from 2.14 on
            below = torch.where(input > 0, 0.0, input)
            return torch.where(input > 0, input, alpha * torch.expm1(below / alpha))
        return self.reference(input)

    def operator(self, suffix: str = "") -> Any:
        """The operator ``name``, ``name_backward`` or ``name_curvature`` itself."""
        return getattr(torch.ops.activations_ext, self.name + suffix).default

    def __str__(self) -> str:
        if self.is_default:
            return self.name
        return f"{self.name}({','.join(f'{value:g}' for value in self.parameters)})"


def device_type() -> str:
    """Where tensors are made: see conftest.py."""
    return torch.get_default_device().type


def rng_state() -> Tensor:
    """Of the default generator there."""
    return torch.cuda.get_rng_state() if device_type() == "cuda" else torch.get_rng_state()


def set_rng_state(state: Tensor) -> None:
    (torch.cuda if device_type() == "cuda" else torch).set_rng_state(state)


def torch_lacks(name: str) -> bool:
    """There is a formula of several operators in the place of a function of torch."""
    return not hasattr(torch.nn.functional, name) and not hasattr(torch, name)


def _cases() -> Iterable[Case]:
    for activation in ACTIVATIONS:
        for parameters in (tuple(activation.defaults.values()), *OTHERS.get(activation.name, ())):
            yield Case(activation, parameters)


CASES = tuple(_cases())
DEFAULT_CASES = tuple(case for case in CASES if case.is_default)
INPLACE_CASES = tuple(case for case in CASES if case.activation.inplace)


def case_of(name: str, *parameters: float) -> Case:
    """The case of that name, with its default parameters or with others."""
    case = next(case for case in DEFAULT_CASES if case.name == name)
    return Case(case.activation, parameters) if parameters else case


DEVICE = torch.get_default_device().type
MOST_ULP = {"cpu": (0.51, 2.0), "cuda": (1.0, 4.0)}[DEVICE]
"""Errors of 16 bits, and of float32 where torch's are no larger. A GPU has 16 bits from its
special function unit, whose results may be the neighbour of the nearest, and float32 from CUDA's
library."""


def drawn(draw: Callable[[torch.Generator], Tensor], seed: int = 0) -> Tensor:
    """What ``draw`` makes on the CPU, on the device of the tests: the same numbers on each."""
    with torch.device("cpu"):
        numbers = draw(torch.Generator().manual_seed(seed))
    return numbers.to(torch.get_default_device())


def sample(count: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Numbers of every size that matters: normal, wide, near 0, and integers and halves, on which
    kinks lie."""

    def draw(random: torch.Generator) -> Tensor:
        quarter = count // 4
        normal = torch.randn(count - 3 * quarter, dtype=torch.float64, generator=random)
        wide = torch.rand(quarter, dtype=torch.float64, generator=random) * 60 - 30
        exponent = torch.rand(quarter, dtype=torch.float64, generator=random) * -37
        small = 10**exponent * torch.randn(quarter, dtype=torch.float64, generator=random).sign()
        round_ = torch.randint(-14, 15, (quarter,), generator=random).double() / 2
        values = torch.cat([normal, wide, small, round_])
        return values[torch.randperm(count, generator=random)].to(dtype)

    return drawn(draw, seed)


def away_from_kinks(case: Case, shape: tuple[int, ...] = (2, 3), seed: int = 0) -> Tensor:
    """Float64 numbers in [−4, 4], none nearer than 0.05 to a kink: finite differences hold."""
    values = drawn(lambda g: torch.rand(shape, dtype=torch.float64, generator=g) * 8 - 4, seed)
    for kink in case.kinks:
        near = (values - kink).abs() < 0.05
        values = torch.where(near, values + 0.1, values)
    return values.requires_grad_()


def rounding_unit(values: Tensor, dtype: torch.dtype) -> Tensor:
    """One ULP of ``dtype`` at each float64 number."""
    limits = torch.finfo(dtype)
    exponent = torch.frexp(values.abs().clamp(limits.smallest_normal, limits.max))[1] - 1
    return torch.ldexp(torch.full_like(values, limits.eps), exponent)


def ulp_errors(actual: Tensor, exact: Tensor, slack: Tensor | float = 0.0) -> Tensor:
    """Errors of ``actual`` in ULP of its dtype against float64 numbers that are themselves right
    to within ``slack``. NaN against NaN is 0, NaN against a number is infinite."""
    value = actual.detach().double()
    # An exact value that rounds to infinity is infinite in the dtype.
    rounded = exact.to(actual.dtype).double()
    target = torch.where(rounded.isinf(), rounded, exact)
    excess = ((value - target).abs() - slack).clamp_min(0.0)
    errors = excess / rounding_unit(exact, actual.dtype)
    same = (value == target) | (value.isnan() & exact.isnan())
    errors = torch.where(same, 0.0, errors)
    return torch.where(errors.isnan(), float("inf"), errors)


def assert_same_bits(actual: Tensor | None, expected: Tensor | None, message: str = "") -> None:
    """Equal to the last bit, the sign of zero included; any NaN equals any other."""
    assert actual is not None
    assert expected is not None
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    size = torch.finfo(actual.dtype).bits // 8
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
    a, b = actual.detach().contiguous(), expected.detach().contiguous()
    wrong = (a.view(integer) != b.view(integer)) & ~(a.isnan() & b.isnan())
    if wrong.any():
        first = tuple(wrong.nonzero()[0].tolist())
        raise AssertionError(
            f"{message}{int(wrong.sum())} of {wrong.numel()} differ, the first at {first}: "
            f"{a[first].item()!r} instead of {b[first].item()!r}"
        )


BY_PIECES = {
    *("sigmoid", "tanh", "logsigmoid", "softplus", "gelu", "gelu_tanh", "silu", "mish"),
    "tanhshrink",  # its slope is made of tanh
}
"""Functions whose eager kernels look polynomials up on some instruction set; compiled loops do
not."""


def assert_agrees(case: Case, actual: Tensor, expected: Tensor, atol: float = 0.0) -> None:
    """The eager kernel's bits, or as near as two results with 2.5 ULP of error each can be."""
    if case.name not in BY_PIECES:
        assert_same_bits(actual, expected, f"{case}: ")
        return
    ulp = max(2.5e-7, torch.finfo(actual.dtype).eps)
    rtol = 2 * ulp if actual.dtype == torch.float32 else ulp
    atol = max(atol, torch.finfo(actual.dtype).smallest_normal * ulp)  # of subnormal numbers
    torch.testing.assert_close(
        actual, expected, rtol=rtol, atol=atol, equal_nan=True, msg=lambda text: f"{case}: {text}"
    )
    zero = (actual == 0) & (expected == 0)
    assert torch.equal(actual[zero].signbit(), expected[zero].signbit())


def gradient(function: Callable[[Tensor], Tensor], input: Tensor, grad_output: Tensor) -> Tensor:
    """The gradient at ``input``, in its own layout, of a function applied to it."""
    leaf = input.detach().requires_grad_()
    (result,) = torch.autograd.grad(function(leaf), leaf, grad_output)
    return result


def in_place_gradient(case: Case, input: Tensor, grad_output: Tensor) -> Tensor:
    """What the in-place form's must be: from the result, where that is what torch saves."""
    if not case.saves_result_in_place:
        return gradient(case, input, grad_output)
    saved = case(input)
    result: Tensor = case.operator("_backward")(grad_output, saved, *case.parameters, True)
    return result


def run_python(code: str, *arguments: str, **environment: str) -> str:
    """The output of a fresh interpreter that runs ``code`` and can import the tests' modules."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, f"exit status {process.returncode}\n{process.stderr[-3000:]}"
    return process.stdout


def own_capabilities() -> tuple[str, ...]:
    """The instruction sets up to this process's own, which is the last."""
    return CAPABILITIES[: CAPABILITIES.index(cpu_capability().lower()) + 1]


@contextmanager
def kernels_of(capability: str) -> Iterator[None]:
    """Our kernels are those of another instruction set, one of CAPABILITIES."""
    own = cpu_capability()
    use_kernels(capability.upper())
    try:
        yield
    finally:
        use_kernels(own)


def results_by_capability(results: Callable[[], Iterable[Tensor]]) -> list[list[Tensor]]:
    """What ``results`` returns on each instruction set of this process."""
    by_capability = []
    for capability in own_capabilities():
        with kernels_of(capability):
            by_capability.append(list(results()))
    return by_capability

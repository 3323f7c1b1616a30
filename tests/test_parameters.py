"""The numbers beside the tensor: what is read as one, and what each dtype can hold."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from activations_ext import functional as F
from helpers import (
    DEFAULT_CASES,
    DTYPES,
    Case,
    assert_same_bits,
    case_of,
    device_type,
    gradient,
    run_python,
    sample,
)

pytestmark = pytest.mark.each_capability

WITH_PARAMETERS = [case for case in DEFAULT_CASES if case.parameters]
EVERY_PARAMETER = [
    (case, position) for case in WITH_PARAMETERS for position in range(len(case.parameters))
]
every_parameter = pytest.mark.parametrize(
    ("case", "position"), EVERY_PARAMETER, ids=[f"{c}-{p}" for c, p in EVERY_PARAMETER]
)


def replaced(case: Case, position: int, value: Any) -> list[Any]:
    parameters: list[Any] = list(case.parameters)
    parameters[position] = value
    return parameters


@every_parameter
@pytest.mark.compiler
def test_a_parameter_that_wants_a_gradient_is_refused(case: Case, position: int) -> None:
    """Read as a number it would never train. torch refuses it too, eager and compiled."""
    parameters = replaced(case, position, torch.nn.Parameter(torch.tensor(0.5)))
    name = list(case.activation.defaults)[position]
    for requires_grad in (False, True):
        x = sample(3).requires_grad_(requires_grad)
        with pytest.raises(TypeError):
            case.activation.reference(x, *parameters)
        with pytest.raises(TypeError, match=rf"{case.name}.*'{name}'.*number.*gradient"):
            case.activation.function(x, *parameters)
    torch._dynamo.reset()
    compiled = torch.compile(case.activation.function, fullgraph=True, backend="aot_eager")
    with pytest.raises(Exception, match=case.name):
        compiled(sample(3), *parameters)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("position", [0, 1])
def test_so_is_that_of_the_random_ones(position: int, training: bool) -> None:
    bounds: list[Any] = [0.1, 0.3]
    bounds[position] = torch.nn.Parameter(torch.tensor(0.2))
    with pytest.raises(TypeError, match=rf"rrelu.*'{('lower', 'upper')[position]}'.*gradient"):
        F.rrelu(sample(3), *bounds, training=training)
    with pytest.raises(TypeError, match=r"shift_dropout.*'(p|minimum)'.*gradient"):
        F.shift_dropout(sample(3), *([0.5, bounds[1]] if position else [bounds[0], -1.0]))


@every_parameter
def test_what_torch_reads_as_a_number_is_read(case: Case, position: int) -> None:
    x = sample(20)
    for value in (1, True, np.float32(0.75), np.float64(0.75), np.int64(2), torch.tensor(0.75)):
        parameters = replaced(case, position, value)
        if case.name == "hardtanh":
            parameters = [value, 5.0] if position == 0 else [-5.0, value]
        expected = case.activation.reference(x, *parameters)
        torch.testing.assert_close(case.activation.function(x, *parameters), expected)


@every_parameter
def test_what_it_does_not_is_refused(case: Case, position: int) -> None:
    name = list(case.activation.defaults)[position]
    for value in (Fraction(1, 2), torch.tensor([0.5]), "1", 1j, 10**30):
        parameters = replaced(case, position, value)
        if case.name == "hardtanh" and isinstance(value, int):
            parameters = [value, math.inf] if position == 0 else [-1.0, value]
        with pytest.raises((TypeError, OverflowError, RuntimeError)) as theirs:
            case.activation.reference(sample(3), *parameters)
        with pytest.raises((TypeError, OverflowError, RuntimeError), match=f"'{name}'|too big"):
            case.activation.function(sample(3), *parameters)
        assert theirs.type is not None


@every_parameter
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_too_large_for_the_dtype(case: Case, position: int, dtype: torch.dtype) -> None:
    """torch's value or torch's type of error, for 1e300 and for 1e5 (too large for float16)."""
    x = sample(20, dtype)
    for value in (1e300, 1e5):
        parameters = replaced(case, position, value)
        if case.name == "hardtanh" and position == 0:
            parameters[1] = math.inf
        try:
            expected = case.activation.reference(x, *parameters)
        except RuntimeError:
            with pytest.raises(RuntimeError, match=rf"{case.name}.*(overflow|finite)"):
                case.activation.function(x, *parameters)
            with pytest.raises(RuntimeError):
                case.activation.function(x.to("meta"), *parameters)
        else:
            result = case.activation.function(x, *parameters)
            torch.testing.assert_close(result, expected, equal_nan=True)
            assert dtype == torch.float64 or value == 1e5
    if case.name in ("hardtanh", "threshold", "hardshrink") and dtype == torch.float16:
        with pytest.raises(RuntimeError, match="overflow"):
            case.activation.function(x, *replaced(case, len(case.parameters) - 1, 1e5))


def test_too_large_for_the_random_ones() -> None:
    """Their numbers are drawn between bounds that float32 holds."""
    for x in (sample(5), sample(5, torch.bfloat16), sample(5).to("meta")):
        for inplace in (False, True):
            with pytest.raises(RuntimeError, match=r"rrelu.*'upper'.*overflow"):
                F.rrelu(x, 0.1, 1e300, training=True, inplace=inplace)
            with pytest.raises(RuntimeError, match=r"shift_dropout.*'minimum'.*overflow"):
                F.shift_dropout(x, 0.5, -1e300, inplace=inplace)
    assert F.rrelu(sample(5).double(), 0.1, 1e300, training=True).dtype == torch.float64


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("alpha", [math.inf, -math.inf, math.nan])
def test_elu_of_an_alpha_that_is_not_finite(alpha: float, dtype: torch.dtype) -> None:
    x = torch.tensor([-3.0, -1e-3, 0.0, 0.5, 4.0], dtype=dtype)
    case = case_of("elu", alpha)
    torch.testing.assert_close(case(x), case.reference(x), rtol=0, atol=0, equal_nan=True)
    ones = torch.ones_like(x)
    torch.testing.assert_close(
        gradient(case, x, ones), gradient(case.reference, x, ones), rtol=0, atol=0, equal_nan=True
    )
    in_place = gradient(lambda t: case(t * 1, inplace=True), x, ones)
    torch.testing.assert_close(in_place, gradient(case, x, ones), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("count", [1, 7, 64])
def test_nan_has_a_nan_gradient(count: int, dtype: torch.dtype) -> None:
    """Of every smooth activation, whatever the tensor's length."""
    x = torch.full((count,), math.nan, dtype=dtype)
    straight = {"relu", "relu6", "leaky_relu", "hardtanh", "threshold", "hardsigmoid"}
    straight |= {"softshrink", "hardshrink"}
    for case in DEFAULT_CASES:
        if case.name not in straight:
            assert gradient(case, x, torch.ones_like(x)).isnan().all(), case.name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_leaky_relu_multiplies_by_a_slope_of_zero(dtype: torch.dtype) -> None:
    x = torch.tensor([-1.0, 2.0], dtype=dtype).repeat_interleave(3)
    grad_output = torch.tensor([math.inf, math.nan, 1.0] * 2, dtype=dtype)
    case = case_of("leaky_relu", 0.0)
    torch.testing.assert_close(
        gradient(case, x, grad_output), gradient(case.reference, x, grad_output), equal_nan=True
    )


def test_schemas_have_no_fractions() -> None:
    """torch reads them by the C locale: with a decimal comma 0.01 would be 0."""
    for name in torch.ops.activations_ext:
        for argument in getattr(torch.ops.activations_ext, name).default._schema.arguments:
            assert not isinstance(argument.default_value, float)


DECIMAL_COMMA = """
import locale
for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8", "C"):
    try:
        locale.setlocale(locale.LC_ALL, name)
        break
    except locale.Error:
        pass
import torch
from activations_ext import functional as F
f = torch.compile(F.leaky_relu, backend="aot_eager", fullgraph=True)
x = torch.tensor([-100.0])
print(F.leaky_relu(x).item() == f(x).item() == -1.0)
"""


@pytest.mark.slow
def test_a_decimal_comma_changes_nothing() -> None:
    """Where such a locale is installed."""
    assert run_python(DECIMAL_COMMA).strip() == "True"


PRELU_MEMORY = """
import resource, torch
from activations_ext import functional as F
torch.set_num_threads(2)
rows, channels = 64, 200_000
x = torch.randn(rows, channels, requires_grad=True)
w = torch.rand(channels, requires_grad=True)
g = torch.randn(rows, channels)
y = F.prelu(x, w)
torch.autograd.grad(y[:1, :].sum() * 0, (x, w), retain_graph=True)
del x.grad
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
grads = torch.autograd.grad(y, (x, w), g)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (rows * channels * 4))
"""


@pytest.mark.slow
def test_prelus_backward_takes_one_gradient_and_little_more() -> None:
    """It took a double for each of 64 tasks and each channel: three times the input."""
    assert float(run_python(PRELU_MEMORY)) < 1.6


def test_prelu_of_many_channels() -> None:
    """Cut between channels too: values, both gradients, and the same on any number of threads."""
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        x, w = sample(37 * 40_003).view(37, -1).requires_grad_(), sample(40_003).requires_grad_()
        results.append(torch.autograd.grad(F.prelu(x, w), (x, w), x.detach().cos()))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    wide = [t.detach().double().requires_grad_() for t in (x, w)]
    exact = torch.autograd.grad(torch.nn.functional.prelu(*wide), wide, x.detach().cos().double())
    for a, b in zip(results[0], exact, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-4)
    cube = sample(3 * 5000 * 9).view(3, 5000, 9)
    weight: Tensor = sample(5000)
    assert torch.equal(F.prelu(cube, weight), torch.nn.functional.prelu(cube, weight))


# None is a number of 16 bits.
COMPARED = {
    "hardtanh": (-0.3, 0.7),
    "threshold": (0.1, 0.3),
    "hardshrink": (0.1,),
    "softshrink": (0.1,),
}


@pytest.mark.skipif(device_type() != "cpu", reason="torch's CUDA functions compare differently")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", COMPARED)
def test_parameters_are_compared_as_torch_compares_them(name: str, dtype: torch.dtype) -> None:
    """With every pattern: the one next to a parameter shows whether that was rounded."""
    case = case_of(name, *COMPARED[name])
    input = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
    input = input[~input.isnan()]
    assert_same_bits(case(input), case.reference(input))
    wide = input.float() if name == "softshrink" else input  # torch rounds it for the slope alone
    exact = gradient(case.reference, wide, torch.ones_like(wide)).to(dtype)
    assert_same_bits(gradient(case, input, torch.ones_like(input)), exact)

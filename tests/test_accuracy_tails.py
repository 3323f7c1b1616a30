"""Where torch loses every digit: small inputs of elu and its relatives, gelu's tail, tanhshrink at
0."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import pytest
import torch
from torch import Tensor

from activations_ext import functional as F
from helpers import Case, case_of, rounding_unit, sample

pytestmark = pytest.mark.each_capability

mpmath.mp.dps = 60
SMALLEST_NORMAL = torch.finfo(torch.float32).smallest_normal

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def normal_distribution(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def gelu_tanh(x: mpmath.mpf) -> mpmath.mpf:
    u = mpmath.sqrt(8 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)
    return x / (1 + mpmath.exp(-u))


TRUTH: dict[str, Callable[[mpmath.mpf], mpmath.mpf]] = {
    "elu": mpmath.expm1,
    "selu": lambda x: SELU_SCALE * SELU_ALPHA * mpmath.expm1(x),
    "celu": mpmath.expm1,
    "serlu": lambda x: mpmath.mpf("1.07862") * mpmath.mpf("2.90427") * x * mpmath.exp(x),
    "gelu": lambda x: x * normal_distribution(x),
    "gelu_tanh": gelu_tanh,
    "tanhshrink": lambda x: x - mpmath.tanh(x),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "logsigmoid": lambda x: -mpmath.log1p(mpmath.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "tanh": mpmath.tanh,
    "exp": mpmath.exp,
}


def exact(name: str, input: Tensor) -> Tensor:
    """To float64: the 60 digits are rounded once."""
    values = [float(TRUTH[name](mpmath.mpf(x))) for x in input.double().tolist()]
    return torch.tensor(values, dtype=torch.float64)


def assert_accurate(case: Case, input: Tensor, ulps: float) -> None:
    truth = exact(case.name, input)
    normal = truth.abs() >= torch.finfo(input.dtype).smallest_normal
    normal &= truth.abs() <= torch.finfo(input.dtype).max
    assert normal.any()
    errors = (case(input).double() - truth).abs() / rounding_unit(truth, input.dtype)
    errors = torch.where(normal, errors, 0.0).nan_to_num(float("inf"))
    worst = errors.argmax()
    assert errors[worst] <= ulps, f"{errors[worst]:.3g} ULP at {input[worst].item()!r}"


def negative_powers(count: int, low: float, high: float) -> Tensor:
    """−10^low … −10^high, evenly in the exponent, the digits random."""
    exponents = torch.linspace(low, high, count, dtype=torch.float64)
    return -(10**exponents * (1 + sample(count, torch.float64).abs() % 0.01)).float()


@pytest.mark.parametrize("name", ["elu", "selu", "celu", "serlu"])
def test_small_negative_inputs_keep_their_digits(name: str) -> None:
    assert_accurate(case_of(name), negative_powers(1000, -37, 0), 2)


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh"])
def test_the_negative_tail_of_gelu(name: str) -> None:
    """Down to where the value is no longer a normal number (x ≈ −13 and −10)."""
    tail = torch.linspace(-14, -1, 2000)
    assert torch.nn.functional.gelu(torch.tensor(-8.5)) == 0  # torch has lost it there
    assert_accurate(case_of(name), tail, 2)


def test_tanhshrink_near_zero() -> None:
    """x³/3 down to where that is no longer a normal number (|x| ≈ 3e-13)."""
    near = negative_powers(1000, -12.3, 0.3)
    assert_accurate(case_of("tanhshrink"), torch.cat([near, -near]), 2)


@pytest.mark.parametrize("name", ["silu", "serlu", "softplus", "sigmoid", "exp"])
def test_tails_that_decay_with_the_exponential(name: str) -> None:
    """Down to the smallest normal number, where the exponential itself is subnormal already."""
    assert_accurate(case_of(name), torch.linspace(-95, -1, 1500), 2)


def test_the_right_tail_of_logsigmoid() -> None:
    assert_accurate(case_of("logsigmoid"), torch.linspace(1, 90, 1500), 2)


@pytest.mark.parametrize("name", ["elu", "selu", "celu", "tanh", "silu", "softplus", "logsigmoid"])
def test_float64_keeps_its_digits(name: str) -> None:
    """Small inputs, in ULP of float64."""
    input = negative_powers(300, -30, 0).double()
    if name not in ("elu", "selu", "celu"):
        input = torch.cat([input, -input])
    assert_accurate(case_of(name), input, 4)


@pytest.mark.parametrize("name", ["elu", "selu", "celu"])
def test_the_slope_of_small_negative_inputs(name: str) -> None:
    """e^x near 1, though it is rebuilt from the result."""
    input = negative_powers(500, -37, -1).requires_grad_()
    case_of(name)(input).sum().backward()
    factor = SELU_ALPHA * SELU_SCALE if name == "selu" else 1.0
    truth = factor * torch.exp(input.detach().double())
    assert input.grad is not None
    errors = (input.grad.double() - truth).abs() / rounding_unit(truth, torch.float32)
    assert errors.max() <= 2


def test_gelu_reaches_zero_on_the_far_left() -> None:
    """In float64 it stopped at −1.7e-306, and its slope at −6.5e-305."""
    for dtype in (torch.float64, torch.float32):
        x = torch.tensor([-1e5, -1e3, -45.0, -39.0], dtype=dtype, requires_grad=True)
        y = F.gelu(x)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), x)
        assert (y == 0).all()
        assert (slope == 0).all()
        assert (curvature == 0).all()
    x = torch.linspace(-38.4, -37.4, 101, dtype=torch.float64)
    exact = [float(mpmath.mpf(v) * mpmath.ncdf(mpmath.mpf(v))) for v in x.tolist()]
    torch.testing.assert_close(
        F.gelu(x), torch.tensor(exact, dtype=torch.float64), rtol=3e-13, atol=2e-322
    )

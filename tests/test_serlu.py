"""SERLU: its constants make mean 0 and second moment 1 a fixed point (arXiv:1807.10117)."""

from __future__ import annotations

import math

import mpmath
import torch

from activations_ext import functional as F
from activations_ext import nn

ALPHA, SCALE = 2.90427, 1.07862


def expectation(power: int) -> float:
    """E[serlu(z)^power], z ~ N(0, 1), of the operator in float64 by Gauss-Legendre quadrature."""
    total = 0.0
    for low, high in ((-12.0, 0.0), (0.0, 12.0)):
        nodes = mpmath.calculus.quadrature.GaussLegendre(mpmath.mp).calc_nodes(6, 80)
        points = torch.tensor([float(x) for x, _ in nodes], dtype=torch.float64)
        weights = torch.tensor([float(w) for _, w in nodes], dtype=torch.float64)
        z = (high - low) / 2 * points + (high + low) / 2
        density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        total += float((weights * F.serlu(z) ** power * density).sum()) * (high - low) / 2
    return total


def test_the_quadrature_integrates_the_density() -> None:
    """To 1: the two tests below rest on it."""
    nodes = mpmath.calculus.quadrature.GaussLegendre(mpmath.mp).calc_nodes(6, 80)
    total = sum(float(w) * math.exp(-((12 * float(x)) ** 2) / 2) * 12 for x, w in nodes)
    assert math.isclose(total / math.sqrt(2 * math.pi), 1.0, abs_tol=1e-12)


def test_mean_is_zero_and_second_moment_one() -> None:
    """To the five decimals that the published constants have."""
    assert abs(expectation(1)) < 1e-5
    assert abs(expectation(2) - 1) < 1e-5


def test_the_moments_survive_a_sample() -> None:
    torch.manual_seed(0)
    result = F.serlu(torch.randn(1_000_000))
    assert abs(result.mean()) < 5e-3
    assert abs(result.square().mean() - 1) < 1e-2


def test_constants_and_pieces() -> None:
    x = torch.tensor([-3.0, -1.0, -0.25, 0.0, 0.25, 4.0], dtype=torch.float64)
    expected = torch.where(x >= 0, SCALE * x, SCALE * ALPHA * x * x.exp())
    torch.testing.assert_close(F.serlu(x), expected, rtol=1e-15, atol=0)
    torch.testing.assert_close(nn.SERLU()(x), expected, rtol=1e-15, atol=0)


def test_the_minimum_is_at_minus_one() -> None:
    """−λα/e, which shift_dropout drops to; the slope there is 0."""
    x = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
    result = F.serlu(x)
    (slope,) = torch.autograd.grad(result.sum(), x)
    assert slope.item() == 0
    assert math.isclose(result.item(), -SCALE * ALPHA / math.e, rel_tol=1e-15)
    assert math.isclose(F.SERLU_MINIMUM, -SCALE * ALPHA / math.e, rel_tol=1e-15)
    around = F.serlu(torch.linspace(-3, 0, 301, dtype=torch.float64))
    assert (around >= result).all()


def test_the_ends() -> None:
    """0 far to the left, λx to the right, NaN for NaN, in every dtype and derivative."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        largest = torch.finfo(dtype).max
        x = torch.tensor([-largest, -1e4, largest / 2, math.nan], dtype=dtype, requires_grad=True)
        result = F.serlu(x)
        (slope,) = torch.autograd.grad(result, x, torch.ones_like(x))
        assert (result[:2] == 0).all()
        assert (slope[:2] == 0).all()
        torch.testing.assert_close(result[2], (SCALE * x[2].double()).to(dtype))
        torch.testing.assert_close(slope[2], torch.tensor(SCALE, dtype=dtype))
        assert result[3].isnan()
        assert slope[3].isnan()


def test_the_slope_jumps_at_zero() -> None:
    """From λα to λ; at 0 itself it is the right one's."""
    x = torch.tensor([-1e-9, 0.0, 1e-9], dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(F.serlu(x).sum(), x)
    torch.testing.assert_close(
        slopes, torch.tensor([SCALE * ALPHA, SCALE, SCALE], dtype=torch.float64), rtol=1e-8, atol=0
    )

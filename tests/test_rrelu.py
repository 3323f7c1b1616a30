"""rrelu: uniform slopes in training, leaky_relu in evaluation."""

from __future__ import annotations

import math

import pytest
import torch

from activations_ext import functional as F
from activations_ext import nn
from helpers import DTYPES, assert_same_bits, sample

LOWER, UPPER = 1 / 8, 1 / 3
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@pytest.mark.parametrize(("lower", "upper"), [(LOWER, UPPER), (0.0, 1.0), (-0.5, 0.25), (0.3, 0.3)])
def test_slopes_are_uniform(lower: float, upper: float) -> None:
    """Within [lower, upper], with the moments and the distribution function of a uniform."""
    count = 200_000
    slopes = -F.rrelu(torch.full((count,), -1.0, dtype=torch.float64), lower, upper, training=True)
    assert slopes.min() >= lower - 1e-12
    assert slopes.max() <= upper + 1e-12
    width = upper - lower
    sigma = width / math.sqrt(12)
    assert abs(slopes.mean() - (lower + upper) / 2) <= 5 * sigma / math.sqrt(count) + 1e-12
    if width:
        assert abs(slopes.var() / sigma**2 - 1) < 0.02
        expected = torch.linspace(lower, upper, count, dtype=torch.float64)
        kolmogorov = (slopes.sort().values - expected).abs().max() / width
        assert kolmogorov < 2.2 / math.sqrt(count)
        assert len(slopes.unique()) > 0.98 * count


@every_dtype
def test_rrelu_keeps_the_positive_side_and_special_values(dtype: torch.dtype) -> None:
    x = torch.tensor([0.0, 2.0, math.inf, math.nan, -math.inf, -0.0], dtype=dtype)
    result = F.rrelu(x, 0.25, 0.5, training=True)
    torchs = torch.nn.functional.rrelu(x.float(), 0.25, 0.5, training=True)
    assert_same_bits(result, torchs.to(dtype))


@every_dtype
@pytest.mark.parametrize(("lower", "upper"), [(LOWER, UPPER), (-0.5, 0.25), (0.0, 0.5)])
def test_rrelu_gradient_is_the_slope_of_forward(
    dtype: torch.dtype, lower: float, upper: float
) -> None:
    """y/x wherever x < 0, from the saved result or input, and for a grad_output of any kind."""
    x = sample(5003, dtype).clamp(-100, 100)
    x = torch.where(x.abs() < 1e-3, -1.0, x).to(dtype).requires_grad_()
    result = F.rrelu(x, lower, upper, training=True)
    (grad,) = torch.autograd.grad(result, x, torch.ones_like(x), retain_graph=True)
    slope = (result.double() / x.double()).detach()
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(grad.double(), slope, rtol=4 * eps, atol=4 * eps * 1e-2)
    grad_output = sample(5003, dtype, seed=1).clamp(-9, 9)
    (product,) = torch.autograd.grad(result, x, grad_output)
    torch.testing.assert_close(
        product.double(), slope * grad_output.double(), rtol=4 * eps, atol=4 * eps * 1e-1
    )


@every_dtype
def test_rrelu_in_place(dtype: torch.dtype) -> None:
    x = sample(3000, dtype)
    torch.manual_seed(0)
    expected = F.rrelu(x, LOWER, UPPER, training=True)
    copy = x.clone()
    torch.manual_seed(0)
    assert F.rrelu(copy, LOWER, UPPER, training=True, inplace=True) is copy
    assert_same_bits(copy, expected)
    for lower, upper in ((LOWER, UPPER), (-0.5, 0.5)):
        leaf = x.detach().requires_grad_()
        grads = []
        for inplace in (False, True):
            torch.manual_seed(0)
            result = F.rrelu(leaf * 1, lower, upper, training=True, inplace=inplace)
            grads.append(torch.autograd.grad(result, leaf, torch.ones_like(leaf))[0])
        assert_same_bits(grads[0], grads[1])


@every_dtype
def test_rrelu_in_evaluation_is_leaky_relu(dtype: torch.dtype) -> None:
    x = sample(3000, dtype)
    state = torch.get_rng_state()
    result = F.rrelu(x, LOWER, UPPER)
    assert torch.equal(state, torch.get_rng_state())
    assert_same_bits(result, torch.nn.functional.rrelu(x, LOWER, UPPER))
    assert_same_bits(result, F.leaky_relu(x, (LOWER + UPPER) / 2))


def test_rrelu_module() -> None:
    ours, torchs = nn.RReLU(0.1, 0.2), torch.nn.RReLU(0.1, 0.2)
    assert isinstance(ours, torch.nn.RReLU)
    assert repr(ours) == repr(torchs)
    x = torch.full((1000,), -1.0)
    assert len(ours(x).unique()) > 900
    assert torch.equal(ours.eval()(x), torchs.eval()(x))

"""shift_dropout: the mean is kept, dropped units take the minimum."""

from __future__ import annotations

import math

import pytest
import torch

from activations_ext import functional as F
from activations_ext import nn
from helpers import DTYPES, assert_same_bits, sample

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@every_dtype
@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_dropped_units_are_the_minimum_and_kept_ones_stretched(
    dtype: torch.dtype, p: float
) -> None:
    x = sample(100_000, dtype).clamp(-1, 8)
    x = torch.where(x == -1.25, 0.0, x)
    result = F.shift_dropout(x, p, -1.25)
    dropped = result == -1.25
    share = dropped.double().mean().item()
    assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / 100_000)
    kept = -1.25 + (x.double() + 1.25) / (1 - p)
    eps = torch.finfo(dtype).eps if dtype != torch.float64 else 1e-15
    torch.testing.assert_close(
        result[~dropped].double(), kept[~dropped], rtol=4 * eps, atol=8 * eps / (1 - p)
    )


def test_the_mean_is_preserved() -> None:
    """E[y] = x for every x: over many draws, and of a whole SERLU layer."""
    x = torch.linspace(-1, 3, 11).repeat(40_000, 1)
    result = F.shift_dropout(x, 0.4, F.SERLU_MINIMUM)
    spread = result.std(0) / math.sqrt(len(x))
    assert ((result.mean(0) - x[0]).abs() <= 5 * spread).all()
    torch.manual_seed(0)
    activity = F.serlu(torch.randn(1_000_000))
    assert abs(F.shift_dropout(activity, 0.1, F.SERLU_MINIMUM).mean() - activity.mean()) < 5e-3


@every_dtype
def test_no_dropout_is_the_identity(dtype: torch.dtype) -> None:
    x = sample(1000, dtype)
    assert_same_bits(F.shift_dropout(x, 0.5, -1.0, training=False), x)
    assert_same_bits(F.shift_dropout(x, 0.0, -1.0), x)
    leaf = x.detach().requires_grad_()
    F.shift_dropout(leaf, 0.0, -1.0).sum().backward()
    assert leaf.grad is not None
    assert (leaf.grad == 1).all()


@every_dtype
@pytest.mark.parametrize("minimum", [0.0, -1.25])
def test_full_dropout_is_the_minimum(dtype: torch.dtype, minimum: float) -> None:
    """p = 1 divides by zero nowhere; the gradient is 0, as that of torch's dropout."""
    x = sample(1000, dtype).requires_grad_()
    result = F.shift_dropout(x, 1.0, minimum)
    assert (result == minimum).all()
    result.sum().backward()
    assert x.grad is not None
    assert (x.grad == 0).all()


def test_units_go_to_serlus_minimum_unless_told() -> None:
    x = torch.ones(1000)
    for result in (F.shift_dropout(x), nn.ShiftDropout()(x)):
        assert 300 < (result == F.SERLU_MINIMUM).sum() < 700


@every_dtype
def test_minimum_zero_is_inverted_dropout(dtype: torch.dtype) -> None:
    """Zeros, and the others times 1/(1 − p): what torch's dropout makes of its own mask."""
    x = torch.where(sample(20_000, dtype) == 0, 1.0, sample(20_000, dtype)).to(dtype)
    result = F.shift_dropout(x, 0.25, 0.0)
    kept = result != 0
    assert 0.7 < kept.double().mean() < 0.8
    expected = (x.double() / 0.75).to(dtype)
    eps = torch.finfo(dtype).eps
    visible = kept & (expected.abs() > 0)
    torch.testing.assert_close(result[visible], expected[visible], rtol=2 * eps, atol=0)


@every_dtype
@pytest.mark.parametrize("minimum", [0.0, -1.25])
def test_backward_has_the_mask_of_forward(dtype: torch.dtype, minimum: float) -> None:
    x = sample(20_003, dtype).clamp(-1, 8)
    x = torch.where(x == minimum, 0.5, x).to(dtype).requires_grad_()
    result = F.shift_dropout(x, 0.3, minimum)
    grad_output = sample(20_003, dtype, seed=1)
    grad_output = torch.where(grad_output == 0, 1.0, grad_output).to(dtype)
    (grad,) = torch.autograd.grad(result, x, torch.ones_like(x), retain_graph=True)
    dropped = result == minimum
    assert (grad[dropped] == 0).all()
    eps = torch.finfo(dtype).eps
    scale = torch.full_like(grad[~dropped].double(), 1 / 0.7)
    torch.testing.assert_close(grad[~dropped].double(), scale, rtol=2 * eps, atol=0)
    (product,) = torch.autograd.grad(result, x, grad_output)
    torch.testing.assert_close(
        product.double(), grad_output.double() * (~dropped) / 0.7, rtol=4 * eps, atol=1e-7
    )


def test_an_infinite_gradient_at_a_dropped_unit_is_not_passed_on() -> None:
    """Dropped is dropped: 0, not 0·∞ = NaN."""
    x = torch.ones(2000, requires_grad=True)
    result = F.shift_dropout(x, 0.5)
    (grad,) = torch.autograd.grad(result, x, torch.full((2000,), math.inf))
    assert not grad.isnan().any()


@every_dtype
def test_shift_dropout_in_place(dtype: torch.dtype) -> None:
    x = sample(3000, dtype)
    torch.manual_seed(0)
    expected = F.shift_dropout(x, 0.3, -1.25)
    copy = x.clone()
    torch.manual_seed(0)
    assert F.shift_dropout(copy, 0.3, -1.25, inplace=True) is copy
    assert_same_bits(copy, expected)


def test_shift_dropout_module() -> None:
    module, x = nn.ShiftDropout(0.4, 0.0), torch.ones(5000)
    assert 0.3 < (module(x) == 0).double().mean() < 0.5
    assert torch.equal(module.eval()(x), x)
    assert "p=0.4" in repr(module)
    assert nn.ShiftDropout().minimum == F.SERLU_MINIMUM
    assert (nn.ShiftDropout(1.0)(x) == F.SERLU_MINIMUM).all()

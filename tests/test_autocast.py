"""Under autocast the activations do what torch's own do."""

from __future__ import annotations

import pytest
import torch

from activations_ext import functional as F
from helpers import DEFAULT_CASES, INPLACE_CASES, Case, device_type, sample

LOW = (torch.bfloat16, torch.float16)


@pytest.mark.parametrize("autocast", LOW, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *LOW], ids=str)
@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
def test_dtype_value_and_gradient_are_torchs(
    case: Case, dtype: torch.dtype, autocast: torch.dtype
) -> None:
    eps = torch.finfo(dtype).eps
    results = []
    for function in (case, case.differentiable_reference):
        x = sample(200, dtype).clamp(-8, 8).requires_grad_()
        with torch.autocast(device_type(), autocast):
            result = function(x)
        result.sum().backward()
        results.append((result, x.grad))
    for ours, torchs in zip(*results, strict=True):
        assert ours is not None
        assert torchs is not None
        assert ours.dtype == torchs.dtype
        torch.testing.assert_close(ours, torchs, rtol=8 * eps, atol=8 * eps)


@pytest.mark.parametrize("case", INPLACE_CASES, ids=str)
def test_in_place_under_autocast(case: Case) -> None:
    x = sample(200)
    expected = case(x)
    with torch.autocast(device_type(), torch.bfloat16):
        assert case(x, inplace=True) is x
    assert x.dtype == torch.float32
    assert torch.equal(x, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_prelu_under_autocast(dtype: torch.dtype) -> None:
    """torch casts its operands to the lower precision, so that they may differ in dtype."""
    weight, x = torch.rand(4), sample(40, dtype).view(10, 4)
    results = []
    for function in (F.prelu, torch.nn.functional.prelu):
        w, input = weight.clone().requires_grad_(), x.clone().requires_grad_()
        with torch.autocast(device_type(), torch.bfloat16):
            result = function(input, w)
        result.sum().backward()
        assert w.grad is not None
        assert input.grad is not None
        results.append((result.detach(), input.grad, w.grad))
    for ours, torchs in zip(*results, strict=True):
        assert ours.dtype == torchs.dtype
        torch.testing.assert_close(ours, torchs)


def test_after_a_linear_layer() -> None:
    """The usual place: a bfloat16 product goes in, a bfloat16 activation comes out."""
    linear, x = torch.nn.Linear(8, 8), sample(32).view(4, 8)
    with torch.autocast(device_type(), torch.bfloat16):
        for case in DEFAULT_CASES:
            result = case(linear(x))
            assert result.dtype == case.reference(linear(x)).dtype == torch.bfloat16, str(case)
            result.float().sum().backward()
    assert linear.weight.grad is not None
    assert linear.weight.grad.dtype == torch.float32

"""bfloat16 and float16: every bit pattern gives the float32 result, rounded once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers import CASES, Case, assert_same_bits, gradient

pytestmark = [
    pytest.mark.each_capability,
    pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str),
    pytest.mark.parametrize("case", CASES, ids=str),
]


def every_pattern(dtype: torch.dtype) -> Tensor:
    return torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)


def test_forward_is_float32_rounded_once(case: Case, dtype: torch.dtype) -> None:
    input = every_pattern(dtype)
    result = case(input)
    assert_same_bits(result, case.rounded(dtype)(input.float()).to(dtype))
    assert result[input.isnan()].isnan().all()


@pytest.mark.parametrize("suffix", ["_backward", "_curvature"])
def test_derivatives_are_float32_rounded_once(case: Case, dtype: torch.dtype, suffix: str) -> None:
    """Whatever is saved, the input or the result, over all of its patterns."""
    saved = every_pattern(dtype)
    operator = case.operator(suffix)
    ones = torch.ones_like(saved)
    parameters = case.rounded(dtype).parameters
    expected = operator(ones.float(), saved.float(), *parameters).to(dtype)
    assert_same_bits(operator(ones, saved, *case.parameters), expected)


def test_gradient_reads_what_was_saved(case: Case, dtype: torch.dtype) -> None:
    """autograd's gradient is the operator's, of the rounded result where that is saved."""
    input = every_pattern(dtype)
    ones = torch.ones_like(input)
    saved = case(input) if case.saves_result else input
    parameters = case.rounded(dtype).parameters
    expected = case.operator("_backward")(ones.float(), saved.float(), *parameters)
    assert_same_bits(gradient(case, input, ones), expected.to(dtype))


def test_every_grad_output_is_rounded_once(case: Case, dtype: torch.dtype) -> None:
    """All patterns as grad_output, subnormals among them, at points left and right of 0."""
    grad_output = every_pattern(dtype)
    for point in (-0.75, 0.25, 2.0):
        saved = torch.full_like(grad_output, point)
        operator = case.operator("_backward")
        parameters = case.rounded(dtype).parameters
        expected = operator(grad_output.float(), saved.float(), *parameters).to(dtype)
        assert_same_bits(operator(grad_output, saved, *case.parameters), expected)

"""Backward keeps what torch's keeps, and reads it exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from activations_ext import functional as F
from activations_ext import nn
from helpers import (
    CASES,
    DEFAULT_CASES,
    INPLACE_CASES,
    Case,
    assert_same_bits,
    gradient,
    sample,
    torch_lacks,
    ulp_errors,
)

pytestmark = pytest.mark.each_capability

KEEPS_INPUT = [case for case in CASES if not case.saves_result]
half = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


def saved_names(result: Tensor) -> set[str]:
    """Of torch's own node: ``{"self"}`` or ``{"result"}``."""
    names = {name.removeprefix("_saved_") for name in dir(result.grad_fn)}
    return names & {"self", "result"}


@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
def test_the_same_as_torch(case: Case) -> None:
    """Asked of torch's nodes; what torch has no function for is made of several."""
    x = sample(10).requires_grad_()
    names = saved_names(case.reference(x))
    if torch_lacks(case.name) or case.name in ("softsign", "tanhshrink"):
        assert not case.saves_result
    else:
        assert names == ({"result"} if case.saves_result else {"self"})
    if case.activation.inplace:
        names = saved_names(case.activation.reference(x * 1, *case.parameters, inplace=True))
        of_result = case.saves_result_in_place
        assert names == ({"result"} if of_result else {"self"})


def kept(function: Callable[[Tensor], Tensor], x: Tensor) -> list[Tensor]:
    """What is saved for backward, as the hooks see it."""
    packed: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: packed.append(t.detach().clone()), lambda _: torch.empty(0)
    ):
        function(x)
    return packed


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_tensor_is_saved(case: Case) -> None:
    x = sample(50).requires_grad_()
    (saved,) = kept(case, x)
    assert_same_bits(saved, case(x.detach()) if case.saves_result else x)


@pytest.mark.parametrize("case", INPLACE_CASES, ids=str)
def test_one_tensor_is_saved_in_place(case: Case) -> None:
    y = sample(50).requires_grad_() * 1
    before = y.detach().clone()
    (saved,) = kept(lambda t: case(t, inplace=True), y)
    assert_same_bits(saved, case(before) if case.saves_result_in_place else before)


@pytest.mark.parametrize("case", KEEPS_INPUT, ids=str)
@pytest.mark.parametrize("write", [lambda y: y.add_(1), lambda y: y.data.fill_(0.5)])
def test_a_result_may_be_overwritten(case: Case, write: Callable[[Tensor], Any]) -> None:
    """A residual connection in place, or a write that autograd does not see."""
    x = sample(50).requires_grad_()
    y = case(x)
    write(y)
    y.sum().backward()
    assert_same_bits(x.grad, gradient(case, x, torch.ones(50)))


@pytest.mark.parametrize("module", [nn.ELU, nn.LeakyReLU, nn.CELU, nn.SELU, nn.Hardtanh, nn.ReLU6])
def test_dropout_in_place_behind_a_convolution(module: type[torch.nn.Module]) -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), module(), torch.nn.Dropout(0.5, inplace=True)
    )
    network(sample(64).view(1, 1, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@half
@pytest.mark.parametrize("case", KEEPS_INPUT, ids=str)
def test_slopes_are_rounded_once(case: Case, dtype: torch.dtype) -> None:
    """The nearest to the float64 slope of every number of the dtype in [−30, 30]: half an ULP and
    what the float32 in between may be off."""
    x = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
    x = x[x.abs() <= 30]
    slopes = gradient(case, x, torch.ones_like(x))
    wide = x.double()
    exact = gradient(
        case.rounded(dtype).differentiable_reference, wide, torch.ones_like(wide)
    ).double()
    # Near the zero that some slopes have in (−2, 0) terms of about 1 cancel: float32's last place
    # of them. The rest is the reference's: float64's 1 + erf(x) loses digits.
    last_place = 2**-16 if x.is_cuda else 2**-24  # of the special function unit
    slack = torch.where(wide.abs() < 2, last_place, 0.0) + 1e-15 * wide.abs()
    errors = ulp_errors(slopes, exact, slack)
    worst = errors.argmax()
    assert errors[worst] <= 0.51, (
        f"{errors[worst]:.3g} ULP at {x[worst].item()}: "
        f"{slopes[worst].item()} instead of {exact[worst].item()}"
    )


@half
def test_elus_slope_of_very_negative_inputs(dtype: torch.dtype) -> None:
    """From the rounded result it was half, then 0, and for alpha = 1.7 negative."""
    for alpha in (1.0, 1.7):
        x = torch.tensor([-6.0, -7.0, -9.0, -12.0], dtype=dtype)
        exact = (alpha * x.double().exp()).to(dtype)
        assert_same_bits(gradient(lambda t: F.elu(t, alpha), x, torch.ones(4, dtype=dtype)), exact)  # noqa: B023

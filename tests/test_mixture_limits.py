"""The loss of mixtures where numbers end: underflow, zero weights, tiny and huge scales, NaN."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as D
from torch.func import vmap

from test_mixture import arguments, nll, torchs


def test_finite_where_densities_underflow() -> None:
    """31 dimensions at 3 σ: φ·N is 10⁻⁷³, less than float32 has."""
    zeros = torch.zeros(1, 2, 31)
    given = (torch.zeros(1, 2), zeros, zeros + 1, torch.full((1, 31), 3.0))
    density = D.Normal(0.0, 1.0).log_prob(given[3]).exp().prod()
    assert density == 0  # which is what this test is about
    expected = 31 * (4.5 + 0.5 * math.log(2 * math.pi))
    torch.testing.assert_close(nll(*given).item(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_weights_of_zero(dtype: torch.dtype) -> None:
    logits, mean, scale, target = (part.to(dtype) for part in arguments((20,), 3, 2))
    logits = logits.detach().clone()
    logits[:, 1] = -torch.inf
    three = (logits.requires_grad_(), mean, scale, target)
    both = [0, 2]
    two = (logits.detach()[:, both], mean[:, both], scale[:, both], target)
    torch.testing.assert_close(nll(*three), nll(*two))
    for part in torch.autograd.grad(nll(*three), three[:3]):
        assert part.isfinite().all()
        assert (part[:, 1] == 0).all()


@pytest.mark.parametrize("scale_by", ["exp", "softplus", "elu"])
def test_far_away_and_at_the_floor(scale_by: str) -> None:
    """σ at the floor, and targets 10⁶ away: torch.distributions, too, in float64."""
    scale = torch.full((2, 3, 1), -200.0, requires_grad=True)
    logits, mean = torch.zeros(2, 3, requires_grad=True), torch.arange(6.0).reshape(2, 3, 1)
    mean.requires_grad_()
    target = torch.tensor([[1e6], [0.5]])
    loss = nll(logits, mean, scale, target, scale_by=scale_by, floor=1e-3, reduction="none")
    expected = torchs(
        *(part.double() for part in (logits, mean, scale, target)), scale_by=scale_by, floor=1e-3
    )
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
    for part in torch.autograd.grad(loss.sum(), (logits, mean, scale)):
        assert part.isfinite().all()


@pytest.mark.parametrize("scale_by", ["exp", "softplus", "elu"])
@pytest.mark.parametrize("raw", [-1e4, -104.0, -87.5, 88.5, 200.0, 1e4])
def test_scales_at_the_ends_of_the_numbers(scale_by: str, raw: float) -> None:
    scale = torch.full((1, 1, 1), raw, requires_grad=True)
    loss = nll(torch.zeros(1, 1), torch.zeros(1, 1, 1), scale, torch.zeros(1, 1), scale_by=scale_by)
    loss.backward()
    assert loss.isfinite()
    assert scale.grad is not None
    assert scale.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("floor", [0.0, 1e-3])
@pytest.mark.parametrize("scale_by", ["exp", "softplus", "elu"])
def test_the_kernel_and_the_formula_have_the_same_limits(
    scale_by: str, floor: float, dtype: torch.dtype
) -> None:
    """The formula on torch's operators is what runs under vmap."""
    ends = [-1e4, -720.0, -708.0, -104.0, -87.5, -80.0, 80.0, 88.5, 104.0, 708.0, 720.0, 1e4]
    scale = torch.tensor(ends, dtype=dtype)[:, None, None]
    given = (scale[:, 0] * 0, scale * 0, scale, scale[:, 0] * 0)
    ours = nll(*given, scale_by=scale_by, floor=floor, reduction="none")
    formula = vmap(lambda *part: nll(*part, scale_by=scale_by, floor=floor))(*given)
    torch.testing.assert_close(ours, formula)


def test_nan_stays_nan_and_in_its_row() -> None:
    for which in range(4):
        given = [part.detach().clone() for part in arguments((5,), 3, 2, torch.float32)]
        given[which][2].view(-1)[0] = torch.nan
        for part in given:
            part.requires_grad_()
        loss = nll(*given, reduction="none", validate_args=False)  # type: ignore[call-overload]
        assert loss.isnan().tolist() == [False, False, True, False, False]
        for part in torch.autograd.grad(loss.sum(), given):
            assert part[[0, 1, 3, 4]].isfinite().all()
        assert (
            torch.autograd.grad(nll(*given, reduction="none", validate_args=False)[2], given[0])[0][
                2
            ]
            .isnan()
            .all()
        )


def test_infinitely_far_is_infinitely_unlikely() -> None:
    target = torch.tensor([[torch.inf]])
    assert nll(torch.zeros(1, 2), torch.zeros(1, 2, 1), torch.ones(1, 2, 1), target) == torch.inf

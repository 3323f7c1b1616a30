"""What all families share: weights and masks, temperatures, distribution functions, gradients of
samples; and where the formulas of a few would lose digits or overflow."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from activations_ext import nn
from activations_ext.likelihood import (
    Bernoulli,
    Beta,
    Categorical,
    Gaussian,
    Likelihood,
    LogitNormal,
    MixtureOfGaussians,
    MixtureOfMultivariateGaussians,
    NegativeBinomial,
    Poisson,
    StudentT,
)
from test_likelihood import DIMENSIONS, FAMILIES, outputs_of

CONTINUOUS = ("Gaussian 0.3", "Gaussian exp", "LogitNormal", "mixture exp")


def drawn(family: Likelihood, *batch: int) -> tuple[Tensor, Tensor]:
    outputs = outputs_of(family, *batch)
    torch.manual_seed(0)
    return outputs, family.sample(outputs.detach())


@pytest.mark.parametrize("name", FAMILIES)
def test_targets_of_weight_0_have_no_part(name: str) -> None:
    family = FAMILIES[name]
    outputs, target = drawn(family, 3, 4)
    each = family.nll(outputs, target, "none")
    weight = torch.rand(3, 4, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
    with torch.no_grad():
        outputs[~mask] = math.nan
        if target.is_floating_point():
            target[~mask] = math.nan
        else:
            target[~mask] = 10**6
    for weights in (mask, weight * mask):
        factors = weights.double()
        torch.testing.assert_close(
            family.nll(outputs, target, "none", weights), torch.where(mask, each, 0.0) * factors
        )
        mean = family.nll(outputs, target, weight=weights)
        torch.testing.assert_close(mean, (each * factors)[mask].sum() / factors.sum())
        (grad,) = torch.autograd.grad(mean, outputs)
        assert (grad[~mask] == 0).all()
        assert grad.isfinite().all()
    part = (outputs.float()[:1, :1], target[:1, :1], "none")
    assert family.nll(*part, mask.double()[:1, :1]).dtype == family.nll(*part).dtype
    with pytest.raises(ValueError, match="'weight' to have a number for each target"):
        family.nll(outputs, target, weight=weight[0])


@pytest.mark.parametrize("name", CONTINUOUS)
def test_distribution_functions(name: str) -> None:
    family = FAMILIES[name]
    outputs = outputs_of(family, 2).detach()
    torch.manual_seed(0)
    samples = family.sample(outputs, (40_000,))
    level = torch.tensor([0.03, 0.3, 0.5, 0.99], dtype=torch.float64)
    for probability in (0.4, level, level.expand(2, DIMENSIONS)):
        quantile = family.quantile(outputs, probability)
        assert quantile.shape == (2, DIMENSIONS)
        p = torch.as_tensor(probability, dtype=torch.float64).expand(2, DIMENSIONS)
        torch.testing.assert_close(family.cdf(outputs, quantile), p)
        assert ((samples <= quantile).double().mean(0) - p).abs().max() < 0.015
    if name != "mixture exp":
        base = family.distribution(outputs).base_dist  # type: ignore[attr-defined]
        torch.testing.assert_close(family.cdf(outputs, samples[0]), base.cdf(samples[0]))


def test_distribution_function_of_counts() -> None:
    outputs = torch.tensor([[-1.0, 0.5, 2.0]], dtype=torch.float64)
    rate = outputs.exp()
    for count in (-1.0, 0.0, 3.0, 3.5):
        expected = sum(
            (rate.pow(k) * (-rate).exp() / math.factorial(k) for k in range(int(count) + 1)),
            torch.zeros_like(rate),
        )
        ours = Poisson().cdf(outputs, torch.full_like(outputs, count))
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("family", [Bernoulli(), Categorical(), NegativeBinomial(), StudentT()])
def test_what_there_is_no_formula_for(family: Likelihood) -> None:
    outputs = outputs_of(family, 2).detach()
    with pytest.raises(NotImplementedError, match="has no cdf"):
        family.cdf(outputs, torch.zeros(2, DIMENSIONS))
    with pytest.raises(NotImplementedError, match="has no quantile"):
        family.quantile(outputs, 0.5)


@pytest.mark.parametrize("temperature", [0.25, 4.0])
def test_temperature(temperature: float) -> None:
    """The density's power 1/T, where that is of the family again."""
    for name in ("Gaussian 0.3", "Gaussian exp"):
        outputs = outputs_of(FAMILIES[name], 2).detach()
        given = FAMILIES[name].distribution(outputs).stddev
        warmer = FAMILIES[name].at_temperature(outputs, temperature).stddev
        torch.testing.assert_close(warmer, given * temperature**0.5)
    logits = torch.tensor([2.0, 0.0, -1.0])
    expected = (logits.softmax(-1) ** (1 / temperature)) / (
        logits.softmax(-1) ** (1 / temperature)
    ).sum()
    torch.testing.assert_close(Categorical().at_temperature(logits, temperature).probs, expected)
    p = logits.sigmoid() ** (1 / temperature)
    q = (-logits).sigmoid() ** (1 / temperature)
    torch.testing.assert_close(
        Bernoulli().at_temperature(logits, temperature).base_dist.probs,  # type: ignore[attr-defined]
        p / (p + q),
    )
    for name in ("Poisson", "Beta", "StudentT", "NegativeBinomial"):
        family = FAMILIES[name]
        with pytest.raises(ValueError, match="'temperature' to be 1"):
            family.sample(outputs_of(family, 2), temperature=temperature)
    with pytest.raises(ValueError, match="'temperature' to be a positive number"):
        Categorical().sample(logits, temperature=0.0)


def test_a_cold_mixture_keeps_to_its_largest_component() -> None:
    family = MixtureOfGaussians(2, floor=0.0)
    outputs = torch.tensor([1.0, 0.0, -5.0, 5.0, 0.0, 0.0])
    torch.manual_seed(0)
    samples = family.sample(outputs, (2000,), temperature=0.01)
    assert (samples + 5).abs().max() < 1


def test_the_head_passes_weights_and_temperatures_on() -> None:
    head = nn.MixtureDensityHead(3, 2, components=2)
    outputs, target = head(torch.randn(4, 3)).detach(), torch.randn(4, 2)
    mask = torch.tensor([True, False, True, True])
    assert head.nll(outputs, target, weight=mask).equal(
        head.likelihood.nll(outputs, target, weight=mask)
    )
    draws = []
    for sample in (head.sample, head.likelihood.sample):
        torch.manual_seed(0)
        draws.append(sample(outputs, (3,), temperature=0.5))
    assert draws[0].equal(draws[1])


@pytest.mark.parametrize("name", ["Gaussian exp", "Gaussian", "StudentT", "Beta", "LogitNormal"])
def test_samples_with_gradients(name: str) -> None:
    family = FAMILIES[name]
    outputs = outputs_of(family, 3)
    torch.manual_seed(0)
    samples = family.rsample(outputs, (5,))
    assert samples.shape == (5, 3, DIMENSIONS)
    (grad,) = torch.autograd.grad(samples.sum(), outputs)
    assert grad.isfinite().all()
    assert grad.abs().max() > 0
    with pytest.raises(NotImplementedError):
        Poisson().rsample(outputs)


@pytest.mark.parametrize(
    ("family", "wrong", "match"),
    [
        (Poisson(), -1.0, "to be numbers 0, 1, 2"),
        (NegativeBinomial(), 0.5, "to be numbers 0, 1, 2"),
        (Beta(), 1.0, "to be between 0 and 1"),
        (LogitNormal(), 0.0, "to be between 0 and 1"),
        (StudentT(), math.nan, "to have numbers, but got NaN at position"),
    ],
)
def test_impossible_targets(family: Likelihood, wrong: float, match: str) -> None:
    target = torch.full((3, 2), 0.5 if match.endswith("and 1") else 1.0)
    target[1, 1] = wrong
    with pytest.raises(ValueError, match=match) as error:
        family.nll(torch.zeros(3, family.features(2)), target)
    assert "(1, 1)" in str(error.value)
    with pytest.raises(ValueError, match="StudentT"):
        StudentT(least_df=0.0)
    with pytest.raises(ValueError, match="LogitNormal"):
        LogitNormal("square")


# --- digits ---------------------------------------------------------------------------------------


def test_a_large_total_count_is_poissons() -> None:
    """Γ(r + t)/Γ(r) is computed from two numbers around 10⁷·log 10⁷."""
    target = torch.tensor([[3.0], [0.0], [40.0]])
    total = 1e7
    outputs = torch.tensor([[total, math.log(5 / total)]]).expand(3, 2)
    ours = NegativeBinomial().nll(outputs, target, "none")
    poisson = Poisson().nll(torch.full((3, 1), math.log(5.0)), target, "none")
    torch.testing.assert_close(ours, poisson, rtol=2e-5, atol=2e-5)


def test_outliers_of_a_students_t() -> None:
    family = StudentT()
    outputs = torch.zeros(4, 3, requires_grad=True)
    target = torch.tensor([[0.0], [1e3], [1e20], [1e38]])
    losses = family.nll(outputs, target, "none")
    (grad,) = torch.autograd.grad(losses.sum(), outputs)
    assert losses.isfinite().all()
    assert grad.isfinite().all()
    nu = 2 + math.log(2)
    steps = losses.diff().detach()[1:]
    torch.testing.assert_close(
        steps, (nu + 1) * torch.tensor([17, 18]) * math.log(10), rtol=1e-4, atol=0
    )


def test_a_students_t_of_many_degrees_is_normal() -> None:
    outputs = torch.tensor([[1e7, 0.3, -0.2]])
    target = torch.tensor([[1.0]])
    ours = StudentT().nll(outputs, target)
    torch.testing.assert_close(
        ours, Gaussian(None).nll(outputs[:, 1:], target), rtol=1e-5, atol=1e-5
    )


def test_shares_close_to_the_ends() -> None:
    target = torch.tensor([[1e-30], [1 - 2**-24]])
    for family in (Beta(), LogitNormal()):
        outputs = torch.ones(2, 2, requires_grad=True)
        losses = family.nll(outputs, target, "none")
        exact = family.nll(outputs.double(), target.double(), "none")
        torch.testing.assert_close(losses.double(), exact, rtol=1e-5, atol=1e-5)
        (grad,) = torch.autograd.grad(losses.sum(), outputs)
        assert grad.isfinite().all()


def test_a_full_mixture_of_diagonals_is_the_diagonal_one() -> None:
    full, diagonal = MixtureOfMultivariateGaussians(3), MixtureOfGaussians(3)
    outputs, target = drawn(diagonal, 7)
    logits, mean, raw = diagonal.parts(outputs)
    below = torch.zeros(7, 3, DIMENSIONS * (DIMENSIONS - 1) // 2)
    entries = torch.cat([raw, below], -1).flatten(1)
    wide = torch.cat([logits, mean.flatten(1), entries], -1)
    for reduction in ("none", "mean"):
        torch.testing.assert_close(
            full.nll(wide, target, reduction), diagonal.nll(outputs, target, reduction)
        )
    variance = full.covariance(wide).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(variance, diagonal.variance(outputs))
    with pytest.raises(ValueError, match="'outputs' to have a last dimension of 3·"):
        full.parts(wide[:, 3:])
    with pytest.raises(ValueError, match="'components' to be at least 1"):
        MixtureOfMultivariateGaussians(0)


def test_the_covariance_of_a_full_mixture_is_that_of_its_samples() -> None:
    family = MixtureOfMultivariateGaussians(2)
    outputs = outputs_of(family, 1).detach()
    torch.manual_seed(0)
    samples = family.sample(outputs, (200_000,))[:, 0]
    expected = torch.cov(samples.t())
    torch.testing.assert_close(family.covariance(outputs)[0], expected, rtol=0.05, atol=0.1)
    far = torch.full((1, DIMENSIONS), 1e6, dtype=torch.float64)  # where the density underflows
    assert family.nll(outputs, far).isfinite()
    half = family.nll(outputs.bfloat16(), samples[:1].bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), family.nll(outputs, samples[:1]), rtol=0.05, atol=0.1)


@pytest.mark.parametrize("deviation", [0.1, 1.0, 6.0])
def test_the_mean_of_shares(deviation: float) -> None:
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = (-0.5 * z * z).exp()
    for mean in (-3.0, 0.0, 0.7):
        share = (density * (mean + deviation * z).sigmoid()).sum() / density.sum()
        outputs = torch.tensor([[mean, math.log(deviation)]], dtype=torch.float64)
        assert LogitNormal().mean(outputs).item() == pytest.approx(share.item(), abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_modes_of_16_bits_are_those_of_float32(dtype: torch.dtype) -> None:
    family = MixtureOfGaussians(3)
    outputs = outputs_of(family, 5).detach().to(dtype)
    modes = family.modes(outputs)
    assert modes.dtype == dtype
    torch.testing.assert_close(modes, family.modes(outputs.float()).to(dtype), rtol=0, atol=0)

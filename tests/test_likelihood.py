"""Outputs as the parameters of distributions, the lecture's statements about them, and the head of
a mixture density network."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from activations_ext import nn
from activations_ext.functional.mixtures import SCALES
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
    raw_of,
    scale_of,
)
from helpers import device_type

FAMILIES: dict[str, Likelihood] = {
    "Gaussian": Gaussian(),
    "Gaussian 0.3": Gaussian(0.3),
    "Gaussian exp": Gaussian(None),
    "Gaussian softplus": Gaussian(None, "softplus", 0.1),
    "Bernoulli": Bernoulli(),
    "Categorical": Categorical(),
    "StudentT": StudentT(least_df=5.0),
    "StudentT softplus": StudentT(8.0, "softplus", 0.1),
    "Beta": Beta(),
    "LogitNormal": LogitNormal(),
    "LogitNormal elu": LogitNormal("elu", 0.1),
    "Poisson": Poisson(),
    "NegativeBinomial": NegativeBinomial(),
    "mixture exp": MixtureOfGaussians(3),
    "mixture softplus": MixtureOfGaussians(3, "softplus", 0.0),
    "mixture elu": MixtureOfGaussians(3, "elu", 0.2),
    "full mixture": MixtureOfMultivariateGaussians(3),
    "full mixture softplus": MixtureOfMultivariateGaussians(2, "softplus", 0.1),
}
DIMENSIONS = 4


def outputs_of(family: Likelihood, *batch: int) -> Tensor:
    torch.manual_seed(1)
    outputs = torch.randn(*batch, family.features(DIMENSIONS), dtype=torch.float64)
    return outputs.requires_grad_()


@pytest.mark.parametrize("batch", [(6,), (2, 3), ()])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_is_that_of_the_distribution(name: str, batch: tuple[int, ...]) -> None:
    family = FAMILIES[name]
    outputs = outputs_of(family, *batch)
    torch.manual_seed(0)
    target = family.sample(outputs)
    distribution = family.distribution(outputs)
    assert distribution.batch_shape == batch
    expected = -distribution.log_prob(target)
    losses = family.nll(outputs, target, "none")
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(family.nll(outputs, target, "sum"), expected.sum())
    torch.testing.assert_close(family.nll(outputs, target), expected.mean())
    for ours, theirs in zip(
        torch.autograd.grad(losses.sum(), outputs),
        torch.autograd.grad(expected.sum(), outputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_have_the_mean(name: str) -> None:
    family = FAMILIES[name]
    outputs = outputs_of(family, 2).detach()
    torch.manual_seed(0)
    drawn = family.sample(outputs, (20_000,))
    if isinstance(family, Categorical):
        drawn = torch.nn.functional.one_hot(drawn, DIMENSIONS)
    assert drawn.shape == (20_000, 2, DIMENSIONS)
    deviation = drawn.double().std(0) / math.sqrt(20_000)
    assert ((drawn.double().mean(0) - family.mean(outputs)).abs() < 5 * deviation + 1e-6).all()


def test_targets_that_are_probabilities() -> None:
    outputs = outputs_of(Bernoulli(), 5)
    target = torch.full((5, DIMENSIONS), 0.3, dtype=torch.float64)
    grad = torch.autograd.grad(Bernoulli().nll(outputs, target, "sum"), outputs)[0]
    torch.testing.assert_close(grad, torch.sigmoid(outputs.detach()) - 0.3)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.compiler
def test_compile(name: str) -> None:
    family = FAMILIES[name]
    outputs = outputs_of(family, 6).detach().float()
    torch.manual_seed(0)
    target = family.sample(outputs)
    torch._dynamo.reset()
    compiled = torch.compile(family.nll, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(outputs, target), family.nll(outputs, target))


# --- the lecture's statements ---------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [1.0, 0.1, 7.0])
def test_squared_error_is_the_gaussians_up_to_a_constant(sigma: float) -> None:
    target = torch.randn(100, 3, dtype=torch.float64)
    first, second = (torch.randn(100, 3, dtype=torch.float64) for _ in range(2))

    def difference(loss: Likelihood) -> Tensor:
        return loss.nll(first, target, "sum") - loss.nll(second, target, "sum")

    squares = (first - target).square().sum() - (second - target).square().sum()
    torch.testing.assert_close(difference(Gaussian(sigma)), squares / (2 * sigma**2))


def test_cross_entropy_with_one_hot_labels_is_the_categoricals() -> None:
    logits = torch.randn(50, 7, dtype=torch.float64)
    labels = torch.randint(7, (50,))
    one_hot = torch.nn.functional.one_hot(labels, 7).double()
    cross_entropy = -(one_hot * torch.log_softmax(logits, 1)).sum(1).mean()
    torch.testing.assert_close(Categorical().nll(logits, labels), cross_entropy)


@pytest.mark.parametrize("distance", [5.0, 20.0, 80.0, 1000.0])
def test_the_logarithm_undoes_the_exponential(distance: float) -> None:
    """Confident and wrong: the likelihood's gradient stays 1, the squared error's vanishes."""
    wrong = torch.tensor([[-distance]], requires_grad=True)
    target = torch.ones(1, 1)
    (of_nll,) = torch.autograd.grad(Bernoulli().nll(wrong, target), wrong)
    (of_squares,) = torch.autograd.grad(Gaussian().nll(torch.sigmoid(wrong), target), wrong)
    assert of_nll.item() == pytest.approx(-1, abs=math.exp(-5))
    assert abs(of_squares.item()) <= 2 * math.exp(-distance)

    logits = torch.tensor([[distance, 0.0, 0.0]], requires_grad=True)
    label = torch.tensor([1])
    (of_nll,) = torch.autograd.grad(Categorical().nll(logits, label), logits)
    one_hot = torch.tensor([[0.0, 1.0, 0.0]])
    squares = Gaussian().nll(torch.softmax(logits, 1), one_hot)
    (of_squares,) = torch.autograd.grad(squares, logits)
    assert of_nll[0].tolist() == pytest.approx([1, -1, 0], abs=2 * math.exp(-5))
    assert of_squares.abs().max() <= 6 * math.exp(-distance)


def test_a_mixture_of_one_is_the_gaussian_with_learned_variance() -> None:
    one, learned = MixtureOfGaussians(1, "exp", 0.0), Gaussian(None, "exp")
    outputs = outputs_of(learned, 6)
    target = torch.randn(6, DIMENSIONS, dtype=torch.float64)
    with_logit = torch.cat([torch.zeros(6, 1, dtype=torch.float64), outputs], 1)
    torch.testing.assert_close(one.nll(with_logit, target), learned.nll(outputs, target))


@pytest.mark.parametrize("scale_by", ["exp", "softplus", "elu"])
def test_scales_keep_their_digits(scale_by: str) -> None:
    """Far on the left all three are the exponential, and in the loss the same."""
    family = Gaussian(None, scale_by)
    raw = torch.tensor([-60.0, -30.0, -18.0, 3.0, 50.0], dtype=torch.float64)
    outputs = torch.stack([torch.zeros_like(raw), raw], 1)
    deviation = family.distribution(outputs).stddev.flatten()
    torch.testing.assert_close(deviation[:3], raw[:3].exp(), rtol=1e-7, atol=0)
    target = torch.zeros(5, 1, dtype=torch.float64)
    losses = family.nll(outputs, target, "none")
    expected = deviation.log() + 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-12)


# --- mixtures -------------------------------------------------------------------------------------


def test_variance_is_that_of_the_distribution() -> None:
    family = MixtureOfGaussians(3)
    outputs = outputs_of(family, 6)
    distribution = family.distribution(outputs)
    torch.testing.assert_close(family.mean(outputs), distribution.mean)
    torch.testing.assert_close(family.variance(outputs), distribution.variance)


def raw(weights: list[float], means: list[float], scales: list[float]) -> Tensor:
    """Outputs of a mixture with exp and no floor, in one dimension."""
    return torch.tensor(
        [*map(math.log, weights), *means, *map(math.log, scales)], dtype=torch.float64
    )


def test_modes() -> None:
    family = MixtureOfGaussians(3, floor=0.0)
    modes = family.modes(raw([0.2, 0.5, 0.3], [-5.0, 0.0, 5.0], [0.5, 0.5, 0.1]))
    torch.testing.assert_close(modes.flatten().tolist(), [5.0, 0.0, -5.0])
    # Two that are close make one hill between them.
    modes = family.modes(raw([0.4, 0.4, 0.2], [-0.2, 0.2, 9.0], [1.0, 1.0, 1.0]), steps=2000)
    torch.testing.assert_close(modes[:2], torch.zeros(2, 1, dtype=torch.float64), atol=1e-6, rtol=0)
    # In several dimensions the gradient of the density is 0 there.
    many = MixtureOfGaussians(4)
    outputs = outputs_of(many, 5).detach()
    place = many.modes(outputs, steps=3000).requires_grad_()
    log_density = many.distribution(outputs.unsqueeze(1)).log_prob(place)
    assert torch.autograd.grad(log_density.sum(), place)[0].abs().max() < 1e-6
    assert (log_density.diff(dim=-1) <= 1e-9).all()


def test_effective_components() -> None:
    family = MixtureOfGaussians(4, floor=0.0)
    zeros = [0.0] * 4
    even = raw([0.25] * 4, zeros, [1.0] * 4)
    assert family.effective_components(even).item() == pytest.approx(4)
    collapsed = even.clone()
    collapsed[0] = 100.0
    assert family.effective_components(collapsed).item() == pytest.approx(1)
    # Each input has one of its own: all are used.
    own = torch.eye(4, dtype=torch.float64) * 100
    outputs = torch.cat([own, torch.zeros(4, 8, dtype=torch.float64)], 1)
    assert family.effective_components(outputs).item() == pytest.approx(4)


# --- the head -------------------------------------------------------------------------------------


def three_hills(count: int = 600) -> Tensor:
    torch.manual_seed(0)
    return torch.tensor([-4.0, 0.0, 9.0])[torch.arange(count) % 3, None] + 0.3 * torch.randn(
        count, 1
    )


@pytest.mark.parametrize("scale_by", ["exp", "softplus", "elu"])
def test_init_from_quantiles(scale_by: str) -> None:
    head = nn.MixtureDensityHead(5, 1, 3, scale_by=scale_by)
    head.init_from_targets(three_hills())
    weight, mean, scale = head.likelihood.weights_means_scales(head(torch.zeros(5)))
    torch.testing.assert_close(weight, torch.full((3,), 1 / 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(mean.flatten(), torch.tensor([-4.0, 0.0, 9.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(scale.flatten(), torch.full((3,), 0.3), atol=0.05, rtol=0)


@pytest.mark.slow
def test_init_from_clusters() -> None:
    pytest.importorskip("sklearn")
    head = nn.MixtureDensityHead(5, 2, 3)
    hills = three_hills()
    head.init_from_targets(torch.cat([hills, -hills], 1))
    weight, mean, _ = head.likelihood.weights_means_scales(head(torch.zeros(5)))
    torch.testing.assert_close(weight, torch.full((3,), 1 / 3), atol=1e-5, rtol=0)
    found = mean[mean[:, 0].argsort()]
    expected = torch.tensor([[-4.0, 4.0], [0.0, 0.0], [9.0, -9.0]])
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0)


@pytest.mark.parametrize("features", [1, 2])
def test_init_from_equal_targets(features: int) -> None:
    head = nn.MixtureDensityHead(5, features, 3)
    head.init_from_targets(torch.ones(7, features))
    assert head.linear.bias.isfinite().all()


def test_the_head_learns_three_hills() -> None:
    torch.manual_seed(0)
    head = nn.MixtureDensityHead(1, 1, 3)
    target = three_hills()
    head.init_from_targets(target)
    inputs = torch.zeros(len(target), 1)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        loss = head.nll(head(inputs), target)
        loss.backward()
        optimizer.step()
    entropy = math.log(3) + 0.5 * math.log(2 * math.pi * math.e * 0.3**2)
    assert loss.item() == pytest.approx(entropy, abs=0.05)
    outputs = head(torch.zeros(1))
    torch.testing.assert_close(
        head.modes(outputs).sort(0).values.flatten(),
        torch.tensor([-4.0, 0.0, 9.0]),
        atol=0.1,
        rtol=0,
    )
    assert head.effective_components(outputs).item() == pytest.approx(3, abs=0.05)
    assert head.mean(outputs).item() == pytest.approx(5 / 3, abs=0.2)
    assert head.variance(outputs).item() == pytest.approx(target.var().item(), rel=0.05)
    torch.manual_seed(0)
    drawn = head.sample(outputs, (1000,))
    assert drawn.shape == (1000, 1)
    nearest = (drawn - torch.tensor([-4.0, 0.0, 9.0])).abs().amin(1)
    assert nearest.max() < 2


def test_the_heads_state_and_text() -> None:
    head = nn.MixtureDensityHead(5, 2, 3, "softplus", 0.1, dtype=torch.float64)
    assert list(head.state_dict()) == ["linear.weight", "linear.bias"]
    assert head(torch.zeros(4, 5, dtype=torch.float64)).shape == (4, 3 * 5)
    assert "components=3" in repr(head)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_standard_deviation_that_is_none(scale: float) -> None:
    with pytest.raises(ValueError, match="expected argument 'scale' to be a positive"):
        Gaussian(scale)


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "Categorical"])
def test_errors(name: str) -> None:
    family = FAMILIES[name]
    outputs = outputs_of(family, 6).detach()
    target = torch.zeros(6, DIMENSIONS, dtype=torch.float64)
    for wrong in (target[:5], target[:, :3]):
        with pytest.raises(ValueError, match="expected argument 'outputs' to have the shape"):
            family.nll(outputs, wrong)
    with pytest.raises(ValueError, match="expected argument 'target' to have a dimension"):
        family.nll(outputs, target[0, 0])
    if outputs.device.type == "cpu":  # elsewhere it would have to be waited for
        with pytest.raises(ValueError, match="'target' to have numbers, but got NaN"):
            family.nll(outputs, target.fill_(torch.nan))
    with pytest.raises(ValueError, match=r"reduction|median"):
        family.nll(outputs, torch.zeros(6, DIMENSIONS, dtype=torch.float64), "median")


def test_other_errors() -> None:
    with pytest.raises(ValueError, match="'target' to have a class for each row"):
        Categorical().nll(torch.zeros(3, 4), torch.zeros(4, dtype=torch.long))
    if device_type() == "cpu":  # elsewhere it is told later
        with pytest.raises(IndexError, match="'target' to have classes from 0 to 3"):
            Categorical().nll(torch.zeros(3, 4), torch.full((3,), 4))
    with pytest.raises(ValueError, match="'components' to be at least 1"):
        MixtureOfGaussians(0)
    with pytest.raises(ValueError, match="'scale_by' to be one of exp, softplus, elu, identity"):
        Gaussian(None, "square")
    with pytest.raises(ValueError, match="'floor' to be at least 0"):
        MixtureOfGaussians(2, floor=-1.0)
    with pytest.raises(ValueError, match=r"'outputs' to have a last dimension of 2·\(1 \+ 2·D\)"):
        MixtureOfGaussians(2).mean(torch.zeros(5, 8))
    with pytest.raises(ValueError, match="'outputs' to have a last dimension that is a multiple"):
        MixtureOfGaussians(2).mean(torch.zeros(5, 7))
    if torch.get_default_device().type == "cpu":
        with pytest.raises(ValueError, match="'scale' to have positive and finite"):
            MixtureOfGaussians(1, "identity", 0.0).nll(torch.zeros(1, 3), torch.zeros(1, 1))
    with pytest.raises(ValueError, match="'scale_by' to be exp, softplus or elu"):
        nn.MixtureDensityHead(1, 1, 1, "identity")
    head = nn.MixtureDensityHead(1, 2, 3)
    for wrong in (torch.zeros(2, 2), torch.zeros(9, 1), torch.zeros(9)):
        with pytest.raises(ValueError, match="'target' to have the shape"):
            head.init_from_targets(wrong)
    with pytest.raises(ValueError, match="'target' to have finite numbers"):
        head.init_from_targets(torch.full((9, 2), torch.nan))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale_by", SCALES)
def test_standard_deviations(scale_by: str, dtype: torch.dtype) -> None:
    """As torch's functions compute them in float64, and back."""
    formulas = {
        "exp": torch.exp,
        "softplus": lambda s: torch.logaddexp(s, torch.zeros_like(s)),
        "elu": lambda s: torch.where(s > 0, s + 1, s.clamp_max(0.0).exp()),
        "identity": lambda s: s,
    }
    raw = torch.linspace(-9, 9, 61, dtype=torch.float64).to(dtype)
    if scale_by == "identity":
        raw = raw.abs() + 0.5
    raw.requires_grad_()
    exact = raw.detach().double().requires_grad_()
    ours, expected = scale_of(raw, scale_by, 0.25), formulas[scale_by](exact) + 0.25
    torch.testing.assert_close(ours, expected.to(dtype))
    ours.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(raw.grad, exact.grad.to(dtype))  # type: ignore[union-attr]
    back = raw_of(scale_of(exact.detach(), scale_by, 0.0), scale_by)
    torch.testing.assert_close(back, exact.detach())


def test_standard_deviations_of_wrong_arguments() -> None:
    scale = torch.ops.activations_ext.mixture_scale
    with pytest.raises(ValueError, match=r"mixture_scale.*'scale_by' to be from 0 to 3, but got 4"):
        scale(torch.zeros(2), 4, 0.0)
    with pytest.raises(RuntimeError, match=r"mixture_scale.*'scale'"):
        scale(torch.zeros(2, dtype=torch.int64), 0, 0.0)

"""``focal_gamma`` and ``shift`` of the two cross-entropies, and their ``loss_dtype``."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from activations_ext import functional as F
from activations_ext import nn
from helpers import DTYPES, assert_same_bits

N, C, FEATURES = 7, 12, 5
GAMMAS = (0.5, 1.0, 2.0, 3.7)


def numbers(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu").to(
        torch.get_default_device(), dtype
    )


def targets(*shape: int) -> Tensor:
    target = torch.arange(math.prod(shape)).view(shape) * 5 % C
    target.view(-1)[2] = -100
    return target


def reference(
    x: Tensor, target: Tensor, gamma: float, weight: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor]:
    """The loss of each row, and what the mean divides by."""
    log_p = x.log_softmax(1)
    kept = target != -100
    safe = target.clamp_min(0)[:, None]
    w = torch.ones(C, dtype=x.dtype) if weight is None else weight
    log_p_t = log_p.gather(1, safe)[:, 0]
    hard = -w[safe[:, 0]] * log_p_t
    soft = -(w * log_p).sum(1) / C
    loss = (1 - log_p_t.exp()) ** gamma * ((1 - smoothing) * hard + smoothing * soft)
    return torch.where(kept, loss, 0.0), torch.where(kept, w[safe[:, 0]], 0.0)


OPTIONS = list(itertools.product(GAMMAS, (False, True), (0.0, 0.1), ("none", "sum", "mean")))


@pytest.mark.parametrize(("gamma", "weighted", "smoothing", "reduction"), OPTIONS)
def test_focal_loss_is_the_formula(
    gamma: float, weighted: bool, smoothing: float, reduction: str
) -> None:
    x, target = numbers(N, C).requires_grad_(), targets(N)
    weight = numbers(C, seed=1).abs() if weighted else None
    losses, share = reference(x, target, gamma, weight, smoothing)
    expected = {"none": losses, "sum": losses.sum(), "mean": losses.sum() / share.sum()}[reduction]
    ours = F.cross_entropy(
        x,
        target,
        weight,
        reduction=reduction,
        label_smoothing=smoothing,
        focal_gamma=gamma,
    )
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)
    factor = torch.rand_like(ours)
    grads = [torch.autograd.grad(loss, x, factor)[0] for loss in (ours, expected)]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("budget", [1, 3 * C * 8, 2**28])
def test_linear_focal_loss(gamma: float, reduction: str, budget: int) -> None:
    """Whose gradients are made together with the loss, chunk by chunk."""
    target, token_weight = targets(N), numbers(N, seed=4).abs()
    options: dict[str, Any] = {
        "weight": numbers(C, seed=3).abs(),
        "label_smoothing": 0.1,
        "z_loss": 0.01,
        "focal_gamma": gamma,
        "token_weight": token_weight,
        "reduction": reduction,
    }
    results = []
    for chunked in (True, False):
        h = numbers(N, FEATURES, seed=1).requires_grad_()
        w = numbers(C, FEATURES, seed=2).requires_grad_()
        if chunked:
            loss = F.linear_cross_entropy(h, w, target, memory_budget=budget, **options)
        else:
            loss = F.cross_entropy(h @ w.t(), target, **options)
        results.append([loss, *torch.autograd.grad(loss.square().sum(), (h, w))])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_focal_derivatives(gamma: float) -> None:
    x, target = numbers(4, 5).requires_grad_(), targets(4) % 5
    h, w = numbers(4, 3).requires_grad_(), numbers(5, 3, seed=1).requires_grad_()

    def loss(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, label_smoothing=0.1, focal_gamma=gamma)

    def linear_loss(hidden: Tensor, weight: Tensor) -> Tensor:
        return F.linear_cross_entropy(hidden, weight, target, focal_gamma=gamma)

    for function, inputs in ((loss, (x,)), (linear_loss, (h, w))):
        assert gradcheck(function, inputs, check_forward_ad=True)
        assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_certain_target_has_neither_loss_nor_gradient(dtype: torch.dtype) -> None:
    """Where (1 − p)^(γ − 1) is infinite; and nothing of an ignored row leaks."""
    x = torch.zeros(4, C, dtype=dtype)
    x[0, 3], x[1, 3], x[2] = 3e4, -3e4, math.nan
    target = torch.tensor([3, 3, -100, 1])
    for gamma in GAMMAS:
        leaf = x.clone().requires_grad_()
        loss = F.cross_entropy(leaf, target, reduction="none", focal_gamma=gamma)
        loss.sum().backward()
        assert leaf.grad is not None
        assert loss[0] == loss[2] == 0
        assert loss[1] > 2e4
        assert loss.isfinite().all()
        assert (leaf.grad[[0, 2]] == 0).all()
        assert leaf.grad.isfinite().all()


def test_confident_targets_keep_their_digits() -> None:
    """1 − p is 0 in float32 where −log p is not."""
    x = torch.tensor([[0.0, -20.0, -21.0]])
    rest = math.exp(-20) + math.exp(-21)
    for gamma in (1.0, 2.0):
        loss = F.cross_entropy(x, torch.tensor([0]), focal_gamma=gamma)
        assert loss.item() == pytest.approx(rest ** (1 + gamma), rel=1e-5)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_binary_focal_loss_is_the_formula(gamma: float, reduction: str) -> None:
    """As torchvision's sigmoid_focal_loss has it, α as ``weight``."""
    x = (numbers(N, C) * 4).requires_grad_()
    for target in (targets(N, C).clamp_min(0).bool().double(), numbers(N, C, seed=3).sigmoid()):
        alpha = 0.25 * target + 0.75 * (1 - target)
        p = x.sigmoid()
        p_t = p * target + (1 - p) * (1 - target)
        plain = torch.nn.functional.binary_cross_entropy_with_logits(x, target, reduction="none")
        losses = alpha * (1 - p_t) ** gamma * plain
        expected = {"none": losses, "sum": losses.sum(), "mean": losses.mean()}[reduction]
        ours = F.binary_cross_entropy_with_logits(
            x, target, alpha, reduction=reduction, focal_gamma=gamma
        )
        torch.testing.assert_close(ours, expected)
        factor = torch.rand_like(ours)
        grads = [
            torch.autograd.grad(loss, x, factor, retain_graph=True)[0] for loss in (ours, expected)
        ]
        torch.testing.assert_close(*grads)
    module = nn.BCEWithLogitsLoss(reduction=reduction, focal_gamma=gamma)
    expected = F.binary_cross_entropy_with_logits(x, target, reduction=reduction, focal_gamma=gamma)
    assert_same_bits(module(x, target), expected)


@pytest.mark.each_capability
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("gamma", [*GAMMAS, 12.0])
def test_binary_focal_loss_of_few_digits(gamma: float, dtype: torch.dtype) -> None:
    """Read as they are, computed in float32 at least and rounded once."""
    x = (numbers(41, 5) * 3).to(dtype).requires_grad_()
    target = numbers(41, 5, seed=1).sigmoid().to(dtype)
    weights = {"weight": target[0].clone() + 1, "pos_weight": target[:, :1].clone() + 0.5}
    exact = x.detach().double().requires_grad_()
    wide = {name: weight.double() for name, weight in weights.items()}
    for reduction in ("none", "sum"):
        options: dict[str, Any] = {"reduction": reduction, "focal_gamma": gamma}
        ours = F.binary_cross_entropy_with_logits(x, target, **weights, **options)
        expected = F.binary_cross_entropy_with_logits(exact, target.double(), **wide, **options)
        ulp = torch.finfo(dtype).eps
        close = {"rtol": 0.51 * ulp if ulp > 1e-6 else 40 * ulp, "atol": 1e-7}
        torch.testing.assert_close(ours.double(), expected, **close)
        (grad,), (exact_grad,) = (
            torch.autograd.grad(loss.sum(), y) for loss, y in ((ours, x), (expected, exact))
        )
        torch.testing.assert_close(grad.double(), exact_grad, **close | {"atol": 1e-6})


@pytest.mark.parametrize("gamma", GAMMAS)
def test_derivatives_of_the_binary_focal_loss(gamma: float) -> None:
    x, target = numbers(3, 4).requires_grad_(), numbers(3, 4, seed=1).sigmoid().requires_grad_()

    def loss(*parts: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(*parts, focal_gamma=gamma)

    fixed = target.detach()
    assert torch.autograd.gradcheck(lambda y: loss(y, fixed), x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda y: loss(y, fixed), x)
    assert torch.autograd.gradcheck(loss, (x, target))  # by the formula


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_binary_focal_loss_of_certain_answers(dtype: torch.dtype) -> None:
    x = torch.tensor([200.0, -200.0, 200.0, 0.0], dtype=dtype, requires_grad=True)
    target = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=dtype)
    for gamma in GAMMAS:
        losses = F.binary_cross_entropy_with_logits(x, target, reduction="none", focal_gamma=gamma)
        (grad,) = torch.autograd.grad(losses.sum(), x)
        assert losses.dtype == dtype
        assert losses[:3].tolist() == pytest.approx([0, 0, 200], abs=1e-40)
        assert grad[:3].tolist() == pytest.approx([0, 0, 1], abs=1e-40)
        assert losses[3].item() == pytest.approx(math.log(2) * 0.5**gamma, rel=0.01)
        infinite = torch.tensor([math.inf, -math.inf], dtype=dtype, requires_grad=True)
        for answer, slopes in ((1.0, [0, -1]), (0.0, [1, 0])):
            loss = F.binary_cross_entropy_with_logits(
                infinite, torch.full_like(infinite, answer), focal_gamma=gamma, reduction="sum"
            )
            assert torch.autograd.grad(loss, infinite)[0].tolist() == slopes


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_wrong_gammas(wrong: float) -> None:
    x, target = numbers(N, C), targets(N)
    for call in (
        lambda: F.cross_entropy(x, target, focal_gamma=wrong),
        lambda: F.linear_cross_entropy(x, torch.eye(C).double(), target, focal_gamma=wrong),
        lambda: F.binary_cross_entropy_with_logits(x, x.sigmoid(), focal_gamma=wrong),
    ):
        with pytest.raises(ValueError, match="'focal_gamma' to be a finite number"):
            call()
    with pytest.raises(ValueError, match="'focal_gamma' to be 0 for probabilities"):
        F.cross_entropy(x, x.softmax(1), focal_gamma=2.0)


@pytest.mark.parametrize("shift", [0, 1, 3, 6, 9])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_shifted_targets(shift: int, reduction: str) -> None:
    """As transformers' models shift them: row i predicts the target at i + shift."""
    batch, steps = 3, 6
    hidden, weight = numbers(batch, steps, FEATURES), numbers(C, FEATURES, seed=1)
    target, logits = targets(batch, steps), numbers(batch, steps, FEATURES) @ weight.t()
    rows = logits[:, : max(steps - shift, 0)].flatten(0, 1)
    expected = F.cross_entropy(rows, target[:, shift:].flatten(), reduction=reduction)
    before = target.clone()
    ours = F.cross_entropy(logits.transpose(1, 2), target, reduction=reduction, shift=shift)
    assert torch.equal(target, before)
    if shift == 0:
        linear = F.linear_cross_entropy(
            hidden.flatten(0, 1), weight, target.flatten(), reduction=reduction
        ).view(ours.shape)
    else:
        linear = F.linear_cross_entropy(hidden, weight, target, reduction=reduction, shift=shift)
    for result in (ours, linear):
        if reduction == "none":
            assert result.shape == (batch, steps)
            assert (result[:, max(steps - shift, 0) :] == 0).all()
            result = result[:, : max(steps - shift, 0)].flatten()
        torch.testing.assert_close(result, expected, equal_nan=True)


def test_what_is_returned_beside_a_shifted_loss() -> None:
    hidden, weight, target = numbers(2, 4, FEATURES), numbers(C, FEATURES), targets(2, 4)
    options: dict[str, Any] = {"shift": 1, "return_lse": True, "return_log_prob": True}
    loss, lse, log_prob = F.linear_cross_entropy(hidden, weight, target, **options)
    assert loss.shape == ()
    torch.testing.assert_close(lse, (hidden @ weight.t()).logsumexp(-1))
    assert log_prob.shape == (2, 4)
    assert (log_prob[:, -1] == 0).all()


def test_token_weights_have_the_shape_of_shifted_targets() -> None:
    hidden, weight, target = numbers(2, 4, FEATURES), numbers(C, FEATURES), targets(2, 4)
    token_weight = numbers(2, 4, seed=3).abs()
    ours = F.linear_cross_entropy(hidden, weight, target, shift=1, token_weight=token_weight)
    logits = (hidden @ weight.t()).transpose(1, 2)
    expected = F.cross_entropy(logits, target, shift=1, token_weight=token_weight)
    torch.testing.assert_close(ours, expected)
    with pytest.raises(RuntimeError, match="'token_weight' to have a number for each row"):
        F.linear_cross_entropy(hidden, weight, target, shift=1, token_weight=token_weight.t())


@pytest.mark.parametrize("wrong", [-1, 1.0, None])
def test_wrong_shifts(wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="'shift'"):
        F.cross_entropy(numbers(N, C), targets(N), shift=wrong)
    with pytest.raises(ValueError, match=r"'shift'.*probabilities"):
        F.cross_entropy(numbers(N, C), numbers(N, C).softmax(1), shift=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_loss_in_another_dtype(dtype: torch.dtype) -> None:
    """Not rounded to 16 bits; the gradient is the same."""
    x, target = numbers(N, C, dtype=dtype), targets(N)
    hidden, weight = numbers(N, FEATURES, dtype=dtype), numbers(C, FEATURES, dtype=dtype)
    for reduction in ("none", "mean"):
        narrow = F.cross_entropy(x, target, reduction=reduction)
        wide = F.cross_entropy(x, target, reduction=reduction, loss_dtype=torch.float32)
        assert wide.dtype == torch.float32
        assert_same_bits(wide.to(dtype), narrow)
        exact = torch.nn.functional.cross_entropy(x.double(), target, reduction=reduction)
        torch.testing.assert_close(wide.double(), exact, rtol=1e-6, atol=1e-6)
        linear = F.linear_cross_entropy(
            hidden, weight, target, reduction=reduction, loss_dtype=torch.float32
        )
        assert linear.dtype == torch.float32
    grads = []
    for options in ({}, {"loss_dtype": torch.float32}):
        leaf = x.clone().requires_grad_()
        F.cross_entropy(leaf, target, **options).backward()
        grads.append(leaf.grad)
    assert_same_bits(*grads)


def test_modules_pass_them_on() -> None:
    x, target = numbers(N, C), targets(N)
    expected = F.cross_entropy(x, target, focal_gamma=2.0, shift=1, loss_dtype=torch.float32)
    module = nn.CrossEntropyLoss(focal_gamma=2.0, shift=1, loss_dtype=torch.float32)
    assert_same_bits(module(x, target), expected)


@pytest.mark.compiler
def test_compiled() -> None:
    hidden, weight, target = numbers(2, 4, FEATURES), numbers(C, FEATURES), targets(2, 4)

    def loss(h: Tensor, w: Tensor, t: Tensor) -> Tensor:
        plain = F.cross_entropy((h @ w.t()).transpose(1, 2), t, focal_gamma=2.0, shift=1)
        linear: Tensor = F.linear_cross_entropy(h, w, t, focal_gamma=2.0, shift=1)
        return plain + linear

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    results = []
    for function in (loss, compiled):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        value = function(h, w, target)
        results.append([value, *torch.autograd.grad(value, (h, w))])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)

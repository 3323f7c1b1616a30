"""Digits of the losses: at any scale of the gradient, with targets of another dtype, on any number
of threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from activations_ext import functional as F
from helpers import assert_same_bits

SIXTEEN = (torch.bfloat16, torch.float16)


def error_of(actual: Tensor, expected: Tensor) -> float:
    """Relative, of all numbers together."""
    return float((actual.double() - expected).norm() / expected.norm())


def errors(dtype: torch.dtype, factor: float, **options: Any) -> list[float]:
    """Of the gradients of the mean loss, times ``factor``: by hidden states and weight.

    Under autocast: a loss in 16 bits would round the factor.
    """
    random = torch.Generator().manual_seed(0)
    rows, classes, features = 128, 32_000, 16
    hidden = torch.randn(rows, features, generator=random).to(dtype)
    weight = (torch.randn(classes, features, generator=random) * 0.05).to(dtype)
    target = torch.randint(classes, (rows,), generator=random)
    exact = [t.double().requires_grad_() for t in (hidden, weight)]
    loss = torch.nn.functional.cross_entropy(exact[0] @ exact[1].t(), target)
    expected = torch.autograd.grad(loss, exact)
    leaves = [t.clone().requires_grad_() for t in (hidden, weight)]
    with torch.autocast("cpu", dtype):
        losses = F.linear_cross_entropy(*leaves, target, **options)
    scaled = losses * factor if losses.dim() == 0 else losses.sum() / rows * factor
    grads = torch.autograd.grad(scaled, leaves)
    for leaf, grad in zip(leaves, grads, strict=True):
        assert leaf.dtype == grad.dtype
    return [error_of(g.double() / factor, e) for g, e in zip(grads, expected, strict=True)]


@pytest.mark.parametrize("factor", [2.0**-16, 2.0**-5, 1.0, 3.7, 2.0**10, 2.0**16])
@pytest.mark.parametrize("dtype", SIXTEEN)
def test_gradients_made_before_their_factor_is_known(dtype: torch.dtype, factor: float) -> None:
    """As exact as those that are made when it is; but that the hidden states' is rounded once more
    where the factor is no power of two."""
    known = errors(dtype, factor, reduction="none")
    exactly = 1.1 if math.frexp(factor)[0] == 0.5 else 1.5
    for options in ({}, {"reduction": "sum", "num_items": 128}):
        for ours, theirs in zip(errors(dtype, factor, **options), known, strict=True):
            assert ours < exactly * theirs


@pytest.mark.slow
def test_autocast_with_a_loss_scale() -> None:
    """The relative errors were 0.19 and 1.88."""
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(512, 32, generator=random)
    weight = torch.randn(32_000, 32, generator=random) * 0.05
    target = torch.randint(32_000, (512,), generator=random)
    exact = [t.half().double().requires_grad_() for t in (hidden, weight)]
    loss = torch.nn.functional.cross_entropy(exact[0] @ exact[1].t(), target)
    expected = torch.autograd.grad(loss, exact)
    leaves = [t.clone().requires_grad_() for t in (hidden, weight)]
    with torch.autocast("cpu", torch.float16):
        ours = F.linear_cross_entropy(*leaves, target)
    assert ours.dtype == torch.float32
    grads = torch.autograd.grad(ours * 65536, leaves)
    for grad, right in zip(grads, expected, strict=True):
        assert error_of(grad.double() / 65536, right) < 1e-3


def test_large_weights_do_not_overflow() -> None:
    """The product with the weight, in float16."""
    hidden = torch.randn(8, 4).half().requires_grad_()
    weight = (torch.randn(50, 4) * 3000).half()
    loss = F.linear_cross_entropy(hidden * 1e-4, weight, torch.arange(8))
    (grad,) = torch.autograd.grad(loss, hidden)
    assert grad.isfinite().all()


@pytest.mark.parametrize("dtype", SIXTEEN)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reduction": "none"},
        {"label_smoothing": 0.1},
        {"weight": torch.linspace(0.5, 2, 1000)},
        {"z_loss": 1e-2},
        {"softcap": 5.0},
        {"token_weight": torch.linspace(0, 1, 20)},
        {"return_entropy": True},
    ],
    ids=str,
)
def test_16_bit_logits_with_float32_probabilities(
    dtype: torch.dtype, options: dict[str, Any]
) -> None:
    """Distillation: the teacher's probabilities are not rounded."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 1000, generator=random).to(dtype)
    uniform = torch.full((20, 1000), 1e-3)

    def loss_of(x: Tensor) -> Tensor:
        wide = {n: v.to(x.dtype) if isinstance(v, Tensor) else v for n, v in options.items()}
        result = F.cross_entropy(x, uniform.to(x.dtype), **wide)
        return result if isinstance(result, Tensor) else result[0]

    leaf = logits.clone().requires_grad_()
    ours = F.cross_entropy(leaf, uniform, **options)
    ours = ours if isinstance(ours, Tensor) else ours[0]
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), loss_of(logits.double()), rtol=3e-6, atol=0)
    (grad,) = torch.autograd.grad(ours.sum(), leaf)
    assert grad.dtype == dtype


def test_16_bit_logits_with_float32_probabilities_are_torchs() -> None:
    for dtypes in [(a, b) for a in (*SIXTEEN, torch.float32) for b in (*SIXTEEN, torch.float32)]:
        x, q = torch.randn(5, 7).to(dtypes[0]), torch.rand(5, 7).to(dtypes[1])
        ours = F.cross_entropy(x, q)
        torchs = torch.nn.functional.cross_entropy(x, q)
        assert ours.dtype == torchs.dtype
        torch.testing.assert_close(ours, torchs, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("enabled", [True, False])
def test_probabilities_are_not_rounded_by_autocast(enabled: bool) -> None:
    hidden, weight = torch.randn(30, 8), torch.zeros(1000, 8)
    uniform = torch.full((30, 1000), 1e-3)
    for reduction in ("none", "mean"):
        leaf = hidden.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = F.linear_cross_entropy(leaf, weight, uniform, reduction=reduction)
        assert loss.dtype == torch.float32
        expected = torch.full_like(loss, 6.907755)
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
        loss.sum().backward()
        assert leaf.grad is not None


ROWS = 70_000
logits = torch.randn(ROWS, 5, generator=torch.Generator().manual_seed(7))
classes = torch.randint(5, (ROWS,), generator=torch.Generator().manual_seed(8))
shares = torch.rand(ROWS, 5, generator=torch.Generator().manual_seed(9))
matrix = torch.randn(256, 64, generator=torch.Generator().manual_seed(10))


shares_of_many = torch.rand(33_000, 256, generator=torch.Generator().manual_seed(11))


def hidden_of(x: Tensor) -> Tensor:
    return x.repeat(1, 13)[:, :64].contiguous()


ON_THREADS: dict[str, Callable[[Tensor], Tensor]] = {
    "usual": lambda x: F.cross_entropy(x, classes),
    "weight": lambda x: F.cross_entropy(x, classes, shares[0]),
    "smoothing": lambda x: F.cross_entropy(x, classes, label_smoothing=0.1),
    "probabilities": lambda x: F.cross_entropy(x, shares),
    "probabilities of one row": lambda x: F.cross_entropy(
        x.reshape(1, -1), shares.reshape(1, -1), label_smoothing=0.1
    ),
    "smoothing of many classes": lambda x: F.cross_entropy(
        x.reshape(2, -1), classes[:2], shares.flatten()[: ROWS * 5 // 2], label_smoothing=0.1
    ),
    "z_loss": lambda x: F.cross_entropy(x, classes, z_loss=0.1, weight=shares[0]),
    "token_weight": lambda x: F.cross_entropy(x, classes, token_weight=shares[:, 0]),
    "sum": lambda x: F.cross_entropy(x, classes, label_smoothing=0.1, reduction="sum"),
    "logsumexp": lambda x: F.logsumexp(x, (0, 1)),
    "binary": lambda x: F.binary_cross_entropy_with_logits(x, shares, pos_weight=shares[0]),
    "nll_loss": lambda x: F.nll_loss(F.log_softmax(x, 1), classes),
    "mixture": lambda x: F.gaussian_mixture_nll_loss(
        x, x[:, :, None], x[:, :, None], shares[:, :1], scale_by="softplus"
    ),
    "mixture, sum": lambda x: F.gaussian_mixture_nll_loss(
        x, x[:, :, None], x[:, :, None], shares[:, :1], scale_by="softplus", reduction="sum"
    ),
    "linear_cross_entropy": lambda x: F.linear_cross_entropy(
        hidden_of(x), matrix, classes, label_smoothing=0.1
    ),
    "linear_cross_entropy, small chunks": lambda x: F.linear_cross_entropy(
        hidden_of(x), matrix, classes, memory_budget=256 * 4 * 9_999
    ),
    "linear_cross_entropy, probabilities": lambda x: F.linear_cross_entropy(
        hidden_of(x[:33_000]), matrix, shares_of_many[:33_000], z_loss=0.1
    ),
    "linear_cross_entropy, entropy": lambda x: F.linear_cross_entropy(
        hidden_of(x), matrix, classes, return_entropy=True
    )[0],
}
"""Of torch's matrix products only such as do not depend on it themselves: MKL's with few columns
do."""


@pytest.mark.parametrize("name", ON_THREADS)
@pytest.mark.slow
def test_losses_do_not_depend_on_the_number_of_threads(name: str) -> None:
    results: list[tuple[Tensor, Tensor]] = []
    for threads in range(1, 8):
        torch.set_num_threads(threads)
        leaf = logits.clone().requires_grad_()
        loss = ON_THREADS[name](leaf)
        (grad,) = torch.autograd.grad(loss, leaf)
        results.append((loss.detach(), grad))
    for loss, grad in results[1:]:
        assert_same_bits(loss, results[0][0])
        assert_same_bits(grad, results[0][1])


@pytest.mark.parametrize("scale_by", ["identity", "softplus", "elu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_infinite_standard_deviations(scale_by: str, dtype: torch.dtype) -> None:
    """An error where the numbers are looked at, and elsewhere a large number and no NaN."""
    one = torch.ones(3, 2, dtype=dtype)
    scale = one[:, :, None].clone()
    scale[1] = torch.inf
    with pytest.raises(ValueError, match=r"'scale'.*finite.*inf"):
        F.gaussian_mixture_nll_loss(one, one[:, :, None], scale, one[:, :1], scale_by=scale_by)
    leaf = scale.requires_grad_()
    losses = F.gaussian_mixture_nll_loss(
        one,
        one[:, :, None],
        leaf,
        one[:, :1],
        scale_by=scale_by,
        reduction="none",
        validate_args=False,
    )
    assert losses.isfinite().all()
    assert losses[1] > 80
    losses.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


def test_floors_beyond_the_type() -> None:
    one = torch.ones(3, 2)
    for floor in (1e39, float("inf"), float("nan"), -1.0):
        with pytest.raises(ValueError, match="'floor'"):
            F.gaussian_mixture_nll_loss(
                one, one[:, :, None], one[:, :, None], one[:, :1], floor=floor
            )

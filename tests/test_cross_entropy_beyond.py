"""What cross_entropy can do beyond torch's."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as torch_functional
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from activations_ext import functional as F
from activations_ext import nn
from helpers import assert_same_bits
from test_cross_entropy import classes, every_dtype, logits


def test_z_loss_softcap_and_num_items() -> None:
    x, t = logits(6, 50).double(), classes((6,), 50)
    t[2] = -100
    lse = torch.where(t != -100, x.logsumexp(1), 0)
    plain = torch_functional.cross_entropy(x, t, reduction="none")
    ours = F.cross_entropy(x, t, reduction="none", z_loss=0.1)
    torch.testing.assert_close(ours, plain + 0.1 * lse.square())
    capped = 5 * torch.tanh(x / 5)
    torch.testing.assert_close(
        F.cross_entropy(x, t, softcap=5.0), torch_functional.cross_entropy(capped, t)
    )
    for num_items in (11, torch.tensor(11)):
        result = F.cross_entropy(x, t, num_items=num_items)
        torch.testing.assert_close(result, plain.sum() / 11)


@every_dtype
@pytest.mark.parametrize("probabilities", [False, True])
def test_numbers_beside_the_loss(dtype: torch.dtype, probabilities: bool) -> None:
    x, t = logits(6, 300, dtype=dtype), classes((6,), 300)
    t[2] = -100
    target = x.flip(0).softmax(1) if probabilities else t
    options: dict[str, Any] = {"label_smoothing": 0.1, "return_lse": True, "return_entropy": True}
    if not probabilities:
        options["return_log_prob"] = True
    loss, lse, *log_prob, entropy = F.cross_entropy(x, target, **options)
    compute = torch.float64 if dtype == torch.float64 else torch.float32
    wide, eps = x.double(), torch.finfo(compute).eps
    p, log_p = wide.softmax(1), wide.log_softmax(1)

    def check(ours: Tensor, exact: Tensor) -> None:
        assert ours.dtype == compute
        torch.testing.assert_close(ours.double(), exact, rtol=64 * eps, atol=64 * eps)

    assert torch.equal(loss, F.cross_entropy(x, target, label_smoothing=0.1))
    check(lse, wide.logsumexp(1))
    check(entropy, -(p * log_p).sum(1))
    for one in log_prob:
        picked = log_p.gather(1, t.clamp_min(0)[:, None])[:, 0]
        check(one, torch.where(t != -100, picked, 0))
    with pytest.raises(ValueError, match="return_log_prob"):
        F.cross_entropy(x, x.softmax(1), return_log_prob=True)


def test_numbers_beside_the_loss_are_differentiable() -> None:
    x, t = logits(3, 5).double().clamp(-2, 2).requires_grad_(), torch.tensor([1, -100, 4])

    def function(y: Tensor) -> tuple[Tensor, ...]:
        return F.cross_entropy(
            y, t, z_loss=0.1, return_lse=True, return_log_prob=True, return_entropy=True
        )

    assert gradcheck(function, x)
    assert gradgradcheck(function, x)


def test_token_weights() -> None:
    x, t = logits(6, 50).double(), classes((6,), 50)
    t[2] = -100
    token_weight = torch.tensor([1.0, -2.0, math.nan, 0.0, 0.5, 3.0])
    class_weight = torch.linspace(0.5, 2.0, 50).double()
    for options in ({}, {"weight": class_weight}, {"label_smoothing": 0.1}):
        plain = torch_functional.cross_entropy(x, t, reduction="none", **options)
        expected = plain * token_weight.nan_to_num().double()
        ours = F.cross_entropy(x, t, reduction="none", token_weight=token_weight, **options)
        torch.testing.assert_close(ours, expected)
        ours = F.cross_entropy(x, t, token_weight=token_weight, **options)
        share = options.get("weight", torch.ones(50).double())[t.clamp_min(0)]
        divisor = (share * token_weight.nan_to_num()).sum()
        torch.testing.assert_close(ours, expected.sum() / divisor)
    leaf = token_weight.nan_to_num().double().requires_grad_()
    assert gradcheck(lambda w: F.cross_entropy(x, t, token_weight=w), leaf)


def test_70348_zero_if_empty() -> None:
    x, t = logits(4, 9).requires_grad_(), torch.full((4,), -100)
    loss = F.cross_entropy(x, t, zero_if_empty=True)
    assert loss == 0
    assert (torch.autograd.grad(loss, x)[0] == 0).all()
    t[1] = 3
    ours = F.cross_entropy(x, t, zero_if_empty=True)
    torch.testing.assert_close(ours, torch_functional.cross_entropy(x, t))


INPLACE_OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": "none"},
    {"label_smoothing": 0.1, "weight": torch.linspace(0.5, 2, 10)},
    {"z_loss": 0.1, "softcap": 5.0},
]


@pytest.mark.parametrize("options", INPLACE_OPTIONS, ids=str)
@pytest.mark.parametrize("layout", ["few", "many", "channels_last", "three strides"])
def test_inplace_backward(options: dict[str, Any], layout: str) -> None:
    """The gradient is the same one, and lies where the logits were."""
    shapes = {"few": (7, 10), "many": (5, 999), "channels_last": (2, 10, 3, 4)}
    x = logits(*shapes.get(layout, (4, 10, 6, 8)))
    if layout == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    elif layout == "three strides":
        x = logits(8, 10, 12, 16)[::2, :, ::2, ::2]
    if "weight" in options:
        options = {**options, "weight": torch.linspace(0.5, 2, x.shape[1])}
    t = classes(x.shape[:1] + x.shape[2:], x.shape[1])
    t.view(-1)[1] = -100
    results = []
    for inplace_backward in (False, True):
        leaf = x.detach().requires_grad_()
        hidden = leaf * 1
        if layout == "three strides":
            hidden = torch.empty(8, 10, 12, 16)[::2, :, ::2, ::2].copy_(leaf)
        loss = F.cross_entropy(hidden, t, inplace_backward=inplace_backward, **options)
        (grad,) = torch.autograd.grad(
            loss, leaf, torch.ones_like(loss).cumsum(0), retain_graph=True
        )
        results.append(grad.clone())
        assert torch.equal(hidden, grad) == inplace_backward
        if inplace_backward:
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                loss.sum().backward()
    assert_same_bits(*results)


def test_liger_272_inplace_backward_corrupts_nothing() -> None:
    x, t = logits(6, 300), classes((6,), 300)

    def hidden() -> tuple[Tensor, Tensor]:
        leaf = x.clone().requires_grad_()
        return leaf, leaf * 1

    # What saved the logits raises; what saved its own result goes on.
    leaf, y = hidden()
    loss = F.cross_entropy(y, t) + F.cross_entropy(y, t.flip(0), inplace_backward=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    leaf, y = hidden()
    (F.cross_entropy(y, t, inplace_backward=True) + y.softmax(1)[0, 0]).backward()
    plain, y = hidden()
    (F.cross_entropy(y, t) + y.softmax(1)[0, 0]).backward()
    torch.testing.assert_close(leaf.grad, plain.grad)
    # The producer's own result.
    leaf = x.clone().requires_grad_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        F.cross_entropy(leaf.sigmoid(), t, inplace_backward=True).backward()
    # Memory that several elements share, and a leaf.
    with pytest.raises(RuntimeError, match="leaf"):
        F.cross_entropy(leaf, t, inplace_backward=True)
    with pytest.raises(RuntimeError, match="unsupported operation"):
        F.cross_entropy((leaf[:1] * 1).expand(6, 300), t, inplace_backward=True)
    # A second derivative needs the logits once more.
    leaf, y = hidden()
    loss = F.cross_entropy(y, t, inplace_backward=True)
    (grad,) = torch.autograd.grad(loss, leaf, create_graph=True)
    grad.square().sum().backward()
    assert_same_bits(y.detach(), x)


def test_module() -> None:
    x, t = logits(6, 50), classes((6,), 50)
    loss = nn.CrossEntropyLoss(z_loss=0.1, softcap=20.0, reduction="none", inplace_backward=True)
    expected = F.cross_entropy(x, t, z_loss=0.1, softcap=20.0, reduction="none")
    assert_same_bits(loss(x, t), expected)
    assert isinstance(loss, torch.nn.CrossEntropyLoss)
    token_weight = torch.linspace(0, 1, 6)
    assert_same_bits(loss(x, t, token_weight=token_weight), expected * token_weight)
    values = nn.CrossEntropyLoss(return_lse=True)(x, t)
    assert_same_bits(values[1], F.cross_entropy(x, t, return_lse=True)[1])

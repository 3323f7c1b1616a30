"""Rows that a loss ignores: nothing that they hold is read, and their gradient is 0."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as torch_functional
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from activations_ext import functional as F
from helpers import DTYPES, run_python

ROWS, FEATURES, CLASSES = 40, 6, 13
OPTIONS: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.2},
    {"weight": torch.linspace(0.1, 2, CLASSES, dtype=torch.float64)},
    {"weight": torch.linspace(0.1, 2, CLASSES, dtype=torch.float64), "label_smoothing": 0.3},
    {"z_loss": 0.1, "softcap": 5.0},
    {"token_weight": torch.linspace(0, 2, ROWS, dtype=torch.float64)},
    {"num_items": 17},
]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "+".join(o) or "plain")
SHARES = [0.0, 0.5, 0.9, 1.0]


def targets(share: float, classes: int = CLASSES, rows: int = ROWS) -> Tensor:
    """``share`` of them is ignored, at random places."""
    target = torch.randint(classes, (rows,))
    target[torch.randperm(rows)[: round(share * rows)]] = -100
    return target


def parts() -> list[Tensor]:
    shapes = (ROWS, FEATURES), (CLASSES, FEATURES), (CLASSES,)
    return [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("share", SHARES)
@every_option
def test_linear_is_the_loss_of_the_logits(
    options: dict[str, Any], share: float, reduction: str
) -> None:
    """NaN in ignored hidden states reaches neither the loss nor any gradient."""
    if reduction == "none" and "num_items" in options:
        pytest.skip("a divisor of nothing")
    target, (hidden, weight, bias) = targets(share), parts()
    ours = F.linear_cross_entropy(
        hidden.detach().masked_fill((target == -100).unsqueeze(1), math.nan).requires_grad_(),
        weight,
        target,
        linear_bias=bias,
        reduction=reduction,
        memory_budget=8 * CLASSES * 8,
        **options,
    )
    logits = torch_functional.linear(hidden, weight, bias)
    expected = F.cross_entropy(logits, target, reduction=reduction, **options)
    torch.testing.assert_close(ours, expected, equal_nan=True)
    if share == 1.0 and reduction == "mean" and "num_items" not in options:
        assert ours.isnan()  # the mean of nothing, as torch's
        return
    grad = torch.rand_like(expected)
    mine = torch.autograd.grad(ours, [weight, bias], grad)
    for m, e in zip(mine, torch.autograd.grad(expected, [weight, bias], grad), strict=True):
        torch.testing.assert_close(m, e)


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
@every_option
def test_linear_gradients(options: dict[str, Any], share: float, reduction: str) -> None:
    if reduction == "none" and "num_items" in options:
        pytest.skip("a divisor of nothing")
    target, tensors = targets(share), parts()

    def loss(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear_cross_entropy(
            hidden,
            weight,
            target,
            linear_bias=bias,
            reduction=reduction,
            memory_budget=900,
            **options,
        ).sum()

    assert gradcheck(loss, tensors)
    assert gradgradcheck(loss, tensors)
    (of_hidden,) = torch.autograd.grad(loss(*tensors), tensors[:1])
    assert (of_hidden[target == -100] == 0).all()


def test_position_of_a_wrong_class_counts_in_the_batch() -> None:
    hidden, weight, bias = parts()
    target = targets(0.5)
    target[37] = CLASSES
    for options in ({}, {"reduction": "none"}, {"return_lse": True}):
        with pytest.raises(IndexError, match=rf"but got {CLASSES} at position \[37\]"):
            F.linear_cross_entropy(
                hidden, weight, target, linear_bias=bias, memory_budget=1, **options
            )


@pytest.mark.each_capability
@pytest.mark.parametrize("classes", [10, 128, 129, 1000])
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nothing_of_an_ignored_row_counts(
    dtype: torch.dtype, share: float, classes: int, capability: str
) -> None:
    target = targets(share, classes)
    logits = torch.randn(ROWS, classes).to(dtype)
    for value in (math.nan, math.inf, -math.inf):
        held = logits.masked_fill((target == -100).unsqueeze(1), value).requires_grad_()
        clean = logits.double().requires_grad_()
        ours = F.cross_entropy(held, target, reduction="sum")
        expected = torch_functional.cross_entropy(clean, target, reduction="sum")
        torch.testing.assert_close(ours, expected.to(dtype))
        (grad,), (exact,) = (
            torch.autograd.grad(loss, of) for loss, of in ((ours, held), (expected, clean))
        )
        torch.testing.assert_close(grad, exact.to(dtype))
        assert (grad[target == -100] == 0).all()
        none = F.cross_entropy(held.detach(), target, reduction="none")
        assert (none[target == -100] == 0).all()


PROTECTED = """
import ctypes, mmap
import torch
from activations_ext import functional as F

ROWS, PAGE = 9, mmap.PAGESIZE
memory = mmap.mmap(-1, ROWS * PAGE)
logits = torch.frombuffer(memory, dtype=torch.float32).view(ROWS, -1)
logits.copy_(torch.randn(logits.shape))
target = torch.tensor([5, -100, -100, 7, 9, -100, 2, -100, 0])
clean = logits.clone().requires_grad_()
leaf = logits.requires_grad_()
libc = ctypes.CDLL(None, use_errno=True)
for row in (target == -100).nonzero().flatten().tolist():
    start = ctypes.c_void_p(logits.data_ptr() + row * PAGE)
    assert libc.mprotect(start, ctypes.c_size_t(PAGE), 0) == 0
loss = F.cross_entropy(leaf, target)
expected = torch.nn.functional.cross_entropy(clean, target)
torch.testing.assert_close(loss, expected)
torch.testing.assert_close(torch.autograd.grad(loss, leaf), torch.autograd.grad(expected, clean))
print("not read")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect")
def test_ignored_rows_are_not_read() -> None:
    """They are in memory that may not be read, forward and backward."""
    assert run_python(PROTECTED).strip() == "not read"


@pytest.mark.compiler
@pytest.mark.parametrize("more", [{}, {"reduction": "none"}, {"return_log_prob": True}])
def test_compiled_graphs_drop_ignored_rows(more: dict[str, Any]) -> None:
    """Before the product: 0·NaN would be NaN. An lse, which ignored rows have too, keeps them."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    hidden, weight = torch.randn(40, 6), torch.randn(11, 6, requires_grad=True)
    target = torch.randint(11, (40,))
    target[10:] = -100
    hidden[20:] = torch.nan
    hidden.requires_grad_()

    def loss(h: Tensor, w: Tensor, t: Tensor) -> Tensor:
        result = F.linear_cross_entropy(h, w, t, **more)
        return sum(part.sum() for part in result) if isinstance(result, tuple) else result.sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for ignored in (target, torch.full_like(target, -100), target.clamp_min(0)):
        values = hidden if (ignored == -100).any() else torch.randn(40, 6, requires_grad=True)
        results = [
            (one := f(values, weight, ignored), *torch.autograd.grad(one, (values, weight)))
            for f in (compiled, loss)
        ]
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, equal_nan=bool((ignored == -100).all()))
        assert all(part.isfinite().all() for part in results[0]) or (ignored == -100).all()
    lse = torch.compile(
        lambda h, w, t: F.linear_cross_entropy(h, w, t, return_lse=True)[1], backend="aot_eager"
    )
    assert lse(hidden, weight, target)[10:20].isfinite().all()
    with pytest.raises(IndexError, match=r"position \[3\]"):
        compiled(hidden, weight, target.index_fill(0, torch.tensor([3]), 11))

"""Divergences straight from hidden states and weights, against those of the logits."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from activations_ext import functional as F
from test_distillation import FUNCTIONS, Function

LINEAR: dict[str, tuple[Function, Function]] = {
    "forward": (partial(F.linear_kl_div, direction="forward"), FUNCTIONS["forward"]),
    "reverse": (partial(F.linear_kl_div, direction="reverse"), FUNCTIONS["reverse"]),
    "jensen-shannon": (partial(F.linear_jsd, beta=0.3), partial(F.js_divergence, beta=0.3)),
}


def layers(dtype: torch.dtype, rows: tuple[int, ...] = (5, 3)) -> tuple[list[Tensor], list[Tensor]]:
    torch.manual_seed(0)
    shapes = ((*rows, 4), (30, 4), (30,)), ((*rows, 6), (30, 6), (30,))
    student, teacher = (
        [torch.randn(s).to(dtype).requires_grad_() for s in each] for each in shapes
    )
    return student, teacher


@pytest.mark.parametrize("budget", [1, 2000, 2**28])
@pytest.mark.parametrize("reduction", ["batchmean", "mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LINEAR)
def test_linear(name: str, weighted: bool, reduction: str, budget: int) -> None:
    linear, plain = LINEAR[name]
    student, teacher = layers(torch.float64)
    weights = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64).expand(5, 3)
    options: dict[str, Any] = {
        "temperature": 1.7,
        "reduction": reduction,
        "token_weight": weights if weighted else None,
        "temperature_squared": True,
    }

    def ours(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return linear(
            x,
            w,
            *teacher[:2],
            linear_bias=b,
            teacher_bias=teacher[2],
            memory_budget=budget,
            **options,
        )

    of = torch.nn.functional.linear
    loss, expected = ours(*student), plain(of(*student), of(*teacher).detach(), **options)
    torch.testing.assert_close(loss, expected)
    up = torch.rand_like(loss)
    for _ in range(2):  # the second makes the logits again
        for a, b in zip(
            torch.autograd.grad(loss, student, up, retain_graph=True),
            torch.autograd.grad(expected, student, up, retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(a, b)


def test_linear_of_one_row_and_of_a_wider_teacher() -> None:
    student, teacher = layers(torch.float32)
    wide = [part.detach().double() for part in teacher]
    one = F.linear_kl_div(student[0][0, 0], student[1], teacher[0][0, 0], teacher[1])
    expected = F.linear_kl_div(student[0][0, :1], student[1], teacher[0][0, :1], teacher[1])
    torch.testing.assert_close(one, expected)
    loss = F.linear_kl_div(*student[:2], *wide[:2])
    torch.testing.assert_close(loss, F.linear_kl_div(*student[:2], *teacher[:2]))
    grads = torch.autograd.grad(loss, student[:2], create_graph=True)
    assert all(grad.dtype == torch.float32 for grad in grads)
    once = torch.autograd.grad(F.linear_kl_div(*student[:2], *wide[:2]), student[:2])
    for a, b in zip(grads, once, strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(TypeError, match="'memory_budget' to be an integer"):
        F.linear_kl_div(*student[:2], *teacher[:2], memory_budget=1e6)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LINEAR)
def test_second_derivatives_of_linear(name: str) -> None:
    student, teacher = layers(torch.float64, rows=(2,))
    some = [part[..., :3, :] if part.dim() > 1 else part[:3] for part in (*student, *teacher)]
    x, w, b, y, v, c = (part.detach().requires_grad_() for part in some)

    def loss(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return LINEAR[name][0](x, w, y, v, linear_bias=b, teacher_bias=c, memory_budget=50)

    assert torch.autograd.gradgradcheck(loss, (x, w, b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_linear_of_few_digits(dtype: torch.dtype) -> None:
    student, teacher = layers(dtype, rows=(4096,))
    with torch.no_grad():
        student[0] *= 1e-2  # gradients that float16 alone would lose
    exact = [part.detach().double().requires_grad_() for part in student]
    wide = [part.detach().double() for part in teacher]
    loss = F.linear_kl_div(*student[:2], *teacher[:2], linear_bias=student[2], memory_budget=10**5)
    expected = F.linear_kl_div(*exact[:2], *wide[:2], linear_bias=exact[2])
    ulp = torch.finfo(dtype).eps
    assert loss.dtype == dtype
    torch.testing.assert_close(loss.double(), expected, rtol=4 * ulp, atol=0)
    for a, b in zip(
        torch.autograd.grad(loss, student), torch.autograd.grad(expected, exact), strict=True
    ):
        assert a.dtype == dtype
        assert (a.double() - b).norm() < 4 * ulp * b.norm() + 1e-12


def test_linear_errors() -> None:
    student, teacher = layers(torch.float32)
    with pytest.raises(RuntimeError, match="'teacher_input' of shape"):
        F.linear_kl_div(*student[:2], teacher[0][:2], teacher[1])
    with pytest.raises(ValueError, match="'memory_budget' to be positive"):
        F.linear_kl_div(*student[:2], *teacher[:2], memory_budget=0)
    with pytest.raises(ValueError, match="'beta' to be from 0 to 1"):
        F.linear_jsd(*student[:2], *teacher[:2], beta=-0.1)
    nothing = F.linear_kl_div(
        student[0][:0], student[1], teacher[0][:0], teacher[1], reduction="sum"
    )
    assert nothing == 0
    unused = torch.zeros(5, 3)
    for reduction in ("mean", "sum"):
        ours = F.linear_kl_div(*student[:2], *teacher[:2], token_weight=unused, reduction=reduction)
        assert ours.isnan() == (reduction == "mean")

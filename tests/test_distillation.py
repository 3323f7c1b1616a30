"""Divergences of distributions over classes against the formula in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from activations_ext import functional as F
from helpers import DTYPES

Function = Callable[..., Tensor]
FUNCTIONS: dict[str, Function] = {
    "forward": partial(F.kl_divergence, direction="forward"),
    "reverse": partial(F.kl_divergence, direction="reverse"),
    "jensen-shannon": partial(F.js_divergence, beta=0.5),
    "skewed": partial(F.js_divergence, beta=0.1),
}


def times(share: Tensor, number: Tensor) -> Tensor:
    """0 for a share of 0."""
    return torch.where(share == 0, 0.0, share * torch.where(share == 0, 0.0, number))


def rows_by_hand(name: str, x: Tensor, y: Tensor, temperature: float, dim: int) -> Tensor:
    a, b = (x / temperature).log_softmax(dim), (y / temperature).log_softmax(dim)
    p, q = a.exp(), b.exp()
    if name == "forward":
        return times(q, b - a).sum(dim)
    if name == "reverse":
        return times(p, a - b).sum(dim)
    beta = FUNCTIONS[name].keywords["beta"]  # type: ignore[attr-defined]
    log_m = (beta * q + (1 - beta) * p).log()
    return (beta * times(q, b - log_m) + (1 - beta) * times(p, a - log_m)).sum(dim)


def two(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    student, teacher = ((torch.randn(shape) * 3).to(dtype) for _ in range(2))
    return student.requires_grad_(), teacher


@pytest.mark.each_capability
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("shape", "dim"),
    [
        ((37, 1), 1),
        ((33, 3), 1),
        ((9, 70), -1),
        ((5, 300), 1),
        ((3, 4099), 1),
        ((4, 7, 5), 1),
        ((6,), 0),
    ],
)
def test_values_and_gradients(
    shape: tuple[int, ...], dim: int, name: str, dtype: torch.dtype
) -> None:
    """16-bit logits are read as they are, computed in float32 and rounded once."""
    student, teacher = two(shape, dtype)
    values = FUNCTIONS[name](student, teacher, temperature=1.5, reduction="none", dim=dim)
    assert values.dtype == dtype
    exact = student.detach().double().requires_grad_()
    expected = rows_by_hand(name, exact, teacher.double(), 1.5, dim)
    ulp = torch.finfo(dtype).eps
    close = {
        "rtol": 40 * ulp if ulp < 1e-6 else ulp,
        "atol": max(4e-7 if ulp > 1e-10 else 1e-14, ulp / 8),
    }
    torch.testing.assert_close(values.double(), expected, **close)
    weight = torch.linspace(-1, 2, max(1, values.numel())).reshape(values.shape)
    (grad,) = torch.autograd.grad(values, student, weight.to(dtype))
    (exact_grad,) = torch.autograd.grad(expected, exact, weight.to(dtype).double())
    torch.testing.assert_close(grad.double(), exact_grad, **close)


def test_forward_is_torchs_kl_div() -> None:
    student, teacher = two((8, 11))
    for reduction in ("batchmean", "sum"):
        expected = torch.nn.functional.kl_div(
            (student / 2).log_softmax(1),
            (teacher / 2).log_softmax(1),
            reduction=reduction,
            log_target=True,
        )
        ours = F.kl_divergence(student, teacher, temperature=2.0, reduction=reduction)
        torch.testing.assert_close(ours, expected)
        squared = F.kl_divergence(
            student, teacher, temperature=2.0, reduction=reduction, temperature_squared=True
        )
        torch.testing.assert_close(squared, 4 * expected)
    mean = F.kl_divergence(student, teacher, reduction="mean")
    torch.testing.assert_close(mean, F.kl_divergence(student, teacher))  # of one batch dimension


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_of_weight_0_have_no_part(name: str) -> None:
    student, teacher = two((6, 5))
    weights = torch.tensor([1.0, 0.0, 2.0, 0.0, 0.5, 1.0], dtype=torch.float64)
    with torch.no_grad():
        student[1], teacher[3] = math.nan, math.inf
    each = rows_by_hand(name, student, teacher, 1.0, 1)
    for reduction, number in (("mean", 4.5), ("batchmean", 6), ("sum", 1)):
        loss = FUNCTIONS[name](student, teacher, reduction=reduction, token_weight=weights)
        kept = weights != 0
        torch.testing.assert_close(loss, (each[kept] * weights[kept]).sum() / number)
        (grad,) = torch.autograd.grad(loss, student)
        assert (grad[~kept] == 0).all()
        assert grad[kept].isfinite().all()


@pytest.mark.each_capability
@pytest.mark.parametrize("name", FUNCTIONS)
def test_impossible_classes(name: str) -> None:
    """−∞ in the teacher, in both, and where only the student has it."""
    student, teacher = two((3, 40))
    with torch.no_grad():
        teacher[0, 3:9] = -math.inf
        student[1, :4], teacher[1, :4] = -math.inf, -math.inf
        student[2, 7] = -math.inf
    for dtype in (torch.float32, torch.float64):
        x, y = student.detach().to(dtype).requires_grad_(), teacher.to(dtype)
        values = FUNCTIONS[name](x, y, reduction="none")
        torch.testing.assert_close(
            values.double(),
            rows_by_hand(name, x.double(), y.double(), 1.0, 1),
            rtol=1e-5,
            atol=1e-6,
        )
        (grad,) = torch.autograd.grad(values[0] + values[1], x)
        if name != "reverse":  # which is infinite, as its gradient is, in row 0
            assert grad.isfinite().all()
        assert grad[1].isfinite().all()
    assert (
        FUNCTIONS[name](student, torch.full_like(student, math.nan), reduction="none").isnan().all()
    )


def test_close_distributions_keep_their_digits() -> None:
    torch.manual_seed(0)
    logits = torch.randn(50, 1000) * 2
    other = logits + 1e-3 * torch.randn(50, 1000)
    for name, function in FUNCTIONS.items():
        exact = rows_by_hand(name, logits.double(), other.double(), 1.0, 1)
        ours = function(logits, other, reduction="none").double()
        limit = 2e-8 if name in ("forward", "reverse") else 1e-7
        assert (ours - exact).abs().max() < limit, name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name: str) -> None:
    student, teacher = two((4, 6))
    teacher.requires_grad_()
    fixed = teacher.detach()

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return FUNCTIONS[name](x, y, temperature=1.3, reduction="none")

    assert torch.autograd.gradcheck(
        lambda x: loss(x, fixed), student, check_forward_ad=True, check_batched_grad=True
    )
    assert torch.autograd.gradgradcheck(lambda x: loss(x, fixed), student)
    assert torch.autograd.gradcheck(loss, (student, teacher))  # by the formula
    assert torch.autograd.gradgradcheck(loss, (student, teacher))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functorch(name: str) -> None:
    student, teacher = two((4, 6))
    one = partial(FUNCTIONS[name], reduction="sum")
    each = torch.func.vmap(torch.func.grad(one))(student, teacher)
    (expected,) = torch.autograd.grad(one(student, teacher), student)
    torch.testing.assert_close(each, expected)


def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    student, teacher = two((64, 3000), torch.float32)
    results, threads = [], torch.get_num_threads()
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            loss = F.js_divergence(student, teacher)
            results.append((loss.detach(), *torch.autograd.grad(loss, student)))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(a.equal(b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.compiler
def test_compile_and_opcheck() -> None:
    torch._dynamo.reset()
    student, teacher = two((5, 9), torch.float32)
    for function in FUNCTIONS.values():
        compiled = torch.compile(function, fullgraph=True)
        loss, expected = compiled(student, teacher), function(student, teacher)
        torch.testing.assert_close(loss, expected)
        (a,), (b,) = (torch.autograd.grad(one, student) for one in (loss, expected))
        torch.testing.assert_close(a, b)
    for kind in range(3):
        arguments = (student, teacher, 1, kind, 0.3, 0.5)
        torch.library.opcheck(torch.ops.activations_ext.row_divergence.default, arguments)


def test_autocast_and_mixed_dtypes() -> None:
    student, teacher = two((5, 9), torch.bfloat16)
    assert F.kl_divergence(student, teacher).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert F.kl_divergence(student, teacher).dtype == torch.float32
    mixed = F.kl_divergence(student, teacher.float() + 0.01)
    expected = F.kl_divergence(student.float(), teacher.float() + 0.01)
    assert mixed.equal(expected.bfloat16())


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"temperature": 0.0}, ValueError, "'temperature' to be a positive"),
        ({"temperature": math.nan}, ValueError, "'temperature' to be a positive"),
        ({"reduction": "average"}, ValueError, "'reduction' to be one of"),
        ({"direction": "back"}, ValueError, "'direction' to be forward or reverse"),
        ({"teacher_logits": torch.zeros(3, 4)}, ValueError, "'teacher_logits' to have the shape"),
        ({"teacher_logits": torch.zeros(3, 5).long()}, NotImplementedError, "'teacher_logits'"),
        ({"token_weight": torch.zeros(5)}, ValueError, "'token_weight' to have a number"),
        ({"dim": 2}, IndexError, "Dimension out of range"),
    ],
)
def test_errors(change: dict[str, Any], error: type[Exception], match: str) -> None:
    arguments = {"logits": torch.zeros(3, 5), "teacher_logits": torch.zeros(3, 5)}
    with pytest.raises(error, match=match):
        F.kl_divergence(**arguments | change)
    with pytest.raises(ValueError, match="'beta' to be from 0 to 1"):
        F.js_divergence(*arguments.values(), beta=1.5)


# --- teachers of whom k probabilities are known ---------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_top_k(dtype: torch.dtype, temperature: float) -> None:
    student, teacher = two((4, 3, 50), dtype)
    probabilities, indices = teacher.double().softmax(-1).topk(7, -1)
    probabilities = torch.cat([probabilities[..., :6], torch.zeros(4, 3, 1)], -1)
    ours = F.top_k_kl_divergence(
        student, probabilities, indices, temperature=temperature, reduction="none"
    )
    exact = student.detach().double().requires_grad_()
    log_p = (exact / temperature).log_softmax(-1).gather(-1, indices)
    wide = probabilities.to(torch.promote_types(dtype, torch.float32)).double()
    expected = (torch.xlogy(wide, wide) - wide * log_p).sum(-1)
    ulp = torch.finfo(dtype).eps
    close = {
        "rtol": 8 * ulp if ulp < 1e-6 else ulp,
        "atol": max(1e-6 if ulp > 1e-10 else 1e-14, ulp / 8),
    }
    torch.testing.assert_close(ours.double(), expected, **close)
    weight = torch.linspace(-1, 2, 12).reshape(4, 3)
    (grad,) = torch.autograd.grad(ours, student, weight.to(dtype))
    (exact_grad,) = torch.autograd.grad(expected, exact, weight.to(dtype).double())
    torch.testing.assert_close(grad.double(), exact_grad, **close)


def test_top_k_of_all_classes_is_the_divergence() -> None:
    student, teacher = two((5, 8))
    probabilities, indices = teacher.softmax(1).topk(8, 1)
    ours = F.top_k_kl_divergence(student, probabilities, indices)
    torch.testing.assert_close(ours, F.kl_divergence(student, teacher))
    assert torch.autograd.gradcheck(
        lambda x: F.top_k_kl_divergence(x, probabilities, indices, temperature=0.7), student
    )
    with pytest.raises(ValueError, match="'teacher_probabilities' to have k classes"):
        F.top_k_kl_divergence(student, probabilities[:, :3], indices)

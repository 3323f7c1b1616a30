"""What the losses say besides: the class of the largest logit, whether it is the target's, and a
scale of the logits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from activations_ext import functional as F

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def rows_of(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """With ties: only some numbers occur."""
    torch.manual_seed(0)
    return torch.randint(-40, 41, shape).to(dtype) / 8


def predictions(logits: Tensor, target: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    _, largest, correct = F.cross_entropy(
        logits, target, return_argmax=True, return_correct=True, **options
    )
    return largest, correct


@pytest.mark.each_capability
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape",
    [(37, 1), (37, 3), (16, 10), (5, 127), (4, 4099), (3, 40_000), (2, 70, 9), (3, 5, 4, 7), (11,)],
)
def test_argmax_is_torchs(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    dim = 0 if len(shape) == 1 else 1
    for logits in (
        rows_of(shape, dtype),
        rows_of(shape[::-1], dtype).permute(*range(len(shape))[::-1]),
    ):
        expected = logits.argmax(dim)
        target = expected.clone().flatten()
        target[::3] = 0
        target = target.reshape(expected.shape)
        largest, correct = predictions(logits, target)
        assert largest.equal(expected)
        assert correct.equal(expected == target)
        assert not largest.requires_grad


@pytest.mark.each_capability
@pytest.mark.parametrize("classes", [3, 40, 3000])
def test_argmax_of_special_values(classes: int) -> None:
    special = (math.nan, math.inf, -math.inf, 0.0, -0.0)
    logits = rows_of((2 * 5**2, classes), torch.float32)
    for i, row in enumerate(logits):
        row[classes // 2] = special[i % 5]
        row[-1] = special[i // 5 % 5]
        if i >= 25:
            row[: classes // 3] = special[i % 5]
    logits = torch.cat([logits, torch.full((2, classes), -math.inf), torch.full((1, classes), 5.0)])
    target = torch.zeros(len(logits), dtype=torch.int64)
    assert predictions(logits, target)[0].equal(logits.argmax(1))


def test_ignored_rows_predict_nothing() -> None:
    logits, target = rows_of((6, 5), torch.float32), torch.tensor([0, -1, 4, -1, 2, 1])
    largest, correct = predictions(logits, target, ignore_index=-1)
    expected = torch.where(target == -1, -1, logits.argmax(1))
    assert largest.equal(expected)
    assert correct.equal((expected == target) & (target != -1))
    with pytest.raises(ValueError, match="return_correct is set"):
        F.cross_entropy(logits, logits.softmax(1), return_correct=True)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("budget", [1, 2**10, 2**28])
@pytest.mark.parametrize("more", [{}, {"return_lse": True}])
def test_of_a_linear_layer(reduction: str, budget: int, more: dict[str, Any]) -> None:
    """Nothing else changes: neither the loss nor its gradients."""
    torch.manual_seed(0)
    hidden, weight = torch.randn(9, 4, requires_grad=True), torch.randn(30, 4, requires_grad=True)
    target = (hidden @ weight.t()).argmax(1)
    target[1::2] = 3
    target[::4] = -100
    options: dict[str, Any] = {"reduction": reduction, "memory_budget": budget, **more}
    result = F.linear_cross_entropy(
        hidden, weight, target, return_argmax=True, return_correct=True, **options
    )
    logits = hidden @ weight.t()
    expected = torch.where(target == -100, -1, logits.argmax(1))
    assert result[-2].equal(expected)
    assert result[-1].equal(expected == target)
    loss = F.linear_cross_entropy(hidden, weight, target, **options)
    loss = loss[0] if more else loss
    assert result[0].equal(loss)
    for a, b in zip(
        torch.autograd.grad(result[0].sum(), (hidden, weight)),
        torch.autograd.grad(loss.sum(), (hidden, weight)),
        strict=True,
    ):
        assert a.equal(b)


def test_of_sequences() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(2, 5, 4), torch.randn(7, 4)
    tokens = torch.randint(7, (2, 5))
    _, largest, correct = F.linear_cross_entropy(
        hidden, weight, tokens, shift=1, return_argmax=True, return_correct=True
    )
    expected = (hidden @ weight.t()).argmax(-1)
    assert largest[:, :-1].equal(expected[:, :-1])
    assert (largest[:, -1] == -1).all()
    assert correct[:, :-1].equal(expected[:, :-1] == tokens[:, 1:])
    assert not correct[:, -1].any()


# --- logit_scale ----------------------------------------------------------------------------------

OPTIONS: list[dict[str, Any]] = [
    {},
    {"softcap": 3.0},
    {"label_smoothing": 0.2, "z_loss": 0.1},
    {"weight": torch.linspace(0.5, 2, 7), "reduction": "none"},
    {"focal_gamma": 2.0, "reduction": "sum"},
]


@pytest.mark.each_capability
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(21, 7), (5, 7, 6)])
def test_scaled_logits(shape: tuple[int, ...], dtype: torch.dtype, options: dict[str, Any]) -> None:
    """As of a scaled copy, which 16 bits would round."""
    torch.manual_seed(0)
    logits = torch.randn(shape).to(dtype).requires_grad_()
    target = torch.randint(7, (shape[0], *shape[2:]))
    target.view(-1)[::5] = -100
    exact = logits.detach().double().requires_grad_()
    exact_options = {k: v.double() if isinstance(v, Tensor) else v for k, v in options.items()}
    loss = F.cross_entropy(logits, target, logit_scale=1.7, **options)
    expected = F.cross_entropy(1.7 * exact, target, **exact_options)
    tolerance = {torch.float32: 2e-6, torch.bfloat16: 8e-3}[dtype]
    torch.testing.assert_close(loss.double(), expected, rtol=tolerance, atol=tolerance)
    (grad,), (exact_grad,) = (
        torch.autograd.grad(one.sum(), x) for one, x in ((loss, logits), (expected, exact))
    )
    torch.testing.assert_close(grad.double(), exact_grad, rtol=tolerance, atol=tolerance / 4)


@pytest.mark.parametrize("options", OPTIONS)
def test_derivatives_of_scaled_logits(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([1, -100, 6, 0])
    options = {k: v.double() if isinstance(v, Tensor) else v for k, v in options.items()}

    def loss(x: Tensor) -> Any:
        return F.cross_entropy(
            x, target, logit_scale=0.6, return_entropy=True, return_lse=True, **options
        )

    assert torch.autograd.gradcheck(loss, logits, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, logits)


@pytest.mark.parametrize("softcap", [0.0, 5.0])
@pytest.mark.parametrize("classes", [7, 40, 5000])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"z_loss": 0.1},
        {"focal_gamma": 2.0},
        {"return_entropy": True},
        {"return_lse": True},
    ],
    ids=str,
)
def test_masked_logits_have_no_gradient(
    options: dict[str, Any], classes: int, softcap: float
) -> None:
    """−∞, scaled: its slope is not 0·∞."""
    torch.manual_seed(0)
    logits = torch.randn(9, classes, dtype=torch.float64)
    masked = torch.rand(9, classes) < 0.3
    masked[:, 1] = False
    target = torch.ones(9, dtype=torch.int64)
    for weight in (None, torch.rand(classes).double() + 0.1):
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            x = logits.to(dtype).masked_fill(masked, -math.inf).requires_grad_()
            w = None if weight is None else weight.to(dtype)
            total = _sum(F.cross_entropy(x, target, w, logit_scale=0.7, softcap=softcap, **options))
            (ours,) = torch.autograd.grad(total, x)
            wide = x.detach().double().requires_grad_()
            scaled = wide * 0.7
            if softcap != 0:
                scaled = torch.tanh(scaled / softcap) * softcap
            expected = _sum(F.cross_entropy(scaled, target, weight, **options))
            torch.testing.assert_close(total.double(), expected, atol=1e-2, rtol=1e-2)
            (gradient,) = torch.autograd.grad(expected, wide)
            torch.testing.assert_close(ours.double(), gradient, atol=1e-2, rtol=1e-2)


def _sum(result: Any) -> Tensor:
    parts = result if isinstance(result, tuple) else (result,)
    return torch.stack([part.double().sum() for part in parts]).sum()


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_scaled_logits_of_a_linear_layer(reduction: str) -> None:
    torch.manual_seed(0)
    hidden, weight, bias = torch.randn(9, 4), torch.randn(30, 4), torch.randn(30)
    parts = [part.double().requires_grad_() for part in (hidden, weight, bias)]
    target = torch.randint(30, (9,))
    ours = F.linear_cross_entropy(
        *parts[:2],
        target,
        linear_bias=parts[2],
        logit_scale=0.25,
        softcap=4.0,
        reduction=reduction,
        memory_budget=1000,
    )
    logits = torch.nn.functional.linear(*parts)
    expected = F.cross_entropy(logits, target, logit_scale=0.25, softcap=4.0, reduction=reduction)
    torch.testing.assert_close(ours, expected)
    for a, b in zip(
        torch.autograd.grad(ours.sum(), parts),
        torch.autograd.grad(expected.sum(), parts),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, 1e39])
def test_scales_that_do_not_fit(scale: float) -> None:
    with pytest.raises(ValueError, match="'logit_scale'"):
        F.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]), logit_scale=scale)
    options = {"softcap": 3e38, "return_lse": True}  # whose reciprocal is subnormal
    F.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]), **options)
    with pytest.raises(ValueError, match="'logit_scale', also divided by the softcap"):
        F.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]), logit_scale=0.5, **options)


@pytest.mark.compiler
def test_compiled() -> None:
    torch._dynamo.reset()
    hidden, weight = torch.randn(9, 4), torch.randn(30, 4, requires_grad=True)
    target = torch.randint(30, (9,))

    def losses(h: Tensor, w: Tensor, t: Tensor) -> Any:
        options: dict[str, Any] = {"return_argmax": True, "return_correct": True}
        plain = F.cross_entropy(h @ w.t(), t, logit_scale=2.0, **options)
        return (*plain, *F.linear_cross_entropy(h, w, t, logit_scale=2.0, **options))

    ours = torch.compile(losses, fullgraph=True)(hidden, weight, target)
    for a, b in zip(ours, losses(hidden, weight, target), strict=True):
        torch.testing.assert_close(a, b)
    (grad,), (expected,) = (
        torch.autograd.grad(one[0] + one[3], weight)
        for one in (ours, losses(hidden, weight, target))
    )
    torch.testing.assert_close(grad, expected)


# --- logits that are kept -------------------------------------------------------------------------


class Products(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("budget", "products"), [(2**20, 3), (64 * 30 * 4, 8)])
@pytest.mark.parametrize("more", [{"reduction": "none"}, {"return_log_prob": True}])
def test_one_chunk_of_logits_is_kept_for_backward(
    budget: int, products: int, more: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(128, 4, requires_grad=True), torch.randn(30, 4, requires_grad=True)
    target = torch.randint(30, (128,))

    def loss() -> Tensor:
        result = F.linear_cross_entropy(hidden, weight, target, memory_budget=budget, **more)
        return sum(part.sum() for part in result) if isinstance(result, tuple) else result.sum()

    with Products() as counted:
        made = torch.autograd.grad(loss(), (hidden, weight))
    assert counted.count == products
    both = loss()  # a second backward makes them again
    for _ in range(2):
        again = torch.autograd.grad(both, (hidden, weight), retain_graph=True)
        for a, b in zip(made, again, strict=True):
            torch.testing.assert_close(a, b)

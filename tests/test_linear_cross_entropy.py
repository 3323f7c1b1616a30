"""linear_cross_entropy against the same loss of all the logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db

from activations_ext import functional as F
from activations_ext import nn
from helpers import device_type, torch_lacks

pytestmark = pytest.mark.skipif(
    torch_lacks("linear_cross_entropy"), reason="torch before 2.13 has none to compare with"
)

ROWS, FEATURES, CLASSES = 7, 5, 11
OPS = [op for op in op_db if op.name == "nn.functional.linear_cross_entropy"]
BUDGETS = [1, 3 * CLASSES * 8, 2**28]
"""A row in a chunk, three, and all of them."""


def parts(dtype: torch.dtype = torch.float64, rows: int = ROWS) -> tuple[Tensor, Tensor, Tensor]:
    hidden = torch.randn(rows, FEATURES, dtype=dtype, requires_grad=True)
    weight = torch.randn(CLASSES, FEATURES, dtype=dtype, requires_grad=True)
    bias = torch.randn(CLASSES, dtype=dtype, requires_grad=True)
    return hidden, weight, bias


def classes(rows: int = ROWS) -> Tensor:
    target = torch.randint(CLASSES, (rows,))
    target[1:3] = -100
    return target


def gradients(loss: Tensor, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    grads = torch.linspace(0.5, 2.0, max(1, loss.numel()), dtype=loss.dtype).view(loss.shape)
    return torch.autograd.grad(loss, tensors, grads, materialize_grads=True)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.2},
    {"weight": torch.linspace(0.1, 2, CLASSES, dtype=torch.float64)},
    {"weight": torch.linspace(0.1, 2, CLASSES, dtype=torch.float64), "label_smoothing": 0.3},
    {"ignore_index": 4},
]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "plain")
def test_is_torchs(options: dict[str, Any], reduction: str, budget: int) -> None:
    tensors, target = parts(), classes().clamp(min=0 if "ignore_index" in options else -100)
    hidden, weight, bias = tensors
    for b in (bias, None):
        ours = F.linear_cross_entropy(
            hidden,
            weight,
            target,
            linear_bias=b,
            reduction=reduction,
            memory_budget=budget,
            **options,
        )
        torchs = torch.nn.functional.linear_cross_entropy(
            hidden, weight, target, linear_bias=b, reduction=reduction, **options
        )
        torch.testing.assert_close(ours, torchs)
        wanted = tensors if b is not None else tensors[:2]
        for mine, theirs in zip(gradients(ours, wanted), gradients(torchs, wanted), strict=True):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_probabilities(smoothing: float, reduction: str, budget: int) -> None:
    hidden, weight, _ = tensors = parts()
    target = torch.rand(ROWS, CLASSES, dtype=torch.float64).softmax(1)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    ours = F.linear_cross_entropy(hidden, weight, target, memory_budget=budget, **options)
    torchs = torch.nn.functional.linear_cross_entropy(hidden, weight, target, **options)  # type: ignore[arg-type]
    torch.testing.assert_close(ours, torchs)
    for mine, theirs in zip(
        gradients(ours, tensors[:2]), gradients(torchs, tensors[:2]), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(
    "options",
    [
        {"z_loss": 0.1},
        {"softcap": 3.0},
        {"token_weight": torch.linspace(0, 2, ROWS)},
        {"num_items": 3},
        {"zero_if_empty": True},
        {"z_loss": 0.1, "softcap": 3.0, "label_smoothing": 0.1, "reduction": "sum"},
        {"return_lse": True, "return_log_prob": True, "return_entropy": True},
        {"return_entropy": True, "softcap": 2.0, "reduction": "none"},
    ],
    ids=lambda options: "+".join(options),
)
def test_what_torch_lacks(options: dict[str, Any], budget: int) -> None:
    hidden, weight, bias = tensors = parts()
    target = classes()
    ours = F.linear_cross_entropy(
        hidden, weight, target, linear_bias=bias, memory_budget=budget, **options
    )
    logits = torch.nn.functional.linear(hidden, weight, bias)
    whole = F.cross_entropy(logits, target, **options)
    if isinstance(ours, Tensor):
        ours, whole = (ours,), (whole,)
    for mine, theirs in zip(ours, whole, strict=True):
        torch.testing.assert_close(mine, theirs)
        for a, b in zip(
            gradients_kept(mine, tensors), gradients_kept(theirs, tensors), strict=True
        ):
            torch.testing.assert_close(a, b)


def gradients_kept(loss: Tensor, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    grads = torch.ones_like(loss)
    return torch.autograd.grad(loss, tensors, grads, retain_graph=True, materialize_grads=True)


def test_one_row_and_several_dimensions() -> None:
    hidden, weight, _ = parts()
    for target in (torch.tensor(3), torch.rand(CLASSES, dtype=torch.float64)):
        for reduction in ("mean", "none"):
            torch.testing.assert_close(
                F.linear_cross_entropy(hidden[0], weight, target, reduction=reduction),
                torch.nn.functional.linear_cross_entropy(
                    hidden[0], weight, target, reduction=reduction
                ),
            )
    wide = torch.randn(CLASSES, 2, 3, FEATURES, dtype=torch.float64)
    bias = torch.randn(CLASSES, 2, 3, dtype=torch.float64)
    target = torch.randint(CLASSES, (ROWS, 2, 3))
    torch.testing.assert_close(
        F.linear_cross_entropy(hidden, wide, target, linear_bias=bias),
        torch.nn.functional.linear_cross_entropy(hidden, wide, target, linear_bias=bias),
    )


@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)], ids=str)
def test_what_is_frozen_has_no_gradient(frozen: tuple[int, ...]) -> None:
    tensors = parts()
    for index in frozen:
        tensors[index].requires_grad_(False)
    hidden, weight, bias = tensors
    loss = F.linear_cross_entropy(hidden, weight, classes(), linear_bias=bias, memory_budget=1)
    assert loss.requires_grad == (len(frozen) < 3)
    if loss.requires_grad:
        loss.backward()
    for index, tensor in enumerate(tensors):
        assert (tensor.grad is None) == (index in frozen)


def test_tied_weights() -> None:
    tokens = torch.randint(CLASSES, (ROWS,))
    results = []
    for function in (F.linear_cross_entropy, torch.nn.functional.linear_cross_entropy):
        torch.manual_seed(1)
        embedding = torch.nn.Embedding(CLASSES, FEATURES)
        function(embedding(tokens), embedding.weight, tokens.flip(0)).backward()
        results.append(embedding.weight.grad)
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_backward_again_and_derivatives_of_it(reduction: str) -> None:
    tensors = parts()
    target = classes()

    def loss(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        result: Tensor = F.linear_cross_entropy(
            h, w, target, linear_bias=b, reduction=reduction, z_loss=0.1, memory_budget=1
        )
        return result

    first = loss(*tensors)
    once = gradients_kept(first, tensors)
    copies = [gradient.clone() for gradient in once]
    for again, kept in zip(gradients_kept(first, tensors), copies, strict=True):
        torch.testing.assert_close(again, kept)
    for gradient, kept in zip(once, copies, strict=True):
        assert torch.equal(gradient, kept)
    assert torch.autograd.gradcheck(loss, tensors)
    assert torch.autograd.gradgradcheck(loss, tensors)


def test_gradients_add_up_without_being_written_over() -> None:
    hidden, weight, _ = parts()
    loss = F.linear_cross_entropy(hidden, weight, classes())
    loss.backward(retain_graph=True)
    assert weight.grad is not None
    first = weight.grad.clone()
    loss.backward()
    torch.testing.assert_close(weight.grad, 2 * first)


def test_functorch_and_forward_mode() -> None:
    hidden, weight, _ = parts()
    target = classes()

    def ours(w: Tensor) -> Tensor:
        result: Tensor = F.linear_cross_entropy(hidden.detach(), w, target)
        return result

    def torchs(w: Tensor) -> Tensor:
        return torch.nn.functional.linear_cross_entropy(hidden.detach(), w, target)

    w, tangent = weight.detach(), torch.randn_like(weight)
    for transform in (
        lambda f: torch.func.grad(f)(w),
        lambda f: torch.func.jvp(f, (w,), (tangent,))[1],
        lambda f: torch.func.vmap(torch.func.grad(f))(torch.stack([w, 2 * w])),
        lambda f: torch.func.hessian(f)(w),
    ):
        torch.testing.assert_close(transform(ours), transform(torchs))


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.compiler
def test_compiles_whole(reduction: str) -> None:
    tensors = hidden, weight, bias = parts(torch.float32)
    target = classes()

    def loss(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        result: Tensor = F.linear_cross_entropy(
            h, w, target, linear_bias=b, reduction=reduction, memory_budget=3 * CLASSES * 4
        )
        return result

    compiled = torch.compile(loss, fullgraph=True)
    result, expected = compiled(*tensors), loss(hidden, weight, bias)
    torch.testing.assert_close(result, expected)
    for mine, theirs in zip(gradients(result, tensors), gradients(expected, tensors), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_weights_gradient_is_summed_in_float32(dtype: torch.dtype) -> None:
    """Many chunks, each of which adds less than a 16-bit sum would notice."""
    hidden = torch.ones(2000, 1, dtype=dtype)
    weight = torch.zeros(2, 1, dtype=dtype, requires_grad=True)
    target = torch.zeros(2000, dtype=torch.int64)
    loss = F.linear_cross_entropy(hidden, weight, target, reduction="sum", memory_budget=1)
    loss.backward()
    assert weight.grad is not None
    assert weight.grad.flatten().tolist() == [-1000.0, 1000.0]


def test_autocast() -> None:
    results = []
    for function in (F.linear_cross_entropy, torch.nn.functional.linear_cross_entropy):
        torch.manual_seed(2)
        hidden, weight, _ = parts(torch.float32)
        with torch.autocast(device_type(), torch.bfloat16):
            loss = function(hidden, weight, classes())
        loss.backward()
        results.append((loss.detach(), hidden.grad, weight.grad))
    for mine, theirs in zip(*results, strict=True):
        assert mine is not None
        assert theirs is not None
        assert mine.dtype == theirs.dtype
        torch.testing.assert_close(mine, theirs, rtol=2e-2, atol=2e-2)


def test_no_rows_and_only_ignored_ones() -> None:
    hidden, weight, bias = tensors = parts(rows=0)
    for reduction, expected in (("sum", 0.0), ("mean", float("nan"))):
        loss = F.linear_cross_entropy(
            hidden, weight, torch.empty(0, dtype=torch.int64), linear_bias=bias, reduction=reduction
        )
        torch.testing.assert_close(loss.item(), expected, equal_nan=True)
    assert all((g == 0).all() for g in gradients(loss * 0, tensors[:1]))
    hidden, weight, _ = parts()
    ignored = torch.full((ROWS,), -100)
    assert F.linear_cross_entropy(hidden, weight, ignored).isnan()
    loss = F.linear_cross_entropy(hidden, weight, ignored, zero_if_empty=True)
    loss.backward()
    assert loss == 0
    assert weight.grad is not None
    assert (weight.grad == 0).all()


def test_errors() -> None:
    hidden, weight, bias = parts()
    if device_type() == "cpu":  # elsewhere it is told later
        with pytest.raises(IndexError, match="but got 11"):
            F.linear_cross_entropy(hidden, weight, torch.full((ROWS,), CLASSES))
    with pytest.raises(RuntimeError):
        F.linear_cross_entropy(hidden, weight[:, :3], classes())
    with pytest.raises(RuntimeError, match="'linear_bias' to have the shape"):
        F.linear_cross_entropy(hidden, weight, classes(), linear_bias=bias[:3])
    with pytest.raises(RuntimeError, match="'ignore_index' to be None"):
        F.linear_cross_entropy(hidden, weight, hidden @ weight.t(), ignore_index=0)
    with pytest.raises(ValueError, match="'memory_budget' to be positive"):
        F.linear_cross_entropy(hidden, weight, classes(), memory_budget=0)
    with pytest.raises(ValueError, match="reduction"):
        F.linear_cross_entropy(hidden, weight, classes(), reduction="median")


def test_module() -> None:
    torch.manual_seed(3)
    ours = nn.LinearCrossEntropyLoss(FEATURES, CLASSES, bias=True, ignore_index=2)
    torch.manual_seed(3)
    torchs = torch.nn.LinearCrossEntropyLoss(FEATURES, CLASSES, bias=True, ignore_index=2)
    assert isinstance(ours, torch.nn.LinearCrossEntropyLoss)
    hidden, target = torch.randn(ROWS, FEATURES), torch.randint(CLASSES, (ROWS,))
    torch.testing.assert_close(ours(hidden, target), torchs(hidden, target))
    ours.load_state_dict(torchs.state_dict())
    assert repr(ours) == repr(torchs)
    capped = nn.LinearCrossEntropyLoss(FEATURES, CLASSES, softcap=2.0)
    logits = torch.nn.functional.linear(hidden, capped.linear.weight)
    torch.testing.assert_close(capped(hidden, target), F.cross_entropy(logits, target, softcap=2.0))
    with pytest.raises(TypeError, match="but got \\['cap'\\]"):
        nn.LinearCrossEntropyLoss(FEATURES, CLASSES, cap=2.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.slow
def test_torchs_own_samples(dtype: torch.dtype) -> None:
    eps = torch.finfo(dtype).eps
    count = 0
    for s in (s for op in OPS for s in op.sample_inputs(device_type(), dtype, requires_grad=True)):
        weight, target = s.args
        results = []
        for function in (F.linear_cross_entropy, torch.nn.functional.linear_cross_entropy):
            loss = function(s.input, weight, target, **s.kwargs)
            wanted = [t for t in (s.input, weight) if t.requires_grad]
            results.append((loss, *torch.autograd.grad(loss.sum(), wanted)))
        for mine, theirs in zip(*results, strict=True):
            assert mine.dtype == theirs.dtype
            torch.testing.assert_close(mine, theirs, rtol=20 * eps, atol=20 * eps, equal_nan=True)
        count += 1
    assert count > 10


@pytest.mark.slow
def test_what_torch_refuses_is_refused() -> None:
    count = 0
    for error in (error for op in OPS for error in op.error_inputs(device_type())):
        s = error.sample_input
        with pytest.raises(error.error_type):
            F.linear_cross_entropy(s.input, *s.args, **s.kwargs)
        count += 1
    assert count > 0

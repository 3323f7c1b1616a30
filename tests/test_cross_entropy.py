"""cross_entropy against torch's, for every option and combination, and what others got wrong."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as torch_functional
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing._internal.common_methods_invocations import op_db

from activations_ext import functional as F
from activations_ext import nn
from helpers import DTYPES, assert_same_bits, device_type, drawn, sample

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def logits(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    count = torch.Size(shape).numel()
    return sample(max(count, 8), dtype, seed)[:count].reshape(shape).clamp(-20, 20)


def classes(shape: torch.Size | tuple[int, ...], count: int, seed: int = 0) -> Tensor:
    return drawn(lambda g: torch.randint(0, count, tuple(shape), generator=g), seed)


def both(function: Any, input: Tensor, target: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """The loss, and the gradient under a grad_output that differs in every element."""
    leaf = input.detach().requires_grad_()
    loss = function(leaf, target, **options)
    weights = torch.linspace(0.5, 2.0, max(1, loss.numel()), dtype=torch.float64)[: loss.numel()]
    grad_output = weights.to(loss.dtype).view(loss.shape)
    return loss.detach(), torch.autograd.grad(loss, leaf, grad_output)[0]


def compare(input: Tensor, target: Tensor, **options: Any) -> None:
    """Value and gradient are torch's, or nearer to float64's."""
    ours = both(F.cross_entropy, input, target, **options)
    torchs = both(torch_functional.cross_entropy, input, target, **options)
    wide = {k: v.double() if isinstance(v, Tensor) else v for k, v in options.items()}
    wide_target = target.double() if target.is_floating_point() else target
    exact = both(torch_functional.cross_entropy, input.double(), wide_target, **wide)
    eps = torch.finfo(input.dtype).eps
    for o, t, e in zip(ours, torchs, exact, strict=True):
        assert (o.dtype, o.shape) == (t.dtype, t.shape)
        nan = e.isnan()
        assert torch.equal(o.isnan(), nan)
        scale = e.abs() + e[~nan].abs().nan_to_num().max() if (~nan).any() else e.abs()
        errors = torch.where(nan | (o.double() == e), 0.0, (o.double() - e).abs())
        theirs = torch.where(nan | (t.double() == e), 0.0, (t.double() - e).abs())
        allowed = torch.maximum((8 * eps * scale).nan_to_num(), theirs) + 1e-12
        assert (errors <= allowed).all(), (errors.max(), theirs.max(), options)


SHAPES = [(7,), (5, 3), (9, 129), (4, 1000), (3, 6, 5), (2, 200, 3, 4), (1, 1), (33, 10)]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shape=st.sampled_from(SHAPES),
    dtype=st.sampled_from(DTYPES),
    probabilities=st.booleans(),
    weighted=st.booleans(),
    ignored=st.sampled_from([None, "some", "all"]),
    label_smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    reduction=st.sampled_from(["none", "mean", "sum"]),
    layout=st.sampled_from(["contiguous", "strided", "channels_last"]),
)
def test_every_combination_is_torchs(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    probabilities: bool,
    weighted: bool,
    ignored: str | None,
    label_smoothing: float,
    reduction: str,
    layout: str,
) -> None:
    count = shape[0] if len(shape) == 1 else shape[1]
    input = logits(*shape, dtype=dtype)
    if layout == "strided":
        input = logits(*shape, 2, dtype=dtype)[..., 0]
    elif layout == "channels_last" and len(shape) == 4:
        input = input.to(memory_format=torch.channels_last)
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": label_smoothing}
    if weighted:
        options["weight"] = torch.linspace(0.25, 2.0, count).to(dtype)
    if probabilities:
        target = logits(*shape, dtype=torch.float64, seed=1).softmax(0 if len(shape) == 1 else 1)
        target = target.to(dtype)
    else:
        target = classes(shape[2:] if len(shape) == 1 else shape[:1] + shape[2:], count)
        if ignored is not None:
            options["ignore_index"] = -7
            where = torch.rand(target.shape) < (0.4 if ignored == "some" else 2.0)
            target = torch.where(where, -7, target)
    compare(input, target, **options)


@every_dtype
def test_torchs_own_samples(dtype: torch.dtype) -> None:
    (op,) = [op for op in op_db if op.name == "nn.functional.cross_entropy"]
    count = 0
    for s in op.sample_inputs(device_type(), dtype, requires_grad=True):
        compare(s.input.detach(), s.args[0].detach(), **s.kwargs)
        count += 1
    assert count > 10


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8], ids=str)
def test_integer_types_of_targets(dtype: torch.dtype) -> None:
    x, t = logits(6, 9), classes((6,), 9)
    assert_same_bits(F.cross_entropy(x, t.to(dtype)), F.cross_entropy(x, t))


@every_dtype
def test_stability(dtype: torch.dtype) -> None:
    """Logits of ±1e4, masked classes, one class, two orders of a row's first block."""
    for count in (3, 300, 5000):
        x = logits(4, count, dtype=dtype)
        t = classes((4,), count)
        for shift in (1e4, -1e4):
            compare((x.double() + shift).to(dtype), t, reduction="none")
        masked = x.clone()
        masked[:, : count - 1] = -math.inf
        last = torch.full((4,), count - 1)
        compare(masked, last, reduction="none")
        assert (F.cross_entropy(masked, torch.zeros(4).long(), reduction="none") == math.inf).all()
    compare(logits(5, 1, dtype=dtype), torch.zeros(5).long(), reduction="none")


@pytest.mark.skipif(device_type() != "cpu", reason="told at once on the CPU only")
def test_49882_a_class_out_of_range_is_refused_with_its_place() -> None:
    for shape in ((6, 5), (6, 500), (2, 5, 3)):
        x = logits(*shape)
        for wrong in (shape[1], -1, 2**40, -101):
            t = classes(shape[:1] + shape[2:], shape[1])
            t.view(-1)[4] = wrong
            place = r"\[4\]" if len(shape) == 2 else r"\[1, 1\]"
            with pytest.raises(IndexError, match=rf"'target'.*{wrong} at position {place}"):
                F.cross_entropy(x, t)


def test_11551_nothing_of_an_ignored_row_leaks() -> None:
    for value in (-math.inf, math.inf, math.nan):
        x, t = logits(4, 200), classes((4,), 200)
        x[1], t[1] = value, -100
        for options in ({}, {"label_smoothing": 0.1}, {"z_loss": 0.1}, {"softcap": 30.0}):
            leaf = x.clone().requires_grad_()
            loss = F.cross_entropy(leaf, t, **options)
            (grad,) = torch.autograd.grad(loss, leaf)
            assert loss.isfinite(), options
            assert (grad[1] == 0).all()
            assert grad.isfinite().all()


def test_70348_the_mean_of_nothing() -> None:
    x, t = logits(4, 9), torch.full((4,), -100)
    assert F.cross_entropy(x, t).isnan()
    assert F.cross_entropy(x, t, reduction="sum") == 0
    assert (F.cross_entropy(x, t, reduction="none") == 0).all()


def test_liger_272_two_losses_on_one_tensor() -> None:
    x, t = logits(6, 300), classes((6,), 300)
    leaf = x.clone().requires_grad_()
    hidden = leaf * 1
    first = F.cross_entropy(hidden, t)
    second = F.cross_entropy(hidden, t.flip(0), label_smoothing=0.2) + hidden.softmax(1)[0, 0]
    (first + second).backward(retain_graph=True)
    grad = leaf.grad
    leaf.grad = None
    (first + second).backward()
    assert_same_bits(leaf.grad, grad)


@pytest.mark.parametrize("count", [7, 257, 1025, 5037])
def test_verl_2899_odd_class_counts(count: int) -> None:
    compare(logits(5, count), classes((5,), count), reduction="none")


def test_the_target_is_computed_before_rounding() -> None:
    """Liger 1329: at p = 0.999 the gradient p − 1 must not be a difference of rounded numbers."""
    x = torch.zeros(1, 1000, dtype=torch.bfloat16)
    x[0, 3] = 14.0
    leaf = x.requires_grad_()
    F.cross_entropy(leaf, torch.tensor([3])).backward()
    exact = x.detach().double().softmax(1)[0, 3] - 1
    assert leaf.grad is not None
    assert leaf.grad[0, 3] == exact.to(torch.bfloat16)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"label_smoothing": 0.1, "weight": torch.linspace(0.5, 2, 5).double()},
        {"z_loss": 0.3},
        {"softcap": 3.0, "label_smoothing": 0.2},
        {"reduction": "none"},
    ],
    ids=str,
)
def test_derivatives(options: dict[str, Any]) -> None:
    x = (logits(4, 5).double().clamp(-2, 2)).requires_grad_()
    t = torch.tensor([1, 4, -100, 0])
    assert gradcheck(lambda y: F.cross_entropy(y, t, **options), x, check_forward_ad=True)
    assert gradgradcheck(lambda y: F.cross_entropy(y, t, **options), x)
    q = x.detach().softmax(1).flip(0).requires_grad_()
    assert gradcheck(lambda y, p: F.cross_entropy(y, p, **options), (x, q))


function_of_rows = torch.ops.activations_ext.row_statistics


def test_statistics() -> None:
    """The primitive: every output's gradient, the entropy's among them."""
    x, t = (logits(4, 6).double().clamp(-2, 2)).requires_grad_(), torch.tensor([1, 5, -100, 0])
    w = torch.linspace(-1, 2, 6, dtype=torch.float64).requires_grad_()

    def function(y: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        # The maximum counts as a constant: what does not depend on it is differentiated.
        row = torch.ops.activations_ext.row_statistics(
            y, 1, t, v, None, 0.0, -100, 0.0, 1.0, True, True, False
        )
        maximum, log_sum, target, weighted, expected, mass, _ = row
        negative = torch.where(t != -100, log_sum - target, 0.0)
        return maximum + log_sum, negative, mass * log_sum - weighted, log_sum - expected

    assert gradcheck(function, (x, w))
    assert gradgradcheck(function, (x, w))
    _, log_sum, target, weighted, expected, mass, argmax = function_of_rows(
        x, 1, t, w, None, 0.0, -100, 0.0, 1.0, True, True, False
    )
    torch.testing.assert_close(mass, w.sum().expand(4))
    assert argmax.equal(x.argmax(1))
    assert not argmax.requires_grad
    entropy = -(x.softmax(1) * x.log_softmax(1)).sum(1)
    torch.testing.assert_close(log_sum - expected, entropy)
    assert target[2] == 0
    torch.testing.assert_close(w.sum() * log_sum - weighted, -(x.log_softmax(1) * w).sum(1))


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_statistics_of_probabilities(smoothing: float, weighted: bool) -> None:
    """The kernel smooths them and weights their classes: what comes of it, with every gradient."""
    x, q = (logits(4, 6).double().clamp(-2, 2) for _ in range(2))
    q = q.softmax(1).flip(0)
    w = torch.linspace(0.2, 2, 6, dtype=torch.float64) if weighted else None

    def function(*of: Tensor) -> Tensor:
        y, p, v = (*of, None)[:3]
        row = function_of_rows(y, 1, None, p, v, smoothing, -100, 0.0, 1.0, False, False, False)
        result: Tensor = row[5] * row[1] - row[3]
        return result

    leaves = [tensor.requires_grad_() for tensor in (x, q, w) if tensor is not None]
    shares = (q * (1 - smoothing) + smoothing / 6) * (1.0 if w is None else w)
    torch.testing.assert_close(function(*leaves), -(shares * x.log_softmax(1)).sum(1))
    assert gradcheck(function, leaves, check_forward_ad=True)
    assert gradgradcheck(function, leaves)


@pytest.mark.parametrize(
    ("weight", "class_weight", "smoothing"),
    [
        (None, None, 0.1),
        (torch.rand(4, 6), None, -0.1),
        (torch.rand(4, 6), None, 1.5),
        (torch.rand(4, 6), None, math.nan),
        (torch.rand(6), torch.rand(6), 0.0),
        (torch.rand(4, 6), torch.rand(5), 0.0),
        (torch.rand(4, 6), torch.rand(4, 6), 0.0),
    ],
)
def test_statistics_refuse(
    weight: Tensor | None, class_weight: Tensor | None, smoothing: float
) -> None:
    wrong = "class_weight" if class_weight is not None else "smoothing"
    with pytest.raises((RuntimeError, ValueError), match=f"'{wrong}'"):
        function_of_rows(
            *(logits(4, 6), 1, None, weight, class_weight, smoothing),
            *(-100, 0.0, 1.0, False, False, False),
        )


def test_functional_transforms() -> None:
    x, t = logits(3, 4, 5).double(), classes((3, 4), 5)
    for function in (torch.func.grad, torch.func.jacrev, torch.func.jacfwd, torch.func.hessian):
        results = [
            torch.func.vmap(function(lambda y, u, f=f: f(y, u)))(x, t)
            for f in (F.cross_entropy, torch_functional.cross_entropy)
        ]
        torch.testing.assert_close(*results)


@pytest.mark.compiler
def test_compile_and_opcheck() -> None:
    """One graph, dynamic shapes, ignored rows among them (Liger 1338)."""
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda y, u: F.cross_entropy(y, u, label_smoothing=0.1, reduction="none"),
        fullgraph=True,
        backend="aot_eager",
        dynamic=True,
    )
    for rows, count in ((5, 9), (8, 300)):
        x, t = logits(rows, count), classes((rows,), count)
        t[1::2] = -100
        ours = both(compiled, x, t)
        eager = both(F.cross_entropy, x, t, label_smoothing=0.1, reduction="none")
        for a, b in zip(ours, eager, strict=True):
            assert_same_bits(a, b)
        assert (ours[0][1::2] == 0).all()
    arguments = (
        logits(3, 5).requires_grad_(),
        1,
        torch.tensor([1, -100, 4]),
        None,
        None,
        0.0,
        -100,
        0.0,
        2.0,
        True,
        True,
        False,
    )
    torch.library.opcheck(function_of_rows.default, arguments)
    weights = (logits(3, 5).softmax(1), torch.rand(5), 0.1)
    torch.library.opcheck(function_of_rows.default, (*arguments[:3], *weights, *arguments[6:]))


@pytest.mark.parametrize("shape", [(64, 1000), (3000, 10), (2, 100_000)])
def test_the_same_on_any_number_of_threads(shape: tuple[int, int]) -> None:
    x, t, results = logits(*shape), classes(shape[:1], shape[1]), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(both(F.cross_entropy, x, t, reduction="none"))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_the_signature_begins_with_torchs() -> None:
    for ours, torchs in (
        (F.cross_entropy, torch_functional.cross_entropy),
        (nn.CrossEntropyLoss.__init__, torch.nn.CrossEntropyLoss.__init__),
        (nn.CrossEntropyLoss.forward, torch.nn.CrossEntropyLoss.forward),
    ):
        names = list(inspect.signature(torchs).parameters)
        assert list(inspect.signature(ours).parameters)[: len(names)] == names
    loss = nn.CrossEntropyLoss(torch.rand(5), ignore_index=2, label_smoothing=0.1)
    assert list(loss.state_dict()) == ["weight"]


def test_errors_are_torchs() -> None:
    x = logits(4, 5)
    wrong: list[tuple[Any, Any, dict[str, Any]]] = [
        (x, classes((3,), 5), {}),
        (x, classes((4,), 5), {"weight": torch.ones(4)}),
        (x, classes((4,), 5), {"reduction": "average"}),
        (x, classes((4,), 5), {"label_smoothing": 1.5}),
        (x, logits(4, 4), {}),
        (x.long(), classes((4,), 5), {}),
    ]
    for input, target, options in wrong:
        with pytest.raises(Exception) as theirs:  # noqa: PT011
            torch_functional.cross_entropy(input, target, **options)
        with pytest.raises(theirs.type):
            F.cross_entropy(input, target, **options)

"""binary_cross_entropy_with_logits and nll_loss against torch's and float64."""

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
from torch.testing._internal.common_modules import module_db

from activations_ext import functional as F
from activations_ext import nn
from helpers import DTYPES, assert_same_bits, device_type, results_by_capability, sample

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
binary = F.binary_cross_entropy_with_logits
torchs_binary = torch_functional.binary_cross_entropy_with_logits


def logits(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    count = torch.Size(shape).numel()
    return sample(max(count, 8), dtype, seed)[:count].reshape(shape).clamp(-30, 30)


def both(function: Any, input: Tensor, target: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    leaf = input.detach().requires_grad_()
    loss = function(leaf, target, **options)
    grad_output = torch.linspace(0.5, 2.0, max(1, loss.numel()), dtype=torch.float64)
    grad_output = grad_output[: loss.numel()].to(loss.dtype).view(loss.shape)
    return loss.detach(), torch.autograd.grad(loss, leaf, grad_output)[0]


def wide(tensor: Any) -> Any:
    return tensor.double() if isinstance(tensor, Tensor) else tensor


def compare_binary(input: Tensor, target: Tensor, **options: Any) -> None:
    """Value and gradient are right to a few roundings of their terms, or as near as torch's."""
    ours = both(binary, input, target, **options)
    torchs = both(torchs_binary, input, target, **options)
    options = {name: wide(option) for name, option in options.items()}
    exact = both(torchs_binary, input.double(), target.double(), **options)
    eps = torch.finfo(input.dtype).eps
    for o, t, e in zip(ours, torchs, exact, strict=True):
        assert (o.dtype, o.shape) == (t.dtype, t.shape)
        assert torch.equal(o.isnan(), e.isnan())
        if not o.numel() or e.isnan().all():
            continue
        error, theirs = (o.double() - e).abs(), (t.double() - e).abs()
        # "Exact" is a sum of float64 in torch's order; in another one it is some √n eps off.
        steps = 4 + (input.numel() ** 0.5 if input.dtype == torch.float64 else 0)
        allowed = torch.maximum(steps * eps * (e.abs() + e.abs().max()) + 1e-12, theirs)
        assert (error <= allowed).all(), (error.max(), theirs.max(), options)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shape=st.sampled_from([(), (1,), (7,), (5, 3), (300, 17), (2, 5, 3, 4), (0, 3), (70_000,)]),
    dtype=st.sampled_from(DTYPES),
    hard=st.booleans(),
    weight=st.sampled_from([None, "full", "last"]),
    pos_weight=st.sampled_from([None, "full", "last", "one"]),
    reduction=st.sampled_from(["none", "mean", "sum"]),
    layout=st.sampled_from(["contiguous", "strided", "channels_last", "expanded"]),
)
def test_every_combination_is_torchs(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    hard: bool,
    weight: str | None,
    pos_weight: str | None,
    reduction: str,
    layout: str,
) -> None:
    input = logits(*shape, dtype=dtype)
    if layout == "strided":
        input = logits(*shape, 2, dtype=dtype)[..., 0]
    elif layout == "channels_last" and len(shape) == 4:
        input = input.to(memory_format=torch.channels_last)
    elif layout == "expanded" and len(shape) == 2:
        input = input[:1].expand(shape)
    target = torch.linspace(0, 1, max(1, input.numel()))[: input.numel()].view(shape).to(dtype)
    target = target.round() if hard else target

    def factor(kind: str | None) -> Tensor | None:
        sizes = {"full": shape, "last": shape[-1:], "one": (1,) * len(shape)}
        if kind is None:
            return None
        count = max(1, torch.Size(sizes[kind]).numel())
        return (
            torch.linspace(0.5, 3, count)[: torch.Size(sizes[kind]).numel()]
            .view(sizes[kind])
            .to(dtype)
        )

    options = {"weight": factor(weight), "pos_weight": factor(pos_weight), "reduction": reduction}
    compare_binary(input, target, **options)


@every_dtype
def test_torchs_own_samples(dtype: torch.dtype) -> None:
    for name in ("binary_cross_entropy_with_logits", "nll_loss"):
        (op,) = [op for op in op_db if op.name == f"nn.functional.{name}"]
        count = 0
        for s in op.sample_inputs(device_type(), dtype, requires_grad=True):
            target = s.args[0].detach()
            if name == "nll_loss":
                results = (
                    both(f, s.input, target, **s.kwargs)
                    for f in (F.nll_loss, torch_functional.nll_loss)
                )
                for ours, torchs in zip(*results, strict=True):
                    assert_same_bits(ours, torchs)
            else:
                compare_binary(s.input, target, **s.kwargs)
            count += 1
        assert count > 5


@every_dtype
@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss", "BCEWithLogitsLoss"])
def test_torchs_own_samples_of_modules(name: str, dtype: torch.dtype) -> None:
    (info,) = [info for info in module_db if info.module_cls.__name__ == name]
    inputs = info.module_inputs_func(info, device_type(), dtype, requires_grad=True, training=False)
    count = 0
    for s in inputs:
        arguments, keywords = s.constructor_input.args, s.constructor_input.kwargs
        input, target = s.forward_input.args
        results = [
            both(getattr(library, name)(*arguments, **keywords), input, target.detach())
            for library in (nn, torch.nn)
        ]
        eps = 16 * torch.finfo(dtype).eps
        for ours, torchs in zip(*results, strict=True):
            assert (ours.dtype, ours.shape) == (torchs.dtype, torchs.shape)
            torch.testing.assert_close(ours, torchs, rtol=eps, atol=eps, equal_nan=True)
        count += 1
    assert count > 5


def test_layouts_are_kept() -> None:
    x = logits(2, 5, 3, 4).to(memory_format=torch.channels_last)
    results = [both(f, x, x.sigmoid(), reduction="none") for f in (binary, torchs_binary)]
    for ours, torchs in zip(*results, strict=True):
        assert ours.stride() == torchs.stride() == x.stride()


@pytest.mark.skipif(device_type() != "cpu", reason="torch's, which has no such digits")
def test_confident_logits_keep_their_digits() -> None:
    """(1 − t)·x − log σ(x) is 0 in float32 at −30."""
    x = torch.tensor([-30.0, 30.0, -100.0, 1e4])
    t = torch.tensor([0.0, 1.0, 1.0, 0.0])
    exact = torch.tensor([math.exp(-30), math.exp(-30), 100.0, 1e4])
    torch.testing.assert_close(binary(x, t, reduction="none"), exact, rtol=1e-6, atol=0)


def test_nan_and_infinity_are_torchs() -> None:
    x = torch.tensor([math.nan, math.inf, -math.inf]).repeat(3)
    t = torch.tensor([0.0, 1.0, 0.5]).repeat_interleave(3)
    ours, torchs = (f(x, t, reduction="none") for f in (binary, torchs_binary))
    assert torch.equal(ours.isnan() | ours.isinf(), torchs.isnan() | torchs.isinf())
    assert ours[:3].isnan()[0]


def test_liger_968_every_row_has_its_own_grad_output() -> None:
    x, t = logits(50, 3), logits(50, 3, seed=1).sigmoid()
    grad_output = logits(50, 3, seed=2)
    leaves = [x.clone().requires_grad_() for _ in range(2)]
    for leaf, function in zip(leaves, (binary, torchs_binary), strict=True):
        function(leaf, t, reduction="none").backward(grad_output)
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_derivatives(reduction: str) -> None:
    x = logits(4, 3, dtype=torch.float64).clamp(-3, 3).requires_grad_()
    t = torch.linspace(0, 1, 12, dtype=torch.float64).view(4, 3)
    w, p = (torch.linspace(0.5, 2, 3, dtype=torch.float64) + i for i in range(2))

    def function(*arguments: Tensor) -> Tensor:
        y, u, v, q = (*arguments, *(t, w, p)[len(arguments) - 1 :])
        return binary(y, u, v, reduction=reduction, pos_weight=q)

    assert gradcheck(function, x, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(function, x)
    # torch differentiates by the targets, too, but not by the weights.
    assert gradcheck(function, (x, t.clone().requires_grad_()))
    with pytest.raises(RuntimeError, match="not differentiable with respect to argument 'weight'"):
        function(x, t, w.clone().requires_grad_())


def test_functional_transforms() -> None:
    x = logits(3, 4, dtype=torch.float64)
    t = torch.linspace(0, 1, 12, dtype=torch.float64).view(3, 4)
    for transform in (torch.func.grad, torch.func.jacrev, torch.func.jacfwd, torch.func.hessian):
        results = [
            torch.func.vmap(transform(lambda y, u, f=f: f(y, u)))(x, t)
            for f in (binary, torchs_binary)
        ]
        torch.testing.assert_close(*results)
        focal = transform(lambda y, u: binary(y, u, focal_gamma=1.5))
        each = torch.stack([focal(y, u) for y, u in zip(x, t, strict=True)])
        torch.testing.assert_close(torch.func.vmap(focal)(x, t), each)


@pytest.mark.compiler
def test_compile_and_opcheck() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda y, u: binary(y, u, pos_weight=u[0] + 1), fullgraph=True, backend="aot_eager"
    )
    x, t = logits(5, 9), logits(5, 9, seed=1).sigmoid()
    results = [both(f, x, t) for f in (compiled, lambda y, u: binary(y, u, pos_weight=u[0] + 1))]
    for a, b in zip(*results, strict=True):
        assert_same_bits(a, b)
    for reduction in (0, 1, 2):
        gamma = reduction * 0.75
        arguments = (x.requires_grad_(), t, None, t[0].clone(), reduction, gamma)
        operator = torch.ops.activations_ext.binary_cross_entropy_with_logits.default
        torch.library.opcheck(operator, arguments)


def test_the_same_on_any_number_of_threads() -> None:
    x, results = logits(300, 1001), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(both(binary, x, x.sigmoid().flip(0)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_where_there_is_no_kernel_torchs_runs() -> None:
    x, t = logits(5, 3), logits(5, 3, seed=1).sigmoid()
    pairs = [
        ((x, t.double()), {}),
        ((x.bfloat16(), t), {}),
        ((x[:1], t[:1]), {"weight": torch.rand(4, 3)}),
        ((x, t[0]), {}),
        ((x, t), {"reduction": "average"}),
        ((x, t), {"pos_weight": torch.rand(2)}),
        ((x.long(), t), {}),
    ]
    for arguments, options in pairs:
        try:
            expected = torchs_binary(*arguments, **options)
        except Exception as error:
            with pytest.raises(type(error)):
                binary(*arguments, **options)
        else:
            torch.testing.assert_close(binary(*arguments, **options), expected)
    with torch.autocast(device_type(), torch.bfloat16):
        assert binary(x.bfloat16(), t.bfloat16()).dtype == torch.float32


def test_nll_loss() -> None:
    x = logits(6, 9).log_softmax(1)
    t = torch.tensor([0, 8, -100, 3, 3, 1])
    for dtype in (torch.int32, torch.int64):
        for options in ({}, {"weight": torch.rand(9)}, {"reduction": "sum"}):
            results = (
                F.nll_loss(x, t.to(dtype), **options),
                torch_functional.nll_loss(x, t, **options),
            )
            assert_same_bits(*results)
    if device_type() != "cpu":
        return  # torch's assertion would end the device
    t[4] = 9
    with pytest.raises(IndexError, match=r"'target'.* 0 to 8.*-100.*got 9 at position \[4\]"):
        F.nll_loss(x, t)


def test_modules_and_signatures() -> None:
    x, t = logits(6, 9), torch.rand(6, 9)
    options = {"weight": torch.rand(9), "pos_weight": torch.rand(9), "reduction": "sum"}
    ours, torchs = nn.BCEWithLogitsLoss(**options), torch.nn.BCEWithLogitsLoss(**options)
    torch.testing.assert_close(ours(x, t), torchs(x, t))
    assert list(ours.state_dict()) == list(torchs.state_dict())
    classes = torch.arange(6)
    expected = torch.nn.NLLLoss(torch.arange(9.0))(x, classes)
    assert_same_bits(nn.NLLLoss(torch.arange(9.0))(x, classes), expected)
    for mine, theirs in (
        (binary, torchs_binary),
        (F.nll_loss, torch_functional.nll_loss),
        (nn.BCEWithLogitsLoss.__init__, torch.nn.BCEWithLogitsLoss.__init__),
        (nn.NLLLoss.forward, torch.nn.NLLLoss.forward),
    ):
        own, torchs_own = (list(inspect.signature(f).parameters) for f in (mine, theirs))
        assert own[: len(torchs_own)] == torchs_own
        assert set(own[len(torchs_own) :]) <= {"focal_gamma"}


def test_instruction_sets_agree() -> None:
    results = results_by_capability(
        lambda: both(binary, logits(33, 10), logits(33, 10, seed=1).sigmoid(), reduction="none")
    )
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-5, atol=1e-6)

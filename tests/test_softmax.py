"""softmax, softmin and log_softmax along any dimension of any layout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as torch_functional
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing._internal.common_methods_invocations import op_db

from activations_ext import functional as F
from activations_ext import nn
from helpers import DTYPES, assert_same_bits, device_type, results_by_capability, sample

NAMES = ("softmax", "log_softmax", "softmin")
every_name = pytest.mark.parametrize("name", NAMES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    count = torch.Size(shape).numel()
    return sample(max(count, 8), dtype, seed)[:count].reshape(shape).clamp(-20, 20)


# (layout, dim)
INPUTS: dict[str, tuple[Callable[[torch.dtype], Tensor], int]] = {
    "0-d": (lambda t: numbers(dtype=t), 0),
    "(C,)": (lambda t: numbers(11, dtype=t), -1),
    "one class": (lambda t: numbers(5, 1, dtype=t), 1),
    "few classes": (lambda t: numbers(37, 10, dtype=t), 1),
    "128 classes": (lambda t: numbers(19, 128, dtype=t), 1),
    "129 classes": (lambda t: numbers(19, 129, dtype=t), 1),
    "1000 classes": (lambda t: numbers(7, 1000, dtype=t), -1),
    "odd classes": (lambda t: numbers(3, 5037, dtype=t), -1),
    "first dim": (lambda t: numbers(10, 37, dtype=t), 0),
    "first dim, many": (lambda t: numbers(700, 37, dtype=t), 0),
    "middle": (lambda t: numbers(3, 21, 5, 7, dtype=t), 1),
    "middle, many": (lambda t: numbers(2, 300, 5, 7, dtype=t), 1),
    "channels_last": (
        lambda t: numbers(3, 21, 5, 7, dtype=t).to(memory_format=torch.channels_last),
        1,
    ),
    "transposed": (lambda t: numbers(300, 9, dtype=t).t(), 1),
    "every other": (lambda t: numbers(9, 600, dtype=t)[:, ::2], 1),
    "three strides": (lambda t: numbers(4, 6, 8, 10, dtype=t)[::2, ::3, :, ::5], 2),
    "expanded": (lambda t: numbers(1, 200, dtype=t).expand(6, 200), 1),
    "offset": (lambda t: numbers(2000, dtype=t)[3:].view(-1)[:1995].view(5, 399), 1),
    "empty": (lambda t: numbers(0, 5, dtype=t), 1),
    "no classes": (lambda t: numbers(5, 0, dtype=t), 1),
}
every_input = pytest.mark.parametrize("layout", INPUTS)


def operands(layout: str, dtype: torch.dtype) -> tuple[Tensor, int, Tensor]:
    make, dim = INPUTS[layout]
    input = make(dtype).detach()
    grad_output = numbers(*input.shape, dtype=dtype, seed=1).clamp(-3, 3)
    return input, dim, grad_output


def both(
    function: Callable[..., Tensor], input: Tensor, dim: int, grad_output: Tensor
) -> tuple[Tensor, Tensor]:
    leaf = input.detach().requires_grad_()
    result = function(leaf, dim)
    return result.detach(), torch.autograd.grad(result, leaf, grad_output)[0]


@every_name
@every_input
@every_dtype
def test_values_and_gradients(name: str, layout: str, dtype: torch.dtype) -> None:
    """Against float64, within a few roundings; shape, strides and dtype are torch's."""
    input, dim, grad_output = operands(layout, dtype)
    ours = both(getattr(F, name), input, dim, grad_output)
    reference = getattr(torch_functional, name)
    torchs = both(reference, input, dim, grad_output)
    exact = both(reference, input.double(), dim, grad_output.double())
    eps = torch.finfo(dtype).eps
    wide = input.double() if name != "softmin" else -input.double()
    p, g = wide.softmax(dim), grad_output.double().abs()
    # An exponent is rounded before its exponential; the terms of a gradient cancel.
    d = 41.0  # of logits clamped to ±20, and 1 for the rest
    scales = [exact[0].abs() * d, p * (g + (p * g).sum(dim, keepdim=True)) * d]
    if name == "log_softmax":
        scales = [exact[0].abs() + wide.abs(), g + p * g.sum(dim, keepdim=True) * d]
    for o, t, e, scale in zip(ours, torchs, exact, scales, strict=True):
        assert (o.dtype, o.shape, o.stride()) == (t.dtype, t.shape, t.stride())
        scale = scale + torch.finfo(dtype).smallest_normal
        error = (o.double() - e).abs() / (eps * scale)
        theirs = (t.double() - e).abs() / (eps * scale)
        limit = max(4.0, theirs.max().item()) if o.numel() else 0.0
        assert not o.numel() or error.max() <= limit, (error.max(), theirs.max())


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_sixteen_bits_are_rounded_once(name: str, dtype: torch.dtype) -> None:
    input = numbers(9, 3001, dtype=dtype)
    result = getattr(F, name)(input, 1)
    exact = getattr(torch, name)(input.double(), 1)
    unit = torch.finfo(dtype).eps * exact.abs().clamp_min(torch.finfo(dtype).smallest_normal)
    assert ((result.double() - exact).abs() <= 0.51 * unit + 1e-7 * exact.abs()).all()


@every_name
@pytest.mark.parametrize("classes", [1, 5, 200, 3000])
@every_dtype
def test_special_rows(name: str, classes: int, dtype: torch.dtype) -> None:
    """Huge logits, masked classes, rows of −∞, ∞ and NaN are torch's."""
    largest = 6e4 if dtype == torch.float16 else 1e8
    for value in (0.0, 1e4, -1e4, largest, -largest, math.inf, -math.inf, math.nan):
        for where in (0, classes // 2, classes - 1):
            for base in (0.25, -math.inf):
                row = torch.full((3, classes), base, dtype=dtype)
                row[1, where] = value
                ours = getattr(F, name)(row, 1)
                torchs = getattr(torch_functional, name)(row, 1)
                torch.testing.assert_close(ours, torchs, equal_nan=True)
                assert_same_bits(ours[0], ours[2])


@every_name
@pytest.mark.parametrize("layout", ["0-d", "few classes", "middle", "first dim"])
def test_derivatives(name: str, layout: str) -> None:
    make, dim = INPUTS[layout]
    full = make(torch.float64)
    cut = full[tuple(slice(0, 3) for _ in full.shape)].clamp(-2, 2).clone().requires_grad_()

    def function(x: Tensor) -> Tensor:
        result: Tensor = getattr(F, name)(x, dim)
        return result

    assert gradcheck(
        function,
        cut,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        check_undefined_grad=True,
    )
    assert gradgradcheck(function, cut, check_fwd_over_rev=True, check_batched_grad=True)


@every_name
def test_functional_transforms(name: str, no_vmap_fallback: None) -> None:
    x = numbers(3, 4, 5, dtype=torch.float64)

    def compare(transform: Callable[[Callable[..., Tensor]], Any]) -> None:
        torch.testing.assert_close(
            transform(getattr(F, name)), transform(getattr(torch_functional, name))
        )

    for dim in (-2, -1, 0, 1):
        for in_dim in range(3):
            compare(lambda f: torch.func.vmap(lambda t: f(t, dim), in_dim)(x))  # noqa: B023
    compare(lambda f: torch.func.vmap(lambda t: f(t, 0))(x[0, 0]))
    compare(lambda f: torch.func.hessian(lambda t: f(t, 0).square().sum())(x[0, 0]))
    compare(lambda f: torch.func.jacfwd(lambda t: f(t, 0))(x[0, 0]))
    compare(lambda f: torch.func.vmap(torch.func.grad(lambda t: f(t, 1).sin().sum()))(x))


@every_name
@every_dtype
def test_torchs_own_samples(name: str, dtype: torch.dtype) -> None:
    ours, torchs, count = getattr(F, name), getattr(torch_functional, name), 0
    for op in op_db:
        if op.name not in (name, f"nn.functional.{name}"):
            continue
        for s in op.sample_inputs(device_type(), dtype, requires_grad=True):
            result, expected = (f(s.input, *s.args, **s.kwargs) for f in (ours, torchs))
            # torch rounds a sum of logits' size first, which loses the digits of results near 0.
            wide = torchs(s.input.double(), *s.args, **{**s.kwargs, "dtype": None})
            torch.testing.assert_close(
                result.double(), wide, rtol=torch.finfo(dtype).eps, atol=1e-6
            )
            grad_output = torch.linspace(-1, 1, result.numel()).view(result.shape).to(result)
            grads = [torch.autograd.grad(r, s.input, grad_output)[0] for r in (result, expected)]
            # Both read the rounded result, whose logarithm's error is one of the probability.
            terms = result.detach().abs().max() + 1 if result.numel() else 1.0
            eps = torch.finfo(result.dtype).eps * float(terms)
            torch.testing.assert_close(*grads, rtol=8 * eps, atol=8 * eps)
            count += 1
    assert count > 3


def test_double_backward_and_retain_graph() -> None:
    x = numbers(5, 40).requires_grad_()
    for name in NAMES:
        y = getattr(F, name)(x, 1)
        first = torch.autograd.grad(y, x, torch.ones_like(y).cumsum(1), retain_graph=True)[0]
        again = torch.autograd.grad(y, x, torch.ones_like(y).cumsum(1))[0]
        assert_same_bits(first, again)
        y = getattr(F, name)(x, 1)
        y.detach().add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


@every_name
@pytest.mark.parametrize("shape", [(64, 1000), (3000, 10), (2, 100_000), (1, 77_777)])
def test_the_same_on_any_number_of_threads(name: str, shape: tuple[int, int]) -> None:
    x, results = numbers(*shape), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(both(getattr(F, name), x, 1, x.cos()))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@every_name
def test_dtype_and_implicit_dim(name: str) -> None:
    ours, torchs = getattr(F, name), getattr(torch_functional, name)
    x = numbers(4, 9, dtype=torch.bfloat16)
    torch.testing.assert_close(ours(x, 1, dtype=torch.float32), torchs(x, 1, dtype=torch.float32))
    whole = torch.arange(12).view(3, 4)
    torch.testing.assert_close(ours(whole, 1, dtype=torch.float64), torchs(whole.double(), 1))
    with pytest.warns(UserWarning, match="Implicit dimension") as warned:
        torch.testing.assert_close(ours(numbers(4, 9)), ours(numbers(4, 9), 1))
    assert warned[0].filename == __file__  # the caller's line


@every_name
def test_where_there_is_no_kernel_torchs_runs(name: str) -> None:
    ours, torchs = getattr(F, name), getattr(torch_functional, name)
    meta = torch.empty(2**40, 7, device="meta").requires_grad_()
    assert ours(meta, 1).shape == meta.shape
    z = torch.randn(3, 4, dtype=torch.complex64)
    for wrong, dim in ((torch.arange(3), 0), (z, 1), (numbers(3), 1), (numbers(3), -2)):
        try:
            expected = torchs(wrong, dim)
        except Exception as error:
            with pytest.raises(type(error)):
                ours(wrong, dim)
        else:
            torch.testing.assert_close(ours(wrong, dim), expected)
    with torch.autocast(device_type(), torch.bfloat16):
        assert ours(numbers(3, 4), 1).dtype == torchs(numbers(3, 4), 1).dtype


@every_name
@pytest.mark.compiler
def test_compile_and_opcheck(name: str) -> None:
    torch._dynamo.reset()
    function = getattr(F, name)
    compiled = torch.compile(
        lambda x: function(x, 1), fullgraph=True, backend="aot_eager", dynamic=True
    )
    for shape in ((5, 7), (3, 200)):
        x = numbers(*shape).requires_grad_()
        grads = [
            torch.autograd.grad(f(x), x, x.detach().cos())[0]
            for f in (compiled, lambda t: function(t, 1))
        ]
        assert_same_bits(*grads)
    if name != "softmin":
        operator = getattr(torch.ops.activations_ext, name).default
        torch.library.opcheck(operator, (numbers(3, 5).requires_grad_(), 1))
        backward = getattr(torch.ops.activations_ext, name + "_backward").default
        torch.library.opcheck(backward, (numbers(3, 5), function(numbers(3, 5), 1), -1))


def test_modules() -> None:
    x = numbers(2, 3, 4, 5)
    for ours, torchs in (
        (nn.Softmax(1), torch.nn.Softmax(1)),
        (nn.Softmin(-1), torch.nn.Softmin(-1)),
        (nn.LogSoftmax(2), torch.nn.LogSoftmax(2)),
        (nn.Softmax2d(), torch.nn.Softmax2d()),
    ):
        assert isinstance(ours, type(torchs))
        assert repr(ours) == repr(torchs)
        torch.testing.assert_close(ours(x), torchs(x))
    with pytest.raises(ValueError, match="3 or 4 dimensions"):
        nn.Softmax2d()(x[0, 0])


LOGSUMEXP_DIMS: list[tuple[str, Any]] = [
    ("0-d", 0),
    ("few classes", 1),
    ("odd classes", -1),
    ("first dim, many", 0),
    ("middle", (1, 3)),
    ("channels_last", (3, 0, -2)),
    ("three strides", 2),
    ("expanded", [0, 1]),
    ("empty", 0),
    ("empty", (1,)),
    ("no classes", 0),
]


@pytest.mark.parametrize(("layout", "dim"), LOGSUMEXP_DIMS, ids=str)
@every_dtype
def test_logsumexp(layout: str, dim: Any, dtype: torch.dtype) -> None:
    x = INPUTS[layout][0](dtype)
    for keepdim in (False, True):
        leaves = [x.detach().requires_grad_(), x.detach().double().requires_grad_()]
        ours = F.logsumexp(leaves[0], dim, keepdim)
        exact = torch.logsumexp(leaves[1], dim, keepdim)
        assert (ours.dtype, ours.shape) == (dtype, exact.shape)
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(ours.double(), exact, rtol=eps, atol=1e-6)
        for result in (ours, exact):
            result.backward(torch.linspace(-1, 2, result.numel()).view(result.shape).to(result))
        ours_grad, exact_grad = (leaf.grad for leaf in leaves)
        assert ours_grad is not None
        torch.testing.assert_close(ours_grad.double(), exact_grad, rtol=45 * eps, atol=eps / 8)


def test_logsumexp_of_special_rows_and_arguments() -> None:
    inf, nan = math.inf, math.nan
    for row in ([inf, 1], [inf, inf], [-inf, -inf], [nan, inf], [inf, -inf], [nan, 1], [-inf, 1]):
        for repeats in (1, 100):
            x = torch.tensor(row).repeat(repeats)
            torch.testing.assert_close(F.logsumexp(x, 0), torch.logsumexp(x, 0), equal_nan=True)
    x = numbers(3, 4, dtype=torch.bfloat16)
    wide = F.logsumexp(x, 1, dtype=torch.float64)
    torch.testing.assert_close(wide, torch.logsumexp(x.double(), 1))
    whole = torch.arange(12).view(3, 4)
    torch.testing.assert_close(F.logsumexp(whole, 1), torch.logsumexp(whole, 1))
    for input, dim in ((x, 2), (x, (0, 0)), (x, (0, -2)), (x, (0, 5)), (x[:, :0], 1)):
        try:
            expected = torch.logsumexp(input, dim)
        except Exception as error:
            with pytest.raises(type(error)):
                F.logsumexp(input, dim)
        else:
            torch.testing.assert_close(F.logsumexp(input, dim), expected)
    z = numbers(3, 4, dtype=torch.float64).clamp(-2, 2).requires_grad_()
    assert gradcheck(lambda y: F.logsumexp(y, (0, 1)), z, check_forward_ad=True)
    assert gradgradcheck(lambda y: F.logsumexp(y, 1), z)
    for function in (F.logsumexp, torch.logsumexp):
        result = torch.func.vmap(torch.func.grad(lambda y, f=function: f(y, 0)))(z.detach())
        torch.testing.assert_close(result, z.detach().softmax(1))


def values_and_gradients() -> Iterator[Tensor]:
    for shape in ((33, 10), (3, 5001)):
        x = numbers(*shape).requires_grad_()
        for f in (F.softmax, F.log_softmax):
            y = f(x, 1)
            yield from (y.detach(), torch.autograd.grad(y, x, x.detach().cos())[0])


def test_instruction_sets_agree() -> None:
    results = results_by_capability(values_and_gradients)
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-5, atol=1e-6)

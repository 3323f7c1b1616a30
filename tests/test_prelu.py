"""prelu: one weight or one for each channel, and the weight's gradient in the same pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from activations_ext import functional as F
from activations_ext import nn
from helpers import DTYPES, assert_same_bits, results_by_capability, sample

pytestmark = pytest.mark.each_capability


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    count = torch.Size(shape).numel()
    return sample(max(count, 1), dtype, seed)[:count].reshape(shape).clamp(-20, 20)


# (input's layout, number of weights)
INPUTS: dict[str, tuple[Callable[[torch.dtype], Tensor], int]] = {
    "0-d": (lambda t: numbers(dtype=t), 1),
    "(C,)": (lambda t: numbers(7, dtype=t), 1),
    "(N, C)": (lambda t: numbers(33, 5, dtype=t), 5),
    "(N, C), single": (lambda t: numbers(33, 5, dtype=t), 1),
    "(N, C), many": (lambda t: numbers(3, 5000, dtype=t), 5000),
    "(N, C), tall": (lambda t: numbers(9000, 3, dtype=t), 3),
    "(N, 1)": (lambda t: numbers(33, 1, dtype=t), 1),
    "(N, C, L)": (lambda t: numbers(4, 6, 17, dtype=t), 6),
    "(N, C, H, W)": (lambda t: numbers(3, 5, 7, 9, dtype=t), 5),
    "(N, C, H, W), single": (lambda t: numbers(3, 5, 7, 9, dtype=t), 1),
    "(N, C, H, W), large rows": (lambda t: numbers(2, 3, 70, 90, dtype=t), 3),
    "channels_last": (
        lambda t: numbers(3, 5, 7, 9, dtype=t).to(memory_format=torch.channels_last),
        5,
    ),
    "channels_last, single": (
        lambda t: numbers(3, 5, 7, 9, dtype=t).to(memory_format=torch.channels_last),
        1,
    ),
    "channels_last_3d": (
        lambda t: numbers(2, 5, 3, 4, 6, dtype=t).to(memory_format=torch.channels_last_3d),
        5,
    ),
    "channels_last, large": (
        lambda t: numbers(2, 16, 40, 50, dtype=t).to(memory_format=torch.channels_last),
        16,
    ),
    "transposed": (lambda t: numbers(5, 33, dtype=t).t(), 5),
    "permuted": (lambda t: numbers(7, 3, 5, dtype=t).permute(1, 2, 0), 5),
    "cut": (lambda t: numbers(3, 9, 7, dtype=t)[:, 2:7, ::2], 5),
    "expanded": (lambda t: numbers(1, 5, 1, dtype=t).expand(4, 5, 6), 5),
    "empty": (lambda t: numbers(0, 5, dtype=t), 5),
    "empty rows": (lambda t: numbers(3, 5, 0, dtype=t), 5),
    "one segment and one": (lambda t: numbers(1, 2, 16 * 1024 + 1, dtype=t), 2),
    "one long row": (lambda t: numbers(100_001, dtype=t), 1),
}

every_input = pytest.mark.parametrize("name", INPUTS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def operands(name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    make, channels = INPUTS[name]
    input = make(dtype).detach().requires_grad_()
    weight = torch.linspace(-0.6, 0.9, channels, dtype=torch.float64).to(dtype).requires_grad_()
    grad_output = torch.empty_like(input)
    grad_output.copy_(numbers(*input.shape, dtype=dtype, seed=1).clamp(-3, 3))
    return input, weight, grad_output


@every_input
@every_dtype
def test_values_equal_torchs(name: str, dtype: torch.dtype) -> None:
    input, weight, _ = operands(name, dtype)
    result, expected = F.prelu(input, weight), torch.nn.functional.prelu(input, weight)
    assert_same_bits(result, expected)
    assert result.stride() == expected.stride()


@every_input
@every_dtype
def test_gradients_equal_torchs(name: str, dtype: torch.dtype) -> None:
    """The input's bit for bit; the weight's within one rounding of float64's."""
    input, weight, grad_output = operands(name, dtype)
    grads = torch.autograd.grad(F.prelu(input, weight), (input, weight), grad_output)
    torchs = torch.autograd.grad(
        torch.nn.functional.prelu(input, weight), (input, weight), grad_output
    )
    assert_same_bits(grads[0], torchs[0])
    assert grads[0].stride() == torchs[0].stride()
    assert (grads[1].shape, grads[1].dtype) == (weight.shape, weight.dtype)

    shares = torch.where(input > 0, 0.0, input.double() * grad_output.double()).detach()
    across = [d for d in range(input.dim()) if d != 1 or weight.numel() == 1]
    exact = shares.sum(across) if across else shares
    magnitude = shares.abs().sum(across) if across else shares.abs()
    # Products are rounded to the type that computes, sums are kept in double, and the total is
    # rounded to the weight's type.
    computes = torch.float64 if dtype == torch.float64 else torch.float32
    allowed = torch.finfo(computes).eps * magnitude + torch.finfo(dtype).eps * exact.abs()
    allowed = allowed + torch.finfo(dtype).smallest_normal
    assert ((grads[1].double() - exact.reshape(weight.shape)).abs() <= allowed).all()


@every_dtype
def test_sums_of_millions_keep_their_digits(dtype: torch.dtype) -> None:
    """Accumulated in more than the dtype: a million equal shares sum to the exact total."""
    input = torch.full((2**20, 2), -1.0, dtype=dtype)
    weight = torch.full((2,), 0.5, dtype=dtype, requires_grad=True)
    F.prelu(input, weight).backward(torch.full_like(input, 2**-10))
    assert weight.grad is not None
    assert (weight.grad == -(2**10)).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_every_sixteen_bit_pattern(dtype: torch.dtype) -> None:
    input = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
    weight = torch.tensor([0.3], dtype=dtype)
    result = F.prelu(input, weight)
    assert_same_bits(result, F.prelu(input.float(), weight.float()).to(dtype))
    assert_same_bits(result, torch.nn.functional.prelu(input, weight))


@pytest.mark.parametrize("name", ["(C,)", "(N, C)", "(N, C, H, W)", "channels_last", "expanded"])
def test_special_values_are_those_of_torch(name: str) -> None:
    """NaN, ±∞ and ±0 in the input, the weight and the gradient."""
    specials = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.0, -1.0])
    make, channels = INPUTS[name]
    base = make(torch.float32)
    input = torch.empty_like(base).copy_(
        specials.repeat(base.numel())[: base.numel()].view(base.shape)
    )
    for value in specials.tolist():
        weight = torch.full((channels,), value, requires_grad=True)
        leaf = input.detach().requires_grad_()
        for grad_value in specials.tolist():
            grad_output = torch.full_like(leaf, grad_value)
            results = []
            for function in (F.prelu, torch.nn.functional.prelu):
                result = function(leaf, weight)
                grads = torch.autograd.grad(result, (leaf, weight), grad_output)
                results.append((result.detach(), *grads))
            for ours, torchs in zip(*results, strict=True):
                torch.testing.assert_close(ours, torchs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["0-d", "(C,)", "(N, C)", "(N, C, L)", "permuted", "expanded"])
def test_derivatives(name: str) -> None:
    input, weight, _ = operands(name, torch.float64)
    spread = torch.where(input.detach().abs() < 0.1, 0.5, input.detach()).requires_grad_()
    if name == "expanded":
        spread = spread.detach().clone().requires_grad_()
    small = tuple(slice(0, 4) for _ in spread.shape)
    cut = spread.detach()[small].clone().requires_grad_()
    channels = cut.shape[1] if weight.numel() > 1 else 1
    w = weight.detach()[:channels].clone().requires_grad_()
    assert gradcheck(
        F.prelu,
        (cut, w),
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
    )
    assert gradgradcheck(F.prelu, (cut, w), check_fwd_over_rev=True, check_batched_grad=True)


@pytest.mark.parametrize("which", [(True, False), (False, True), (True, True)])
def test_either_operand_may_need_no_gradient(which: tuple[bool, bool]) -> None:
    input, weight, grad_output = operands("(N, C)", torch.float32)
    full = torch.autograd.grad(F.prelu(input, weight), (input, weight), grad_output)
    input, weight = (
        t.detach().requires_grad_(n) for t, n in zip((input, weight), which, strict=True)
    )
    F.prelu(input, weight).backward(grad_output)
    for tensor, expected, needed in zip((input, weight), full, which, strict=True):
        if needed:
            assert tensor.grad is not None
            assert_same_bits(tensor.grad, expected)
        else:
            assert tensor.grad is None


def test_backward_leaves_shared_gradients_alone() -> None:
    input, weight, grad_output = operands("(N, C)", torch.float32)
    before = grad_output.clone()
    result = F.prelu(input, weight)
    first = torch.autograd.grad(result, (input, weight), grad_output, retain_graph=True)
    second = torch.autograd.grad(result, (input, weight), grad_output)
    assert_same_bits(grad_output, before)
    leaf = torch.zeros_like(input, requires_grad=True)
    (F.prelu(input, weight) * 1 + leaf).backward(grad_output)
    assert leaf.grad is not None
    assert_same_bits(leaf.grad, before)
    for a, b in zip(first, second, strict=True):
        assert_same_bits(a, b)
    chained = [F.prelu(F.prelu(x, weight), weight) * 2 for x in (input, input)]
    grads = [torch.autograd.grad(c, (input, weight), grad_output) for c in chained]
    inner = torch.nn.functional.prelu(torch.nn.functional.prelu(input, weight), weight) * 2
    expected = torch.autograd.grad(inner, (input, weight), grad_output)
    torch.testing.assert_close(grads[0], expected)
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=0)


@pytest.mark.parametrize(
    "name",
    [
        "(N, C), tall",
        "(N, C, H, W), large rows",
        "one long row",
        "channels_last, large",
        "(N, C), many",
    ],
)
def test_the_same_on_any_number_of_threads(name: str) -> None:
    """Bit for bit, also when repeated: the order of summation depends on the shape alone."""
    input, weight, grad_output = operands(name, torch.float32)
    results = []
    for threads in (1, 2, 3, 2):
        torch.set_num_threads(threads)
        result = F.prelu(input, weight)
        grads = torch.autograd.grad(result, (input, weight), grad_output)
        results.append((result.detach(), *grads))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_same_bits(a, b)


def test_vmap(no_vmap_fallback: None) -> None:
    x, w = numbers(3, 4, 5, dtype=torch.float64), torch.rand(3, 5, dtype=torch.float64)
    reference = torch.nn.functional.prelu
    for in_dims, arguments in (
        ((0, None), (x, w[0])),
        ((None, 0), (x[0], w)),
        ((0, 0), (x, w)),
        ((1, None), (x.transpose(0, 1), w[0])),
    ):
        ours = torch.func.vmap(F.prelu, in_dims)(*arguments)
        torch.testing.assert_close(ours, torch.func.vmap(reference, in_dims)(*arguments))

    def gradients(f: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
        grads: tuple[Tensor, Tensor] = torch.func.vmap(
            torch.func.grad(lambda a, b: f(a, b).sin().sum(), argnums=(0, 1)), (0, None)
        )(x, w[0])
        return grads

    torch.testing.assert_close(gradients(F.prelu), gradients(reference))


@pytest.mark.compiler
def test_compile_and_opcheck() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(F.prelu, fullgraph=True, backend="aot_eager", dynamic=True)
    for name in ("(N, C)", "channels_last", "(C,)"):
        input, weight, grad_output = operands(name, torch.float32)
        ours, eager = compiled(input, weight), F.prelu(input, weight)
        assert_same_bits(ours, eager)
        for a, b in zip(
            torch.autograd.grad(ours, (input, weight), grad_output),
            torch.autograd.grad(eager, (input, weight), grad_output),
            strict=True,
        ):
            assert_same_bits(a, b)
        torch.library.opcheck(torch.ops.activations_ext.prelu.default, (input, weight))
        torch.library.opcheck(
            torch.ops.activations_ext.prelu_backward.default, (grad_output, input, weight)
        )


def test_module_is_torchs() -> None:
    """Its parameter, initial value, state_dict, extra_repr and type."""
    ours, torchs = nn.PReLU(4, init=0.3), torch.nn.PReLU(4, init=0.3)
    assert isinstance(ours, torch.nn.PReLU)
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    ours.load_state_dict(torchs.state_dict())
    assert repr(ours) == repr(torchs)
    x = numbers(3, 4)
    assert_same_bits(ours(x), torchs(x))


def values_and_gradients() -> Iterator[Tensor]:
    for shape in ((33, 5), (2, 3, 70, 90), (9000, 3)):
        x = sample(torch.Size(shape).numel()).view(shape).requires_grad_()
        w = torch.linspace(-0.6, 0.9, shape[1]).requires_grad_()
        y = F.prelu(x, w)
        yield from (y.detach(), *torch.autograd.grad(y, (x, w), x.detach().cos()))


def test_instruction_sets_agree() -> None:
    """The values bit for bit, the weight's sums to five digits."""
    results = results_by_capability(values_and_gradients)
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            if ours.dim() == 1:
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
            else:
                assert_same_bits(ours, theirs)

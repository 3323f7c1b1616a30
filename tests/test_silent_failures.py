"""What other implementations got wrong silently, by the number of the report.

The numbers are those of the PyTorch tracker unless another project is named."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from activations_ext import functional as F
from helpers import CASES, DEFAULT_CASES, DTYPES, Case, assert_same_bits, case_of, gradient, sample

pytestmark = pytest.mark.each_capability

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@every_dtype
@pytest.mark.parametrize("alpha", [-0.5, -2.0])
def test_47671_elu_with_a_negative_alpha_in_place(alpha: float, dtype: torch.dtype) -> None:
    """The result does not tell the side of the input: the gradient was wrong from it."""
    x = torch.tensor([-3.0, -1.0, -0.25, 0.25, 2.0], dtype=dtype)
    for name in ("elu", "celu"):
        case = case_of(name, alpha)
        expected = gradient(case.reference, x.double(), torch.ones(5, dtype=torch.float64))
        for inplace in (False, True):
            grad = gradient(lambda t: case(t * 1, inplace=inplace), x, torch.ones_like(x))  # noqa: B023
            eps = torch.finfo(dtype).eps
            torch.testing.assert_close(grad.double(), expected, rtol=4 * eps, atol=eps)


@every_dtype
def test_148065_celu_with_an_infinite_alpha(dtype: torch.dtype) -> None:
    """Whatever torch's eager result is; no crash, and the positive side stays itself."""
    x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], dtype=dtype)
    result = F.celu(x, math.inf)
    torchs = torch.nn.functional.celu(x, math.inf)
    assert_same_bits(result[3:], x[3:])
    torch.testing.assert_close(result, torchs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("name", ["elu", "celu", "selu", "relu", "leaky_relu", "gelu", "silu"])
def test_185480_subnormal_numbers_are_not_flushed(name: str, dtype: torch.dtype) -> None:
    limits = torch.finfo(dtype)
    smallest = limits.smallest_normal * limits.eps
    x = torch.tensor([k * smallest for k in (1, 3, 10, 100)], dtype=dtype)
    x = torch.cat([x, -x])
    case = case_of(name)
    expected = case.reference(x.double()).to(dtype)
    assert (expected != 0).any()
    difference = (case(x).double() - expected.double()).abs() / smallest
    # In float32 the result may be off by 2 ULP, which is the subnormal itself.
    assert difference.max() <= (2 if dtype == torch.float32 else 1)


@every_dtype
@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu", "mish", "tanh", "softsign"])
def test_189804_minus_zero_stays_minus_zero(name: str, dtype: torch.dtype) -> None:
    for count in (1, 64):
        result = case_of(name)(torch.full((count,), -0.0, dtype=dtype))
        assert (result == 0).all()
        assert result.signbit().all()


@every_dtype
def test_186278_gelu_is_no_nan_beyond_ten(dtype: torch.dtype) -> None:
    """Values, gradients and curvatures stay finite, however large the input."""
    largest = torch.finfo(dtype).max
    x = torch.tensor([10.0, 11.0, 20.0, 100.0, 1e3, 6e4, largest], dtype=dtype)
    x = torch.cat([x, -x])
    for name in ("gelu", "gelu_tanh", "silu", "mish", "tanh", "sigmoid", "logsigmoid", "softplus"):
        case = case_of(name)
        ones = torch.ones_like(x)
        assert case(x).isfinite().all(), name
        assert gradient(case, x, ones).isfinite().all(), name
        saved = case(x) if case.saves_result else x
        assert not case.operator("_curvature")(ones, saved, *case.parameters).isnan().any(), name


@every_dtype
@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
def test_infinity_is_no_nan(case: Case, dtype: torch.dtype) -> None:
    """At +∞ none is NaN but where torch's is (softsign's ∞/∞, tanhshrink is ∞)."""
    for count in (1, 64):
        result = case(torch.full((count,), math.inf, dtype=dtype))
        expected = case.reference(torch.full((1,), math.inf, dtype=torch.float64)).to(dtype)
        torch.testing.assert_close(result, expected.expand(count), equal_nan=True)


@every_dtype
@pytest.mark.parametrize("case", CASES, ids=str)
def test_nan_stays_nan(case: Case, dtype: torch.dtype) -> None:
    """relu(NaN) was 0 in two other projects; and in place, and wherever in a vector it stands."""
    for count in (1, 3, 16, 67):
        x = torch.full((count,), 0.5, dtype=dtype)
        x[count // 2] = math.nan
        for result in (case(x), case(x.view(1, -1).t())[:, 0]):
            assert result[count // 2].isnan()
            assert not result[: count // 2].isnan().any()
            assert not result[count // 2 + 1 :].isnan().any()
        if case.activation.inplace:
            assert case(x, inplace=True)[count // 2].isnan()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_liger_968_each_row_has_its_own_grad_output(case: Case) -> None:
    x = sample(60).view(6, 10)
    rows = torch.arange(1.0, 7.0).view(6, 1)
    whole = gradient(case, x, rows.expand(6, 10))
    for i in range(6):
        assert_same_bits(whole[i], gradient(case, x[i], rows[i].expand(10)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_liger_272_two_losses_on_one_tensor(case: Case) -> None:
    """The first backward must not corrupt what the second one reads."""
    results = []
    for function in (case, lambda t: case(t.clone())):
        x = sample(50).requires_grad_()
        y = function(x)
        (y * y).sum().backward(retain_graph=True)
        first = x.grad
        x.grad = None
        (y.softmax(0) * torch.arange(50.0)).sum().backward()
        results.append((first, x.grad, y.detach()))
    for a, b in zip(*results, strict=True):
        assert a is not None
        assert b is not None
        assert_same_bits(a, b)


def test_10723_prelu_whose_input_needs_no_gradient() -> None:
    x, weight = sample(20).view(5, 4), torch.full((4,), 0.25, requires_grad=True)
    F.prelu(x, weight).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.where(x > 0, 0.0, x).sum(0))


def test_70489_rrelu_of_nothing() -> None:
    assert F.rrelu(torch.empty(0, 3), training=True).shape == (0, 3)


@pytest.mark.parametrize(("lower", "upper"), [(0.1, math.inf), (-math.inf, 0.1), (0.1, math.nan)])
def test_153281_rrelu_with_an_infinite_bound(lower: float, upper: float) -> None:
    """Refused, as torch does; a NaN bound too."""
    with pytest.raises(RuntimeError, match=r"'(lower|upper)'"):
        F.rrelu(torch.ones(3), lower, upper, training=True)


@pytest.mark.compiler
def test_181692_rrelu_in_evaluation_when_compiled() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: F.rrelu(x, 0.1, 0.3), fullgraph=True)
    x = sample(100)
    torch.testing.assert_close(compiled(x), torch.nn.functional.rrelu(x, 0.1, 0.3))


def large_index(tensor: Tensor) -> Tensor:
    """The tensor's numbers as a view whose last element lies 2 GiB from its first, over pages of
    which only the touched ones exist."""
    count = tensor.numel()
    stride = (2**31 + 4096) // max(1, count - 1) + 1
    memory = torch.empty(stride * (count - 1) + 1, dtype=tensor.dtype)
    return memory[::stride].copy_(tensor)


def test_85786_offsets_past_two_gib() -> None:
    """Index arithmetic in 64 bits, element numbers past 2³¹ with a huge stride."""
    x = sample(9, torch.bfloat16)
    wide = large_index(x)
    assert wide.stride(0) * 8 > 2**31
    for case in (case_of("relu"), case_of("gelu"), case_of("elu")):
        assert_same_bits(case(wide), case(x))
        ones = torch.ones_like(x)
        assert_same_bits(gradient(case, wide, ones), gradient(case, x, ones))
    F.relu(wide, inplace=True)
    assert_same_bits(wide.clone(), F.relu(x))

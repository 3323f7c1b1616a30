"""Random shapes, strides, dtypes, values and parameters: equal to torch, and finite."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from helpers import CASES, DTYPES, Case, assert_same_bits, gradient, rounding_unit, ulp_errors
from test_layouts import TORCHS_OWN_WAY, effective_strides

pytestmark = pytest.mark.slow

settings.register_profile("suite", deadline=None, derandomize=True, print_blob=False)
settings.load_profile("suite")

dtypes = st.sampled_from(DTYPES)
cases = st.sampled_from(CASES)
seeds = st.integers(0, 2**31)


@st.composite
def layouts(draw: st.DrawFn, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of up to four dimensions: permuted, cut, stepped over, expanded, at any offset."""
    kind = draw(dtypes) if dtype is None else dtype
    shape = draw(st.lists(st.integers(0, 9), max_size=4))
    random = torch.Generator().manual_seed(draw(seeds))
    offset = draw(st.integers(0, 9))
    steps = [draw(st.integers(1, 3)) for _ in shape]
    starts = [draw(st.integers(0, 2)) for _ in shape]
    room = [start + size * step for start, size, step in zip(starts, shape, steps, strict=True)]
    scale = draw(st.sampled_from([1e-3, 1.0, 30.0]))
    count = torch.Size(room).numel()
    memory = torch.randn(offset + count, generator=random, dtype=torch.float64) * scale
    tensor = memory.to(kind)[offset:].view(room)
    for dimension, (start, size, step) in enumerate(zip(starts, shape, steps, strict=True)):
        part = [slice(None)] * len(shape)
        part[dimension] = slice(start, start + size * step, step)
        tensor = tensor[tuple(part)]
    tensor = tensor.permute(draw(st.permutations(range(len(shape)))))
    if tensor.dim() and draw(st.booleans()):
        dimension = draw(st.integers(0, tensor.dim() - 1))
        if tensor.shape[dimension]:
            tensor = tensor.narrow(dimension, 0, 1).expand(tensor.shape)
    return tensor


@settings(max_examples=400)
@given(cases, layouts())
def test_values_and_strides(case: Case, input: Tensor) -> None:
    result, torchs = case(input), case.reference(input)
    assert (result.shape, result.dtype) == (torchs.shape, torchs.dtype)
    if case.name not in TORCHS_OWN_WAY:
        assert effective_strides(result) == effective_strides(torchs)
    exact = case.reference(input.double())
    # test_values.py tests the accuracy; here a wrong element would be far off.
    magnified = 1 + input.double().abs()
    allowed = 32 * rounding_unit(exact, input.dtype) * magnified + 1e-15 * magnified
    finite = exact.to(input.dtype).isfinite()
    assert ((result.double() - exact).abs() <= allowed)[finite].all()
    assert_same_bits(result, case(input.clone(memory_format=torch.contiguous_format)))


@settings(max_examples=300)
@given(st.data(), cases)
def test_gradients_and_strides(data: st.DataObject, case: Case) -> None:
    """With a grad_output of another layout."""
    input = data.draw(layouts())
    order = data.draw(st.permutations(range(input.dim())))
    grad_output = torch.randn(input.shape, dtype=torch.float64).to(input.dtype)
    inverse = [order.index(dimension) for dimension in range(input.dim())]
    grad_output = grad_output.permute(order).contiguous().permute(inverse)
    result = gradient(case, input, grad_output)
    assert_same_bits(result, gradient(case, input.contiguous(), grad_output.contiguous()))
    torchs = gradient(torch.nn.functional.silu, input, grad_output)
    assert effective_strides(result) == effective_strides(torchs)


@settings(max_examples=200)
@given(cases, layouts(torch.float32))
def test_in_place_equals_out_of_place(case: Case, input: Tensor) -> None:
    if not case.activation.inplace:
        return
    expected, copy = case(input), input.clone()
    assert case(copy, inplace=True) is copy
    assert_same_bits(copy, expected)


moderate = st.floats(0.25, 8, width=32)


@settings(max_examples=300)
@given(st.data(), cases, seeds)
def test_any_parameters(data: st.DataObject, case: Case, seed: int) -> None:
    """Parameters at random, negative where torch allows it: values equal torch's in float64."""
    names = list(case.activation.defaults)
    if not names:
        return
    drawn = [data.draw(moderate) for _ in names]
    if case.name in ("leaky_relu", "elu", "celu", "threshold") and data.draw(st.booleans()):
        drawn[0] = -drawn[0]
    if case.name == "hardtanh":
        drawn = [-drawn[0], drawn[1]]
    other = Case(case.activation, tuple(drawn))
    random = torch.Generator().manual_seed(seed)
    input = (torch.randn(50, generator=random) * 3).requires_grad_()
    exact_input = input.detach().double().requires_grad_()
    result, exact = other(input), other.reference(exact_input)
    # The parameters are rounded to float32, which moves a kink by half an ULP of it.
    near_kink = torch.zeros(50, dtype=torch.bool)
    for kink in other.kinks:
        near_kink |= (exact_input.detach() - kink).abs() < 1e-6 * (1 + abs(kink))
    magnified = 1 + exact_input.detach().abs() * max(1, 1 / min(abs(p) for p in drawn))
    errors = ulp_errors(result, exact.detach(), 1e-12) / magnified
    assert torch.where(near_kink, 0.0, errors).max() <= 4
    (grad,) = torch.autograd.grad(result.sum(), input)
    (exact_grad,) = torch.autograd.grad(exact.sum(), exact_input)
    scale = max(1.0, *(abs(p) for p in drawn))
    off = (grad.double() - exact_grad).abs() / (magnified * exact_grad.abs().clamp_min(scale))
    assert torch.where(near_kink, 0.0, off).max() <= 8 * torch.finfo(torch.float32).eps


@settings(max_examples=300)
@given(cases, dtypes, st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_finite_inputs_give_what_torch_gives(case: Case, dtype: torch.dtype, value: float) -> None:
    """Any finite number at all: a value and a gradient that are numbers where torch's are."""
    input = torch.tensor([value], dtype=torch.float64).to(dtype).expand(16).contiguous()
    if not input.isfinite().all():
        return
    ones = torch.ones_like(input)
    ours, exact = case(input), case.reference(input.double()).to(dtype)
    assert torch.equal(ours.isfinite(), exact.isfinite())
    assert not ours.isnan().any() or exact.isnan().all()
    if ours.isfinite().all():
        grad = gradient(case, input, ones)
        exact_grad = gradient(case.reference, input.double(), ones.double()).to(dtype)
        assert torch.equal(grad.isfinite(), exact_grad.isfinite())

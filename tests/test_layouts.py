"""Shapes, strides and memory: any layout gives the numbers of the contiguous one, laid out as
torch lays them out, and nothing outside of the result is written or read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from helpers import (
    CASES,
    DEFAULT_CASES,
    DTYPES,
    INPLACE_CASES,
    Case,
    assert_same_bits,
    case_of,
    gradient,
    run_python,
    sample,
)

pytestmark = pytest.mark.each_capability


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return sample(max(1, torch.Size(shape).numel()), dtype, seed)[: torch.Size(shape).numel()].view(
        shape
    )


# A shape and what makes a layout of a contiguous tensor of some larger or other shape.
LAYOUTS: dict[str, Callable[[torch.dtype], Tensor]] = {
    "0-d": lambda t: numbers(dtype=t),
    "empty": lambda t: numbers(0, dtype=t),
    "empty in the middle": lambda t: numbers(3, 0, 2, dtype=t).transpose(0, 2),
    "contiguous": lambda t: numbers(2, 3, 4, 5, dtype=t),
    "channels_last": lambda t: numbers(2, 3, 4, 5, dtype=t).to(memory_format=torch.channels_last),
    "channels_last, one channel": lambda t: numbers(2, 1, 4, 5, dtype=t).to(
        memory_format=torch.channels_last
    ),
    "channels_last, sliced": lambda t: numbers(2, 6, 4, 5, dtype=t).to(
        memory_format=torch.channels_last
    )[:, 1:4],
    "channels_last_3d": lambda t: numbers(2, 3, 4, 5, 2, dtype=t).to(
        memory_format=torch.channels_last_3d
    ),
    "transposed": lambda t: numbers(37, 19, dtype=t).t(),
    "permuted": lambda t: numbers(5, 6, 7, dtype=t).permute(2, 0, 1),
    "every second": lambda t: numbers(2003, dtype=t)[::2],
    "rows cut": lambda t: numbers(9, 70, dtype=t)[:, 3:67],
    "columns, transposed": lambda t: numbers(9, 70, dtype=t)[:, ::3].t(),
    "a column": lambda t: numbers(33, 5, dtype=t)[:, 2],
    "one row of many": lambda t: numbers(1, 33, dtype=t)[:, :17],
    "expanded": lambda t: numbers(1, 7, dtype=t).expand(5, 7),
    "expanded inside": lambda t: numbers(5, 1, 3, dtype=t).expand(5, 4, 3),
    "expanded 0-d": lambda t: numbers(dtype=t).expand(3, 4),
    "windows": lambda t: numbers(20, dtype=t).unfold(0, 5, 2),
    "offset": lambda t: numbers(40, dtype=t)[3:],
    "long strided": lambda t: numbers(3, 2 * 1300, dtype=t)[:, ::2],
}

layouts = pytest.mark.parametrize("layout", LAYOUTS)

# torch's own kernels that lay out their result otherwise than its pointwise operators do.
TORCHS_OWN_WAY = {
    "logsigmoid": "contiguous, as its buffer is",
}


def effective_strides(tensor: Tensor) -> list[int]:
    """Without those that no element's address depends on, of which torch makes no rule."""
    if tensor.numel() == 0:
        return []
    return [t for t, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


@layouts
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_layout_gives_the_contiguous_numbers_and_torchs_strides(
    layout: str, dtype: torch.dtype
) -> None:
    input = LAYOUTS[layout](dtype)
    before = input.clone()
    for case in DEFAULT_CASES:
        result = case(input)
        model = torch.neg if case.name in TORCHS_OWN_WAY else case.reference
        assert effective_strides(result) == effective_strides(model(input)), str(case)
        assert_same_bits(result, case(input.contiguous()), f"{case}: ")
        assert_same_bits(input, before)


def relaid(tensor: Tensor, layout: str) -> Tensor:
    """A tensor of the same shape with numbers of its own, in another layout."""
    values = numbers(*tensor.shape, dtype=tensor.dtype, seed=1)
    if layout == "contiguous":
        return values
    if layout == "expanded":
        return numbers(1, dtype=tensor.dtype, seed=1)[0].expand(tensor.shape)
    if layout == "strided":
        return torch.stack([values, values], dim=-1)[..., 0]
    if layout == "reversed":
        order = tuple(reversed(range(values.dim())))
        return values.permute(order).contiguous().permute(order)
    assert layout == "as the input"
    return torch.empty_like(tensor).copy_(values)


@layouts
@pytest.mark.parametrize(
    "grad_layout", ["contiguous", "as the input", "expanded", "strided", "reversed"]
)
@pytest.mark.parametrize("name", ["relu", "elu", "silu", "softplus"])
def test_gradients_of_any_layout(name: str, layout: str, grad_layout: str) -> None:
    """Of a piecewise one, one that saves the result, and two that save the input."""
    case = case_of(name)
    input = LAYOUTS[layout](torch.float32)
    grad_output = relaid(input, grad_layout)
    result = gradient(case, input, grad_output)
    # torch's pointwise rule: as grad_output, unless that is expanded (some of torch's kernels have
    # the input come first).
    expected = gradient(torch.nn.functional.silu, input, grad_output)
    assert effective_strides(result) == effective_strides(expected)
    plain = gradient(case, input.contiguous(), grad_output.contiguous())
    assert_same_bits(result, plain)


@layouts
@pytest.mark.parametrize("suffix", ["_backward", "_curvature"])
def test_every_pass_walks_every_layout(layout: str, suffix: str) -> None:
    saved = LAYOUTS[layout](torch.float32)
    for case in DEFAULT_CASES:
        for grad_layout in ("contiguous", "strided", "reversed"):
            grad_output = relaid(saved, grad_layout)
            operator = case.operator(suffix)
            assert_same_bits(
                operator(grad_output, saved, *case.parameters),
                operator(grad_output.contiguous(), saved.contiguous(), *case.parameters),
                f"{case}, {grad_layout}: ",
            )


@layouts
def test_in_place_on_any_layout(layout: str) -> None:
    """Strides and address stay; where elements share memory, torch refuses and so do we."""
    for case in INPLACE_CASES:
        if not case.is_default:
            continue
        input = LAYOUTS[layout](torch.float32)
        expected, stride, address = case(input), input.stride(), input.data_ptr()
        try:
            torch.relu_(LAYOUTS[layout](torch.float32))
        except RuntimeError:
            with pytest.raises(RuntimeError):
                case(input, inplace=True)
            continue
        case(input, inplace=True)
        assert (input.stride(), input.data_ptr()) == (stride, address)
        assert_same_bits(input, expected)


SIZES = (*range(1, 131), 1023, 1024, 1025, 8 * 1024 - 1, 8 * 1024 + 1, 32 * 1024 + 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_size_gives_the_same_numbers(case: Case, dtype: torch.dtype) -> None:
    """An element's result does not depend on its place: whole vector, end, block or thread."""
    all_numbers = sample(SIZES[-1] + 8, dtype)
    expected = case(all_numbers)
    grad_output = sample(SIZES[-1] + 8, dtype, seed=1)
    backward = case.operator("_backward")
    expected_gradient = backward(grad_output, all_numbers, *case.parameters)
    for size in SIZES:
        start = size % 8  # unaligned starts too
        part = slice(start, start + size)
        assert_same_bits(case(all_numbers[part]), expected[part], f"size {size}: ")
        assert_same_bits(
            backward(grad_output[part], all_numbers[part], *case.parameters),
            expected_gradient[part],
            f"gradient, size {size}: ",
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["relu", "elu", "gelu"])
def test_large_sizes_on_one_and_two_threads(name: str, dtype: torch.dtype) -> None:
    case = case_of(name)
    input = sample(2**20 + 3, dtype)
    torch.set_num_threads(2)
    result, slope = case(input), gradient(case, input, torch.ones_like(input))
    torch.set_num_threads(1)
    assert_same_bits(result, case(input))
    assert_same_bits(slope, gradient(case, input, torch.ones_like(input)))
    pieces = torch.cat([case(piece) for piece in input.split(1000)])
    assert_same_bits(result, pieces)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_results_past_the_cache(dtype: torch.dtype) -> None:
    """From 32 MiB on results are streamed to memory: same numbers, at the end too."""
    count = 2**25 // torch.finfo(dtype).bits * 8 + 5
    input = sample(2**14, dtype).repeat(count // 2**14 + 1)[:count]
    expected = case_of("elu")(input[: 2**14])
    result = case_of("elu")(input)
    assert torch.equal(result[-5:], expected[:5])
    assert torch.equal(result[:-5].view(-1, 2**14), expected.expand(count // 2**14, -1))
    backward = torch.ops.activations_ext.elu_backward
    slopes = backward(torch.ones_like(result), input, 1.0)
    expected = backward(torch.ones(2**14, dtype=dtype), input[: 2**14], 1.0)
    assert torch.equal(slopes[:-5].view(-1, 2**14)[-1], expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_in_place_writes_nothing_beside_the_tensor(dtype: torch.dtype) -> None:
    """Every start and end against a vector's width, between guards that must survive."""
    guard = 64
    for case in INPLACE_CASES:
        for size in (1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 65, 100):
            for start in (guard, guard + 1, guard + 3, guard + 7):
                memory = torch.full((size + 2 * guard + 8,), 123.0, dtype=dtype)
                middle = memory[start : start + size].copy_(sample(size, dtype))
                expected = case(middle)
                case(middle, inplace=True)
                assert_same_bits(middle, expected)
                memory[start : start + size] = 123.0
                assert (memory == 123.0).all(), (str(case), size, start)


GUARD_PAGES = """
import ctypes, mmap, sys, torch
from helpers import DEFAULT_CASES, DTYPES
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.PAGESIZE
memory = mmap.mmap(-1, 4 * page)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
for guard in (address, address + 3 * page):  # two pages in the middle may be read
    assert libc.mprotect(ctypes.c_void_p(guard), page, 0) == 0
room = torch.frombuffer(memory, dtype=torch.uint8)[page : 3 * page]
for dtype in DTYPES:
    usable = room.view(dtype)
    usable.fill_(0.7)
    for size in [*range(1, 36), 63, 64, 65]:
        for x in (usable[:size], usable[-size:], usable[-size:].view(1, size).t()):
            for case in DEFAULT_CASES:
                case(x)
                case.operator("_backward")(x, x, *case.parameters)
            torch.ops.activations_ext.prelu(x, torch.full((1,), 0.5, dtype=dtype))
print("fine")
"""


@pytest.mark.slow
def test_nothing_outside_of_the_input_is_read() -> None:
    """The input lies against pages that may not be touched."""
    assert run_python(GUARD_PAGES).strip() == "fine"


@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
def test_every_element_of_the_result_is_written(case: Case) -> None:
    """New memory is made to hold NaN: whatever is not written shows."""
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        for size in (1, 15, 100, 5000):
            input = torch.linspace(-3, 3, size)
            poison = torch.full((size,), float("nan"))
            del poison  # the allocator gives this memory to the next tensor of the size
            result = case(input)
            assert not result.isnan().any()
            poison = torch.full((size,), float("nan"))
            del poison
            grad = gradient(case, input.view(-1, 1).expand(-1, 3)[:, 1], torch.ones(size))
            assert not grad.isnan().any()
    finally:
        torch.use_deterministic_algorithms(False)

"""rrelu in training and shift_dropout: their numbers come from a seed that torch draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.utils.checkpoint import checkpoint

from activations_ext import functional as F
from activations_ext._call import draw_seed
from helpers import DTYPES, results_by_capability, rng_state, sample, set_rng_state

pytestmark = pytest.mark.each_capability

LOWER, UPPER = 1 / 8, 1 / 3
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def rrelu(x: Tensor) -> Tensor:
    return F.rrelu(x, LOWER, UPPER, training=True)


def dropout(x: Tensor) -> Tensor:
    return F.shift_dropout(x, 0.3, -1.25)


both = pytest.mark.parametrize("function", [rrelu, dropout])


def seeded(function: Callable[[Tensor], Tensor], x: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return function(x)


def philox(counter: int, seed: int) -> list[int]:
    """Four random words of Philox 4x32-7, by its definition."""
    lower, upper = 0xFFFFFFFF, 32
    words = [counter & lower, counter >> upper, 0, 0]
    keys = [seed & lower, seed >> upper]
    for _ in range(7):
        first, second = words[0] * 0xD2511F53, words[2] * 0xCD9E8D57
        words = [
            (second >> upper) ^ words[1] ^ keys[0],
            second & lower,
            (first >> upper) ^ words[3] ^ keys[1],
            first & lower,
        ]
        keys = [(keys[0] + 0x9E3779B9) & lower, (keys[1] + 0xBB67AE85) & lower]
    return words


def test_the_reference_has_the_published_words() -> None:
    assert philox(0, 0) == [0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48]


@pytest.mark.parametrize("seed", [0, 0x123456789ABCDEF0, 2**63 - 1])
def test_the_numbers_are_those_of_philox(seed: int) -> None:
    """Word w of counter 256·chunk + j makes number 1024·chunk + 256·w + j: csrc/math/philox.h."""
    ops = torch.ops.activations_ext
    drawn = -ops.rrelu_with_seed(-torch.ones(3000), torch.tensor(seed), 0.0, 1.0)
    for number in (*range(0, 3000, 97), 1023, 1024, 2999):
        chunk, (word, place) = number // 1024, divmod(number % 1024, 256)
        expected = (philox(256 * chunk + place, seed)[word] >> 8) / 2**24
        assert drawn[number].item() == expected


@both
@every_dtype
def test_the_generator_governs(function: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    x = torch.full((5000,), -1.0, dtype=dtype)
    first = seeded(function, x, 1)
    assert not torch.equal(first, function(x))
    assert torch.equal(first, seeded(function, x, 1))
    assert not torch.equal(first, seeded(function, x, 2))
    state = rng_state()
    again = function(x)
    set_rng_state(state)
    assert torch.equal(again, function(x))


def test_seeds_are_those_of_randint() -> None:
    """The shortcut of eager calls draws what a compiled graph draws."""
    x = torch.ones(3)
    for seed in range(20):
        torch.manual_seed(seed)
        drawn = [draw_seed(x).item() for _ in range(3)]
        torch.manual_seed(seed)
        bounds = -(2**63), 2**63 - 1
        assert drawn == [torch.randint(*bounds, (), device=x.device).item() for _ in range(3)]


@both
def test_the_same_on_any_number_of_threads(function: Callable[[Tensor], Tensor]) -> None:
    x = sample(200_003)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(seeded(function, x))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@both
def test_numbers_belong_to_indices(function: Callable[[Tensor], Tensor]) -> None:
    """Whatever the strides or the size: element i of the tensor gets number i."""
    x = torch.full((60, 70), -1.0)
    expected = seeded(function, x)
    stepped = torch.full((60, 140), -1.0)[:, ::2]
    for other in (x.t().contiguous().t(), stepped, x[:1].expand(60, 70)):
        assert torch.equal(seeded(function, other), expected)
    flat = torch.full((4200,), -1.0)
    assert torch.equal(seeded(function, flat).view(60, 70), expected)
    assert torch.equal(seeded(function, flat[:1025]), expected.flatten()[:1025])


@both
def test_layouts_are_torchs(function: Callable[[Tensor], Tensor]) -> None:
    for x in (
        sample(120).view(2, 3, 4, 5).to(memory_format=torch.channels_last),
        sample(12).view(3, 4).t(),
        sample(40).view(4, 10)[:, ::2],
        sample(4).view(4, 1).expand(4, 3),
    ):
        assert function(x).stride() == torch.nn.functional.silu(x).stride()


@both
@every_dtype
def test_empty_and_0d(function: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    """An empty input is no error (torch's rrelu once refused it)."""
    for shape in ((0,), (3, 0, 2), ()):
        x = torch.full(shape, -1.0, dtype=dtype, requires_grad=True)
        result = function(x)
        assert (result.shape, result.dtype) == (x.shape, dtype)
        result.sum().backward()
        assert x.grad is not None
        assert x.grad.shape == x.shape


@both
def test_blocks_do_not_repeat_numbers(function: Callable[[Tensor], Tensor]) -> None:
    """No two blocks of 64, 1024 or 4096 elements, no two rows and no two halves get the same."""
    result = seeded(function, torch.full((2**17,), -1.0))
    for size in (64, 256, 1024, 4096, 2**16):
        blocks = result.view(-1, size)
        assert len(torch.unique(blocks, dim=0)) == len(blocks), size
    # Neighbouring blocks are no shifted copies: no correlation at any short lag.
    centred = result - result.mean()
    for lag in (1, 2, 4, 8, 16, 64, 256, 512, 1024, 2048):
        correlation = (centred[lag:] * centred[:-lag]).mean() / centred.square().mean()
        assert abs(correlation) < 5 / math.sqrt(len(result)), lag


@both
def test_seeds_that_differ_in_any_bit_give_other_numbers(
    function: Callable[[Tensor], Tensor],
) -> None:
    ones = torch.full((4096,), -1.0)
    ops = torch.ops.activations_ext

    def operator(seed: Tensor) -> Tensor:
        result: Tensor = (
            ops.rrelu_with_seed(ones, seed, LOWER, UPPER)
            if function is rrelu
            else ops.shift_dropout_with_seed(ones, seed, 0.3, 0.0)
        )
        return result

    results = [operator(torch.tensor(0))]
    for bit in range(63):
        results.append(operator(torch.tensor(1 << bit)))
    results.append(operator(torch.tensor(-(2**63))))
    assert len(torch.unique(torch.stack(results), dim=0)) == 65


@both
def test_backward_draws_nothing_and_repeats(function: Callable[[Tensor], Tensor]) -> None:
    x = torch.full((3000,), -1.0, requires_grad=True)
    result = function(x)
    state = rng_state()
    grads = [
        torch.autograd.grad(result, x, torch.ones(3000), retain_graph=True)[0] for _ in range(2)
    ]
    assert torch.equal(state, rng_state())
    assert torch.equal(grads[0], grads[1])
    result.detach().zero_()
    with torch.no_grad():
        before = rng_state()
        function(x.detach())
        assert not torch.equal(before, rng_state())


@both
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_preserves_the_numbers(
    function: Callable[[Tensor], Tensor], use_reentrant: bool
) -> None:
    x = torch.full((3000,), -1.0, requires_grad=True)
    torch.manual_seed(3)
    (expected,) = torch.autograd.grad(function(function(x)).sum(), x)
    torch.manual_seed(3)
    checkpoint(
        lambda y: function(function(y)), x, use_reentrant=use_reentrant, preserve_rng_state=True
    ).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, expected)


@both
def test_derivatives(function: Callable[[Tensor], Tensor]) -> None:
    """Backward and forward mode are those of the drawn, piecewise linear function."""
    x = torch.tensor([-2.0, -0.7, 0.4, 3.0, -1.1, 0.2], dtype=torch.float64, requires_grad=True)
    fixed = lambda y: seeded(function, y, 5)  # noqa: E731
    assert gradcheck(fixed, x, check_forward_ad=True)
    (grad,) = torch.autograd.grad(fixed(x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), x)
    slope = torch.autograd.grad(fixed(x).sum(), x)[0]
    torch.testing.assert_close(second, 2 * slope.square())


@both
def test_vmap_randomness(function: Callable[[Tensor], Tensor]) -> None:
    """ "different", "same" and "error" as vmap promises; without randomness it is refused."""
    x = torch.full((4, 2000), -1.0)
    vmap = torch.func.vmap
    different = vmap(function, randomness="different")(x)
    assert len(torch.unique(different, dim=0)) == 4
    same = vmap(function, randomness="same")(x)
    assert len(torch.unique(same, dim=0)) == 1
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(function)(x)
    grads = vmap(torch.func.grad(lambda y: function(y).sum()), randomness="different")(x)
    assert len(torch.unique(grads, dim=0)) == 4


@both
@pytest.mark.compiler
def test_compile(function: Callable[[Tensor], Tensor]) -> None:
    """One graph, random anew on each call, governed by manual_seed, forward matching backward."""
    torch._dynamo.reset()
    for backend in ("aot_eager", "inductor"):
        compiled = torch.compile(function, fullgraph=True, backend=backend)
        x = torch.full((4000,), -1.0, requires_grad=True)
        first = seeded(compiled, x)
        assert torch.equal(first, seeded(compiled, x))
        assert not torch.equal(first, compiled(x))
        (grad,) = torch.autograd.grad(first.sum(), x, retain_graph=False)
        if function is rrelu:
            torch.testing.assert_close(grad, -first.detach())
        else:
            assert torch.equal(grad == 0, first.detach() == -1.25)


def test_opcheck() -> None:
    x, seed = sample(2000).requires_grad_(), torch.tensor(123)
    ops = torch.ops.activations_ext
    torch.library.opcheck(ops.rrelu_with_seed.default, (x, seed, LOWER, UPPER))
    torch.library.opcheck(ops.shift_dropout_with_seed.default, (x, seed, 0.3, -1.0))


def test_a_wrong_seed_is_refused() -> None:
    ops = torch.ops.activations_ext
    for seed in (torch.tensor(1.0), torch.zeros(2, dtype=torch.int64)):
        for call in (
            lambda s: ops.rrelu_with_seed(torch.ones(3), s, LOWER, UPPER),
            lambda s: ops.shift_dropout_with_seed(torch.ones(3), s, 0.3, 0.0),
        ):
            with pytest.raises((RuntimeError, TypeError), match=r"'seed'.*int64"):
                call(seed)


def values_and_gradients() -> Iterator[Tensor]:
    for dtype in DTYPES:
        torch.manual_seed(0)
        x = sample(5003, dtype).requires_grad_()
        for y in (F.rrelu(x, training=True), F.shift_dropout(x, 0.3, -1.25)):
            yield from (y.detach(), *torch.autograd.grad(y, x, torch.ones_like(y)))


def test_instruction_sets_draw_the_same_numbers() -> None:
    """Each element's result is the same but for a product that may or may not be fused."""
    results = results_by_capability(values_and_gradients)
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            eps = torch.finfo(ours.dtype).eps
            torch.testing.assert_close(ours, theirs, rtol=2 * eps, atol=eps)

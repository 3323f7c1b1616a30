"""The ways that rows of softmax take through the kernels: vectors of classes or of rows, kept
exponentials, segments and streams."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as torch_functional

from activations_ext import functional as F
from test_softmax import both, every_dtype, numbers


def test_large_results_are_streamed() -> None:
    """Past the cache, at rows of odd length, the same numbers as one row alone."""
    x = numbers(5, 20_011).repeat(90, 1)
    for name in ("softmax", "log_softmax"):
        result, grad = both(getattr(F, name), x, 1, x.cos())
        single, single_grad = both(getattr(F, name), x[:5], 1, x[:5].cos())
        assert torch.equal(result, single.repeat(90, 1))
        assert torch.equal(grad, single_grad.repeat(90, 1))


@pytest.mark.each_capability
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("side", ["rows", "columns"])
def test_rows_whose_maximum_rises(side: str, dtype: torch.dtype, capability: str) -> None:
    """Block after block, from −∞, by little and by more than a float can hold; down to numbers that
    are subnormal."""
    blocks = torch.arange(9_000) // 1000
    rows = torch.stack(
        [
            blocks * 3.0,
            blocks * 12.0 - 500,
            blocks * 40.0,
            torch.where(blocks < 5, -math.inf, -300.0 + blocks),
            torch.where(blocks == 8, 0.0, -math.inf),
            -blocks * 12.5,
            torch.linspace(-110, 0, 9_000),
        ]
    ).to(dtype)
    input, dim = (rows, 1) if side == "rows" else (rows.t().contiguous(), 0)
    ours, exact = F.softmax(input, dim), torch.softmax(input.double(), dim)
    eps, least = torch.finfo(dtype).eps, torch.finfo(dtype).smallest_normal
    # Exponents around 100 are rounded before their exponential.
    allowed = exact * (eps if dtype == torch.bfloat16 else 128 * eps) + 2 * eps * least
    assert ((ours.double() - exact).abs() <= allowed).all()
    assert ((ours == 0) <= (exact < 2 * eps * least)).all()


@pytest.mark.each_capability
@every_dtype
def test_every_number_of_classes(dtype: torch.dtype, capability: str) -> None:
    """Rows in vectors of classes, of rows, in squares, and what is left at their ends."""
    for classes in [*range(1, 70), 127, 128, 129, 130, 131, 145]:
        x = numbers(19, classes, dtype=dtype, seed=classes)
        for name in ("softmax", "log_softmax"):
            ours = both(getattr(F, name), x, 1, x.cos())
            exact = both(getattr(torch_functional, name), x.double(), 1, x.cos().double())
            for o, e in zip(ours, exact, strict=True):
                eps = torch.finfo(dtype).eps
                # Exponents are up to 41, and rounded before their exponential.
                torch.testing.assert_close(o.double(), e, atol=8 * max(eps, 1e-7), rtol=41 * eps)


@pytest.mark.each_capability
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@every_dtype
def test_threads_share_a_long_row(name: str, dtype: torch.dtype, capability: str) -> None:
    """Against float64, and the same on any number of threads; −∞ up to the last segment; NaN."""
    inputs = [
        numbers(1, 100_003, dtype=dtype),
        numbers(4, 40_000, dtype=dtype)[:, 3:33_000],
        numbers(2, 20_000, 2, dtype=dtype).transpose(1, 2)[:, :1],
        torch.linspace(-600, 600, 50_000).to(dtype).view(1, -1),
        torch.linspace(600, -600, 50_000).to(dtype).view(1, -1),
        torch.full((1, 50_000), -math.inf, dtype=dtype).index_fill(1, torch.tensor([49_999]), -300),
    ]
    threads = torch.get_num_threads()
    for input in inputs:
        ours = both(getattr(F, name), input, -1, input.nan_to_num().cos())
        torch.set_num_threads(1)
        alone = both(getattr(F, name), input, -1, input.nan_to_num().cos())
        torch.set_num_threads(threads)
        exact = both(getattr(torch, name), input.double(), -1, input.nan_to_num().double().cos())
        for one, two, e in zip(ours, alone, exact, strict=True):
            assert torch.equal(one, two)
            eps = torch.finfo(dtype).eps
            # Exponents of up to 1200 are rounded before their exponential; sums have 10⁵ terms.
            atol, rtol = 16 * max(eps, 1e-13) * e.abs().max().item(), 700 * max(eps, 1e-13)
            torch.testing.assert_close(one.double(), e, atol=atol, rtol=rtol)
    for value in (math.nan, math.inf, -math.inf):
        row = torch.zeros(1, 40_000, dtype=dtype)
        row[0, 39_000] = value
        result, expected = getattr(F, name)(row, 1), getattr(torch, name)(row, 1)
        torch.testing.assert_close(result, expected, equal_nan=True)
        assert getattr(F, name)(torch.full_like(row, value), 1).isnan().all()

"""Gated linear units: of two tensors and of the halves of one, against their composition."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as torch_functional
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from activations_ext import functional as F
from activations_ext import nn
from helpers import DTYPES, sample

pytestmark = pytest.mark.each_capability

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
CLAMPED = {"alpha": 1.702, "limit": 1.5, "offset": 1.0}


def clamped_swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """gpt-oss's, by its definition."""
    gate, up = gate.clamp(max=1.5), up.clamp(-1.5, 1.5)
    return gate * torch.sigmoid(1.702 * gate) * (up + 1)


Unit = tuple[Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]
UNITS: dict[str, Unit] = {
    "swiglu": (F.swiglu, lambda g, u: torch_functional.silu(g) * u),
    "swiglu, clamped": (partial(F.swiglu, **CLAMPED), clamped_swiglu),  # type: ignore[arg-type]
    "geglu": (F.geglu, lambda g, u: torch_functional.gelu(g) * u),
    "geglu, tanh": (
        partial(F.geglu, approximate="tanh"),
        lambda g, u: torch_functional.gelu(g, approximate="tanh") * u,
    ),
    "reglu": (F.reglu, lambda g, u: torch_functional.relu(g) * u),
    "bilinear_glu": (F.bilinear_glu, lambda g, u: g * u),
}
every_unit = pytest.mark.parametrize("unit", UNITS.values(), ids=list(UNITS))
SPLITS: list[dict[str, Any]] = [
    {},
    {"dim": 0},
    {"dim": 1},
    {"interleaved": True},
    {"dim": -2, "interleaved": True},
]


def halves(input: Tensor, dim: int = -1, interleaved: bool = False) -> tuple[Tensor, ...]:
    if not interleaved:
        return input.chunk(2, dim)
    index = torch.arange(input.shape[dim])
    return tuple(input.index_select(dim, index[start::2]) for start in (0, 1))


def assert_close(ours: Tensor, expected: Tensor, ulps: float) -> None:
    """``expected`` is float64's."""
    eps = torch.finfo(ours.dtype).eps
    # Of float64's own erf and tanh, near −1 and times 9 · 9, only the absolute error is small.
    scale = expected.abs() + (81.0 if ours.dtype == torch.float64 else 1.0)
    wrong = (ours.double() - expected).abs() > ulps * eps * scale
    assert not wrong.any(), (ours[wrong], expected[wrong])


def both(function: Callable[..., Tensor], *leaves: Tensor) -> list[Tensor]:
    leaves = tuple(leaf.detach().requires_grad_() for leaf in leaves)
    result = function(*leaves)
    weights = torch.linspace(-2, 2, result.numel(), dtype=torch.float64)
    weights = weights.half().bfloat16().to(result.dtype)  # the same in every dtype
    return [result, *torch.autograd.grad(result, leaves, weights.view(result.shape))]


@every_unit
@every_dtype
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_halves_of_one_tensor(unit: Unit, dtype: torch.dtype, split: dict[str, Any]) -> None:
    function, composed = unit
    input = sample(8 * 6 * 50, dtype).reshape(8, 6, 50).clamp(-9, 9)
    ours = both(partial(function, **split), input)
    expected = both(lambda x: composed(*halves(x, **split)), input.double())
    for a, b in zip(ours, expected, strict=True):
        assert a.dtype == dtype
        assert_close(a, b, 0.51 if dtype.itemsize == 2 else 5)


@every_unit
@every_dtype
def test_two_tensors(unit: Unit, dtype: torch.dtype) -> None:
    function, composed = unit
    pair = [sample(4500, dtype).reshape(9, 500).clamp(-9, 9), sample(4500, dtype, seed=1)]
    pair[1] = pair[1].reshape(500, 9).t().clamp(-9, 9)
    ours, expected = both(function, *pair), both(composed, *(p.double() for p in pair))
    for a, b in zip(ours, expected, strict=True):
        assert_close(a, b, 0.51 if dtype.itemsize == 2 else 5)


@every_unit
def test_the_other_half_is_the_gate(unit: Unit) -> None:
    function, composed = unit
    if function is F.bilinear_glu:
        pytest.skip("no half is a gate")
    x = torch.randn(3, 8, dtype=torch.float64)
    up, gate = x.chunk(2, -1)
    torch.testing.assert_close(function(x, gate_first=False), composed(gate, up))


@pytest.mark.parametrize("dim", [-1, 0, 1])
@every_dtype
def test_glu_is_torchs(dim: int, dtype: torch.dtype) -> None:
    x = sample(240, dtype).reshape(4, 6, 10)
    ours = both(partial(F.glu, dim=dim), x)
    expected = both(partial(torch_functional.glu, dim=dim), x.double())
    for a, b in zip(ours, expected, strict=True):
        assert_close(a, b, 0.51 if dtype.itemsize == 2 else 5)
    value, gate = halves(x, dim, interleaved=True)
    torch.testing.assert_close(F.glu(x, dim, interleaved=True), value * gate.sigmoid())


@every_unit
@pytest.mark.parametrize("split", [{}, {"dim": 0}, {"interleaved": True}], ids=str)
def test_derivatives(unit: Unit, split: dict[str, Any]) -> None:
    function = partial(unit[0], **split)
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert gradcheck(function, x, check_forward_ad=True)
    assert gradgradcheck(function, x)
    pair = tuple(torch.randn(7, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert gradcheck(unit[0], pair, check_forward_ad=True)
    assert gradgradcheck(unit[0], pair)


@every_unit
def test_functional_transforms(unit: Unit) -> None:
    function, composed = unit
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    for transform in (torch.func.grad, torch.func.jacfwd, torch.func.hessian):
        results = [
            torch.func.vmap(transform(lambda y, f=f: f(y).sum()))(x)
            for f in (function, lambda y: composed(*y.chunk(2, -1)))
        ]
        torch.testing.assert_close(*results)
    torch.testing.assert_close(torch.func.vmap(function, in_dims=1)(x), function(x.movedim(1, 0)))


@every_unit
def test_special_values(unit: Unit) -> None:
    """As the composition has them, in every position of a vector. torch's gelu(∞) is NaN."""
    function, composed = unit
    if "geglu" in str(function):
        approximate = getattr(function, "keywords", {}).get("approximate", "none")
        composed = lambda g, u: F.gelu(g, approximate) * u  # noqa: E731
    values = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.5, -1.5, 2.0, 1e30, 1e-40])
    gate, up = (v.flatten() for v in torch.meshgrid(values, values, indexing="ij"))
    for count in (1, 17, 100):
        torch.testing.assert_close(
            function(gate[:count], up[:count]), composed(gate, up)[:count], equal_nan=True
        )
    leaves = [v.clone().requires_grad_() for v in (gate, up)]
    finite = torch.isfinite(gate) & torch.isfinite(up)
    ours, expected = (torch.autograd.grad(f(*leaves).sum(), leaves) for f in (function, composed))
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a[finite], b[finite])


def test_slopes_at_the_limit() -> None:
    """1 at the limit and 0 beyond it, as torch.clamp's; a gate far below has no limit."""
    gate = torch.tensor([1.5, 1.5001, -100.0]).requires_grad_()
    up = torch.tensor([1.5, -1.5001, -1.5]).requires_grad_()
    of_gate, of_up = torch.autograd.grad(F.swiglu(gate, up, **CLAMPED).sum(), (gate, up))
    assert (of_gate != 0).tolist() == [True, False, False]
    assert (of_up != 0).tolist() == [True, False, True] or of_up[2] == 0


@every_unit
def test_layouts(unit: Unit) -> None:
    function, composed = unit
    base = torch.randn(4, 6, 8, 10)
    channels_last = base.contiguous(memory_format=torch.channels_last)
    for x in (base, channels_last, base.transpose(0, 3), base[:, ::2], base[..., 1:9], base[:0]):
        for dim in (1, -1):
            if x.shape[dim] % 2 == 0:
                ours, expected = (
                    both(partial(function, dim=dim), x),
                    both(lambda y, dim=dim: composed(*y.chunk(2, dim)), x),
                )
                for a, b in zip(ours, expected, strict=True):
                    torch.testing.assert_close(a, b)
    x = torch.randn(6, 8, requires_grad=True)  # an expanded gradient
    ours, expected = (torch.autograd.grad(f(x).sum(), x)[0] for f in (function, _composed(unit)))
    torch.testing.assert_close(ours, expected)
    wide, narrow = torch.randn(5, 1, 7), torch.randn(3, 7)
    torch.testing.assert_close(function(wide, narrow), composed(wide, narrow))
    mixed = function(wide.bfloat16(), narrow)
    assert mixed.dtype == torch.float32


def _composed(unit: Unit) -> Callable[[Tensor], Tensor]:
    return lambda x: unit[1](*x.chunk(2, -1))


@every_unit
def test_large_tensors(unit: Unit) -> None:
    """Stores that bypass the cache, of rows that threads share."""
    x = torch.randn(700, 2 * 6007)
    for a, b in zip(both(unit[0], x), both(_composed(unit), x), strict=True):
        torch.testing.assert_close(a, b)


def test_only_the_inputs_are_saved() -> None:
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    x, y = torch.randn(3, 8, requires_grad=True), torch.randn(3, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        F.swiglu(x)
        F.geglu(x, y)
    assert [tensor.data_ptr() for tensor in saved] == [v.data_ptr() for v in (x, x, y)]


@every_unit
@pytest.mark.compiler
def test_compiled_graphs(unit: Unit) -> None:
    torch._dynamo.reset()
    function = unit[0]
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=True)
    for shape in ((3, 8), (5, 12)):
        x = torch.randn(shape)
        for a, b in zip(both(compiled, x), both(function, x), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.compiler
def test_exports_and_traces_hold_torchs_operators() -> None:
    x = torch.randn(5, 16)
    network = torch.nn.Sequential(
        nn.SwiGLU(limit=1.0), nn.GEGLU(interleaved=True), nn.GLU(), nn.GatedMLP(2, 3)
    )
    program = torch.export.export(network, (x,)).module()
    for exported in (program, torch.jit.trace(network, (x,))):
        assert not re.search(r"activations_ext(::|\.\w+\.default)", str(exported.graph))
        torch.testing.assert_close(exported(x), network(x))


@pytest.mark.compiler
@pytest.mark.parametrize("kind", range(7))
def test_operators(kind: int) -> None:
    operators = torch.ops.activations_ext
    x, y = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    numbers = (kind, 1.5, 0.7, 0.5)
    torch.library.opcheck(operators.gated.default, (x, y, *numbers))
    torch.library.opcheck(operators.gated_backward.default, (y, x, y, *numbers))
    for interleaved in (False, True):
        split = (1, interleaved, True)
        torch.library.opcheck(operators.gated_halves.default, (x, *split, *numbers))
        grad = torch.randn(3, 2, dtype=torch.float64)
        torch.library.opcheck(operators.gated_halves_backward.default, (grad, x, *split, *numbers))


def test_errors() -> None:
    x = torch.randn(3, 5)
    for function in (F.swiglu, F.geglu, F.reglu, F.glu, F.bilinear_glu):
        for wrong in (x, torch.tensor(1.0)):
            with pytest.raises(RuntimeError, match="'input' to have an even size"):
                function(wrong)
    with pytest.raises(RuntimeError, match=r"size of tensor|broadcast|expand"):
        F.swiglu(x, torch.randn(3, 4))
    for options in ({"alpha": 0.0}, {"limit": -1.0}, {"offset": math.inf}, {"alpha": math.nan}):
        with pytest.raises(ValueError, match="'alpha' and 'limit' to be positive"):
            F.swiglu(torch.randn(4), **options)
    with pytest.raises(RuntimeError, match="'approximate'"):
        F.geglu(torch.randn(4), approximate="no")
    operators = torch.ops.activations_ext
    numbers = (0, 1.0, 1.0, 0.0)
    with pytest.raises(RuntimeError, match="'up' to have the shape and dtype"):
        operators.gated(x, x[:2], *numbers)
    with pytest.raises(RuntimeError, match="'grad_output' to have the shape"):
        operators.gated_backward(x[0], x, x, *numbers)
    with pytest.raises(RuntimeError, match="even size"):
        operators.gated_halves(x, 1, False, True, *numbers)
    with pytest.raises(ValueError, match="'kind'"):
        operators.gated(x, x, 7, 1.0, 1.0, 0.0)
    freed = torch.randn(4, 6)
    freed.untyped_storage().resize_(0)
    for call in (lambda: F.swiglu(freed), lambda: F.swiglu(torch.randn(4, 6), freed)):
        with pytest.raises(RuntimeError, match="storage"):
            call()


def test_other_dtypes_and_devices() -> None:
    x = torch.randn(3, 8)
    assert F.swiglu(x.to("meta")).shape == (3, 4)
    complex_ = torch.randn(3, 8, dtype=torch.complex64)
    torch.testing.assert_close(F.bilinear_glu(complex_), complex_[:, :4] * complex_[:, 4:])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert F.swiglu(x).dtype == torch.float32


MODULES: list[tuple[torch.nn.Module, Callable[[Tensor], Tensor]]] = [
    (nn.SwiGLU(), F.swiglu),
    (nn.SwiGLU(**CLAMPED), partial(F.swiglu, **CLAMPED)),  # type: ignore[arg-type]
    (nn.SwiGLU(1, interleaved=True), partial(F.swiglu, dim=1, interleaved=True)),
    (nn.GEGLU(approximate="tanh"), partial(F.geglu, approximate="tanh")),
    (nn.GEGLU(gate_first=False), partial(F.geglu, gate_first=False)),
    (nn.ReGLU(0), partial(F.reglu, dim=0)),
    (nn.BilinearGLU(), F.bilinear_glu),
    (nn.GLU(0), partial(F.glu, dim=0)),
]


@pytest.mark.parametrize(
    ("module", "function"), MODULES, ids=[f"{i}: {m[0]}" for i, m in enumerate(MODULES)]
)
def test_modules(module: torch.nn.Module, function: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(4, 6, 8)
    torch.testing.assert_close(module(x), function(x))
    torch.testing.assert_close(copy.deepcopy(module)(x), function(x))
    assert repr(module) == repr(copy.deepcopy(module))


def test_glu_is_an_instance_of_torchs() -> None:
    assert type(nn.GLU()) is torch.nn.GLU
    assert isinstance(nn.GLU(), nn.GLU)
    assert not isinstance(torch.nn.GLU(), nn.GLU)


@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh", "relu", "sigmoid", "identity"])
def test_gated_mlp(activation: str) -> None:
    block = nn.GatedMLP(6, 10, 5, activation=activation, bias=True)
    x = torch.randn(2, 3, 6)
    first, second = block.gate_up(x).chunk(2, -1)
    if activation == "sigmoid":
        first, second = second, first
    activated = {
        "silu": torch_functional.silu,
        "gelu": torch_functional.gelu,
        "gelu_tanh": partial(torch_functional.gelu, approximate="tanh"),
        "relu": torch_functional.relu,
        "sigmoid": torch.sigmoid,
        "identity": lambda v: v,
    }[activation](first)
    torch.testing.assert_close(block(x), block.down(activated * second))
    assert block(x).shape == (2, 3, 5)


def test_the_sizes_of_a_gated_mlp() -> None:
    block = nn.GatedMLP(96)
    assert block.down.in_features == 256
    assert block.down.out_features == 96
    assert [name for name, _ in block.named_parameters()] == ["gate_up.weight", "down.weight"]
    assert nn.GatedMLP(8, dtype=torch.float64).down.weight.dtype == torch.float64
    with pytest.raises(ValueError, match="'activation' to be one of silu"):
        nn.GatedMLP(8, activation="tanh")

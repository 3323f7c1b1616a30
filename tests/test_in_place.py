"""The in-place forms are operators that write their input: whatever traces, transforms or
functionalizes a program sees the write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch.func import functionalize, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from activations_ext import functional as F
from activations_ext import nn
from activations_ext.export import keep_operators
from helpers import (
    DEFAULT_CASES,
    INPLACE_CASES,
    Case,
    assert_same_bits,
    away_from_kinks,
    in_place_gradient,
    sample,
)

pytestmark = pytest.mark.each_capability

inplace_case = pytest.mark.parametrize("case", INPLACE_CASES, ids=str)


def write(case: Case, x: Tensor) -> Tensor:
    return case(x * 1, inplace=True)


def write_part(case: Case, x: Tensor) -> Tensor:
    """Through a view of a view of what is returned."""
    whole = x * 1
    case(whole.view(-1)[2:5], inplace=True)
    return whole


@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
def test_every_activation_has_the_operator(case: Case) -> None:
    operator = case.operator("_")
    assert "Tensor(a!) input" in str(operator._schema)
    assert str(operator._schema).endswith("-> Tensor(a!)")
    x = sample(20)
    expected = case(x)
    assert operator(x, *case.parameters) is x
    assert_same_bits(x, expected)
    assert x._version == 1


@inplace_case
def test_gradient_of_a_batch(case: Case) -> None:
    """torch.func: grad of vmap, and vmap of grad, of a write into a temporary."""
    x = away_from_kinks(case, (3, 5)).detach()
    expected = in_place_gradient(case, x, torch.ones_like(x))
    of_batch = grad(lambda t: vmap(lambda row: write(case, row))(t).sum())(x)
    each = vmap(grad(lambda row: write(case, row).sum()))(x)
    columns = grad(lambda t: vmap(lambda column: write(case, column), 1, 1)(t).sum())(x)
    for result in (of_batch, each, columns):
        torch.testing.assert_close(result, expected)


@inplace_case
@pytest.mark.parametrize("program", [write, write_part])
def test_functionalize(case: Case, program: Callable[[Case, Tensor], Tensor]) -> None:
    """No operator in the graph writes, and the result is the program's."""
    x = sample(12).view(3, 4)
    graph = make_fx(functionalize(lambda t: program(case, t), remove="mutations_and_views"))(x)
    assert case.operator() in {node.target for node in graph.graph.nodes}
    assert case.operator("_") not in {node.target for node in graph.graph.nodes}
    assert_same_bits(graph(x), program(case, x))
    other = sample(12, seed=1).view(3, 4)
    assert_same_bits(graph(other), program(case, other))


@inplace_case
@pytest.mark.parametrize("program", [write, write_part])
def test_trace(case: Case, program: Callable[[Case, Tensor], Tensor]) -> None:
    x = sample(12).view(3, 4)
    with keep_operators():
        traced = torch.jit.trace(lambda t: program(case, t), (x,), check_trace=True)
    other = sample(12, seed=1).view(3, 4)
    assert_same_bits(traced(other), program(case, other))


class Network(torch.nn.Module):
    def __init__(self, activation: torch.nn.Module) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.linear(x))
        return result


def weight_gradient(module: Any, name: str, x: Tensor) -> Tensor:
    (weight,) = [p for n, p in module.named_parameters() if n.replace("_", ".").endswith(name)]
    result: Tensor = torch.autograd.grad(module(x).square().sum(), weight)[0]
    return result


@pytest.mark.parametrize("activation", [nn.SiLU, nn.Mish, nn.ELU, nn.ReLU, nn.Hardswish, nn.RReLU])
def test_a_graph_made_without_gradients_is_trained_with(activation: Any) -> None:
    """Exported or traced under no_grad, where nothing had to be kept."""
    network, x = Network(activation(inplace=True)).eval(), sample(12).view(3, 4)
    with torch.no_grad(), keep_operators():
        traced = torch.jit.trace(network, (x,))
        exported = torch.export.export(network, (x,)).module()
    expected = weight_gradient(network, "linear.weight", x)
    for graph in (traced, exported):
        assert_same_bits(weight_gradient(graph, "linear.weight", x), expected)


@inplace_case
def test_forward_mode(case: Case) -> None:
    """The tangent is overwritten too, also that of the tensor that a view is of."""
    x = away_from_kinks(case, (6,)).detach()
    v = sample(6, torch.float64, seed=1)
    slopes = in_place_gradient(case, x, torch.ones_like(x))
    with forward_ad.dual_level():
        whole = forward_ad.make_dual(x.clone(), v.clone())
        case(whole, inplace=True)
        torch.testing.assert_close(forward_ad.unpack_dual(whole).tangent, slopes * v)
        base = forward_ad.make_dual(x.clone(), v.clone()) * 1
        case(base[:3], inplace=True)
        tangent = forward_ad.unpack_dual(base).tangent
        torch.testing.assert_close(tangent, torch.cat([(slopes * v)[:3], v[3:]]))


@inplace_case
def test_opcheck(case: Case) -> None:
    """Schema, fake tensors, and AOTAutograd with dynamic shapes."""
    x = (sample(6).clamp(-3, 3) + 0.01).view(2, 3)
    torch.library.opcheck(case.operator("_"), (x, *case.parameters))


@pytest.mark.parametrize("name", ["rrelu", "shift_dropout"])
@pytest.mark.compiler
def test_random_ones(name: str) -> None:
    """The same numbers from the same seed, and their gradients; nothing is copied for dropout."""
    function: Any = getattr(F, name)
    results = []
    for inplace in (False, True):
        torch.manual_seed(3)
        x = sample(40).requires_grad_()
        y = function(x * 1, training=True, inplace=inplace)
        (slopes,) = torch.autograd.grad(y.sum(), x)
        torch.manual_seed(3)
        z = x.detach().clone()
        w = function(z, training=True, inplace=inplace)
        assert (w is z) == inplace
        results.append((y.detach(), slopes, w))
    for a, b in zip(*results, strict=True):
        assert_same_bits(a, b)

    def program(x: Tensor) -> Tensor:
        y = x * 1
        function(y[1:], training=True, inplace=True)
        return y

    x = sample(12)
    graph = make_fx(functionalize(program))(x)
    operator = getattr(torch.ops.activations_ext, name + "_with_seed").default
    assert operator in {node.target for node in graph.graph.nodes}
    assert graph(x)[0] == x[0]
    torch._dynamo.reset()
    compiled = torch.compile(program, fullgraph=True, backend="aot_eager")
    assert compiled(x)[0] == x[0]
    batch = vmap(program, randomness="different")(sample(12).view(3, 4))
    assert_same_bits(batch[:, 0], sample(12).view(3, 4)[:, 0])


# --- Autograd -------------------------------------------------------------------------------------


@inplace_case
def test_in_place_on_a_leaf_is_an_error(case: Case) -> None:
    leaf = sample(10).requires_grad_()
    with pytest.raises(RuntimeError, match="leaf Variable"):
        case(leaf, inplace=True)
    assert_same_bits(leaf.detach(), sample(10))
    with torch.no_grad():
        assert case(leaf, inplace=True) is leaf
    assert_same_bits(leaf.detach(), case(sample(10)))


@inplace_case
def test_in_place_counts_a_version(case: Case) -> None:
    """So that whoever saved the tensor before notices, with a graph and without."""
    x = sample(10).requires_grad_()
    inner = x * 1
    squared = inner.square()
    case(inner, inplace=True)
    assert inner._version == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squared.sum().backward()
    plain = sample(10)
    case(plain, inplace=True)
    assert plain._version == 1


@inplace_case
def test_in_place_on_views(case: Case) -> None:
    """The base's gradient knows of a write through a view, and a view's of one into the base."""
    results = []

    def ours(tensor: Tensor) -> None:
        case(tensor, inplace=True)

    def torchs(tensor: Tensor) -> None:
        tensor.copy_(case.differentiable_reference(tensor.clone()))

    for function in (ours, torchs):
        x = away_from_kinks(case, (4, 3))
        base = x * 1
        row = base[1]
        function(row)
        if not case.saves_result_in_place:  # else a second write is refused, as by torch
            function(base.view(-1)[6:8])
        (row * base).sum().backward()
        first, x.grad = x.grad, None
        base = x * 1
        view = base.t()[:2]
        function(base)
        (view * view).sum().backward()
        results.append((first, x.grad))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


@inplace_case
def test_in_place_on_a_view_of_unbound_outputs_is_an_error(case: Case) -> None:
    """As for torch's own: several views of one call cannot be rebased."""
    first, _ = (sample(10).view(2, 5).requires_grad_() * 1).unbind()
    with pytest.raises(RuntimeError, match="view"):
        torch.relu_(first)
    first, _ = (sample(10).view(2, 5).requires_grad_() * 1).unbind()
    with pytest.raises(RuntimeError, match="view"):
        case(first, inplace=True)

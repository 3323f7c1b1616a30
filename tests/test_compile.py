"""torch.compile, torch.export, AOTAutograd, compiled autograd and opcheck.

Compiling costs seconds, so that one compiled function runs all activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo import compiled_autograd
from torch._dynamo.testing import CompileCounter

import activations_ext.nn
from activations_ext import functional as F
from activations_ext.export import keep_operators
from helpers import (
    CASES,
    DEFAULT_CASES,
    INPLACE_CASES,
    Case,
    assert_agrees,
    assert_same_bits,
    case_of,
    sample,
)


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def all_of(inputs: list[Tensor]) -> list[Tensor]:
    return [case(x) for case, x in zip(CASES, inputs, strict=True)]


def run(function: Callable[[list[Tensor]], list[Tensor]], *shape: int) -> list[Tensor]:
    """Results and gradients, under gradients that differ in every element."""
    count = torch.Size(shape).numel()
    inputs = [sample(count, seed=i).view(shape).requires_grad_() for i in range(len(CASES))]
    results = function(inputs)
    loss = sum((r * sample(count, seed=9).clamp(-9, 9).view(shape)).sum() for r in results)
    assert isinstance(loss, Tensor)
    return [*(r.detach() for r in results), *torch.autograd.grad(loss, inputs)]


def assert_equal(results: list[Tensor], expected: list[Tensor], backend: str = "") -> None:
    for case, result, wanted in zip(CASES * 2, results, expected, strict=True):
        assert result.stride() == wanted.stride(), case
        agree(backend, case, result, wanted)


def agree(backend: str, case: Case, result: Tensor, wanted: Tensor) -> None:
    """Gradients too, which are sums of terms of up to 9·1.1."""
    if backend == "inductor":
        assert_agrees(case, result, wanted, atol=1e-6)
    else:
        assert_same_bits(result, wanted, f"{case}: ")


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
@pytest.mark.compiler
def test_compile_is_one_graph_that_agrees_with_eager(backend: str) -> None:
    compiled = torch.compile(all_of, fullgraph=True, backend=backend, dynamic=False)
    assert_equal(run(compiled, 3, 35), run(all_of, 3, 35), backend)


@pytest.mark.compiler
def test_dynamic_shapes_compile_once() -> None:
    counter = CompileCounter()
    counted = torch.compile(all_of, fullgraph=True, backend=counter, dynamic=True)
    for shape in ((3, 5), (7, 2), (40, 30)):
        assert_equal(run(counted, *shape), run(all_of, *shape))
    assert counter.frame_count == 1
    symbolic = torch.compile(all_of, fullgraph=True, backend="aot_eager", dynamic=True)
    for shape in ((3, 5), (7, 2)):
        assert_equal(run(symbolic, *shape), run(all_of, *shape))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.compiler
def test_in_place_forms_compile(backend: str) -> None:
    """On copies within the graph, and on the graph's own inputs."""

    def in_place(inputs: list[Tensor]) -> list[Tensor]:
        copies = [x * 1 for x in inputs]
        for case, x in zip(INPLACE_CASES, copies, strict=True):
            assert case(x, inplace=True) is x
        return copies

    def on_inputs(inputs: list[Tensor]) -> None:
        for case, x in zip(INPLACE_CASES, inputs, strict=True):
            case(x, inplace=True)

    compiled = torch.compile(in_place, fullgraph=True, backend=backend)
    inputs = [sample(50, seed=i).requires_grad_() for i in range(len(INPLACE_CASES))]
    results, expected = compiled(inputs), in_place(inputs)
    for case, result, wanted in zip(INPLACE_CASES, results, expected, strict=True):
        agree(backend, case, result, wanted)
    grads = torch.autograd.grad([r.sum() for r in results], inputs)
    wanted_grads = torch.autograd.grad([r.sum() for r in expected], inputs)
    for case, grad, wanted in zip(INPLACE_CASES, grads, wanted_grads, strict=True):
        agree(backend, case, grad, wanted)
    plain = [x.detach().clone() for x in inputs]
    torch.compile(on_inputs, fullgraph=True, backend=backend)(plain)
    for case, x, wanted in zip(INPLACE_CASES, plain, expected, strict=True):
        agree(backend, case, x, wanted)


@pytest.mark.compiler
def test_parameters_may_change_between_calls() -> None:
    """A compiled function does not keep the first call's parameter."""
    compiled = torch.compile(lambda x, a: F.elu(x, a), fullgraph=True, backend="aot_eager")
    x = sample(20)
    for alpha in (1.0, 2.0, 0.5, -1.0):
        assert_same_bits(compiled(x, alpha), F.elu(x, alpha))


class Network(torch.nn.Module):
    """Every activation's module, one after the other, on a sum that stays bounded."""

    def __init__(self) -> None:
        super().__init__()
        self.activations = torch.nn.ModuleList(
            case.activation.module(*case.parameters) for case in DEFAULT_CASES
        )

    def forward(self, x: Tensor) -> Tensor:
        result = torch.zeros_like(x)
        for activation in self.activations:
            result = result + activation(x)
        return result


@pytest.mark.compiler
def test_modules_compile_and_export() -> None:
    network, x = Network(), sample(60).view(5, 12)
    assert_same_bits(torch.compile(network, fullgraph=True, backend="aot_eager")(x), network(x))
    batch = torch.export.Dim("batch", min=2, max=100)
    with keep_operators():
        program = torch.export.export(network, (x,), dynamic_shapes=({0: batch},))
    targets = {str(node.target) for node in program.graph.nodes}
    for case in DEFAULT_CASES:
        assert f"activations_ext.{case.name}.default" in targets
    other = sample(36).view(3, 12)
    assert_same_bits(program.module()(other), network(other))
    decomposed = program.run_decompositions()
    assert_same_bits(decomposed.module()(other), network(other))


def test_random_ones_export_and_compile() -> None:
    class Random(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.rrelu(x, training=True) + F.shift_dropout(x, 0.3)

    x = sample(1000)
    with keep_operators():
        program = torch.export.export(Random(), (x,))
    torch.manual_seed(1)
    first, second = program.module()(x), program.module()(x)
    assert not torch.equal(first, second)
    assert activations_ext.nn.RReLU is not None


@pytest.mark.compiler
def test_aot_function_of_a_second_derivative() -> None:
    """grad of grad within one compiled graph."""

    def curvatures(x: Tensor) -> list[Tensor]:
        return [
            torch.func.vmap(torch.func.grad(torch.func.grad(case)))(x) for case in DEFAULT_CASES
        ]

    x = sample(20, torch.float64).clamp(-3, 3) + 0.013
    compiled = torch.compile(curvatures, fullgraph=True, backend="aot_eager")
    for case, result, expected in zip(DEFAULT_CASES, compiled(x), curvatures(x), strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12, msg=str(case))


def backward_of_all(x: Tensor, cases: tuple[Case, ...] = CASES) -> None:
    sum((case(x * 1).sin().sum() for case in cases), torch.zeros(())).backward()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.compiler
def test_compiled_autograd(backend: str) -> None:
    """The whole backward pass as one graph, with the right parameters of every node."""
    expected = sample(30).requires_grad_()
    backward_of_all(expected)
    x = sample(30).requires_grad_()
    with compiled_autograd._enable(torch.compile(backend=backend, fullgraph=True)):
        backward_of_all(x)
    torch.testing.assert_close(x.grad, expected.grad, rtol=1e-6, atol=1e-6, equal_nan=True)


def test_compiled_autograd_keeps_parameters_apart() -> None:
    """A cached graph is not used for other parameters."""
    graphs: list[Any] = []

    def count(graph: Any) -> Any:
        graphs.append(graph)
        return graph

    with compiled_autograd._enable(count):
        for alpha in (1.0, 2.0, 1.0, -0.5):
            x = torch.tensor([-1.0, 2.0], requires_grad=True)
            F.elu(x * 1, alpha).sum().backward()
            expected = torch.tensor([alpha * torch.e**-1, 1.0])
            torch.testing.assert_close(x.grad, expected)
    assert 1 <= len(graphs) <= 4


@pytest.mark.compiler
def test_compiled_autograd_of_a_second_derivative() -> None:
    x = sample(10, torch.float64).clamp(-3, 3).requires_grad_()
    results: list[Tensor] = []
    for enabled in (False, True):
        (grad,) = torch.autograd.grad(
            sum((case(x).sin().sum() for case in CASES), torch.zeros(())), x, create_graph=True
        )
        x.grad = None
        if enabled:
            with compiled_autograd._enable(torch.compile(backend="eager")):
                grad.square().sum().backward()
        else:
            grad.square().sum().backward()
        assert x.grad is not None
        results.append(x.grad)
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("suffix", ["", "_backward", "_curvature"])
@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
@pytest.mark.slow
def test_opcheck(case: Case, suffix: str) -> None:
    """Schema, autograd registration, fake tensors, and AOTAutograd with dynamic shapes."""
    for shape in ((5,), (2, 3)):
        tensors = [
            (sample(6, seed=i).clamp(-3, 3) + 0.01)[: torch.Size(shape).numel()]
            .view(shape)
            .requires_grad_()
            for i in range(1 if suffix == "" else 2)
        ]
        torch.library.opcheck(case.operator(suffix), (*tensors, *case.parameters))


@pytest.mark.parametrize("name", ["relu", "silu"])
def test_opcheck_of_other_layouts_and_types(name: str) -> None:
    case = case_of(name)
    for input in (
        sample(120).view(2, 3, 4, 5).to(memory_format=torch.channels_last),
        sample(12).view(3, 4).t(),
        sample(20)[::2],
        sample(1)[0],
        sample(0),
        sample(8, torch.bfloat16),
        sample(8, torch.float64),
    ):
        torch.library.opcheck(
            case.operator(), (input,), test_utils=("test_schema", "test_faketensor")
        )
        torch.library.opcheck(
            case.operator("_backward"),
            (input, input.contiguous()),
            test_utils=("test_schema", "test_faketensor"),
        )

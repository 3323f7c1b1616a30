"""The formulas on torch's operators, which graphs hold where the generated loops cannot call our
code: on a GPU, and for float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._inductor.utils import run_and_get_code

from activations_ext import _C, _inductor
from activations_ext import functional as F
from activations_ext.compiled import in_compiled_graphs
from helpers import CASES, DEFAULT_CASES, Case, case_of, gradient, sample, ulp_errors

SPECIAL = torch.tensor([0.0, -0.0, 1e-40, -1e-40, 88.0, -88.0, math.nan, math.inf, -math.inf])
KINKS = torch.tensor([0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 6.0, 20.0, 0.1])
MOST_ULP = {torch.float32: 4.0, torch.float64: 4.0, torch.bfloat16: 0.52, torch.float16: 0.52}
"""Of values from −30 to 30: far on the left an exponential loses its digits before the result."""


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def no_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where Inductor's compiler does not take our headers."""
    monkeypatch.setattr(_inductor, "_compiles", lambda: False)


def compiled(function: Callable[..., Any], *inputs: Any, **options: Any) -> tuple[Any, str]:
    result, codes = run_and_get_code(torch.compile(function, fullgraph=True, **options), *inputs)
    return result, "\n".join(codes)


def every(x: Tensor) -> list[Tensor]:
    return [case(x) for case in CASES]


@pytest.mark.parametrize("dtype", MOST_ULP, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values(case: Case, dtype: torch.dtype) -> None:
    x = torch.cat([SPECIAL, KINKS, sample(2000)]).to(dtype)
    result = _C.formula(case.name, _C.Pass.kForward, case.parameters, x, x)
    assert result.dtype == dtype
    exact = case(x.double()) if dtype != torch.float64 else case(x)
    errors = ulp_errors(result, exact, slack=torch.finfo(dtype).smallest_normal)
    # Where a bound was rounded to the dtype, and where rounding the argument costs eager digits.
    errors[ulp_errors(case(x), exact) > MOST_ULP[dtype]] = 0
    worst = int(errors.argmax())
    most = MOST_ULP[dtype] if case.is_default else max(MOST_ULP[dtype], 40)
    assert errors[worst] <= most, f"{case}({x[worst].item()!r})"


@pytest.mark.usefixtures("no_loops")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.compiler
def test_compiled_values(dtype: torch.dtype) -> None:
    """Inductor's vectors compute expm1 as e^x − 1 (torch 2.13): errors of an ULP of 1."""
    x = torch.cat([SPECIAL, KINKS, sample(2000)]).to(dtype)
    results, code = compiled(every, x)
    assert "activations_ext" not in code
    eps = torch.finfo(dtype).eps
    for case, result in zip(CASES, results, strict=True):
        wanted = _C.formula(case.name, _C.Pass.kForward, case.parameters, x, x)
        torch.testing.assert_close(
            result,
            wanted,
            rtol=8 * eps,
            atol=4 * torch.finfo(torch.float32).eps,
            equal_nan=True,
            msg=lambda t, case=case: f"{case}: {t}",
        )


@pytest.mark.usefixtures("no_loops")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.compiler
def test_derivatives(dtype: torch.dtype) -> None:
    operators = torch.ops.activations_ext
    x = torch.cat([KINKS, sample(300)]).to(dtype)
    grad = sample(len(x), seed=3).clamp(-9, 9).to(dtype)

    def derivatives(g: Tensor, saved: Tensor) -> list[Tensor]:
        return [
            getattr(operators, case.name + suffix)(g, saved, *case.parameters)
            for case in CASES
            for suffix in ("_backward", "_curvature")
        ]

    results, code = compiled(derivatives, grad, x)
    assert "activations_ext" not in code
    cases = [case for case in CASES for _ in range(2)]
    eps = torch.finfo(dtype).eps
    for case, result, wanted in zip(cases, results, derivatives(grad, x), strict=True):
        torch.testing.assert_close(
            result, wanted, rtol=8 * eps, atol=40 * eps, msg=lambda t, case=case: f"{case}: {t}"
        )


def traced(function: Callable[..., Any], x: Tensor) -> torch.fx.GraphModule:
    """What AOTAutograd hands to Inductor."""
    graphs: list[torch.fx.GraphModule] = []

    def compile_inner(graph: torch.fx.GraphModule, _: Any, **__: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    from torch._inductor.compile_fx import compile_fx

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        return compile_fx(graph, inputs, inner_compile=compile_inner)

    with torch.no_grad():
        torch.compile(function, fullgraph=True, backend=backend, dynamic=True)(x)
    return graphs[-1]


@pytest.mark.usefixtures("no_loops")
@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
@pytest.mark.compiler
def test_constants_are_scalars_and_nothing_is_read(case: Case) -> None:
    graph = traced(case, sample(24).view(4, 6)).graph
    targets = {str(node.target) for node in graph.nodes if node.op == "call_function"}
    assert targets
    assert all(target.startswith(("aten.", "prims.", "sym_size")) for target in targets), targets
    assert not [node for node in graph.nodes if node.op == "get_attr"]
    assert not {"aten._local_scalar_dense.default", "aten.item.default"} & targets
    # The constants of a `where` of two of them, if of any.
    full = [node for node in graph.nodes if "scalar_tensor" in str(node.target)]
    assert all(node.kwargs["dtype"] == torch.float32 for node in full)


@pytest.mark.usefixtures("no_loops")
@pytest.mark.compiler
def test_training_and_dynamic_shapes() -> None:
    cases = [case_of(name) for name in ("mish", "gelu", "tanh", "softplus", "elu", "hardshrink")]

    def loss(x: Tensor) -> Tensor:
        return torch.stack([(case(2 * x) * x).sum() for case in cases]).sum()

    function = torch.compile(loss, fullgraph=True, dynamic=True)
    for shape in ((3, 5), (7, 40)):
        x = sample(shape[0] * shape[1]).clamp(-9, 9).view(shape)
        one = torch.ones(())
        torch.testing.assert_close(
            gradient(function, x, one), gradient(loss, x, one), rtol=1e-5, atol=1e-5
        )


@pytest.mark.compiler
def test_whole_is_not_decomposed() -> None:
    with in_compiled_graphs("whole"):
        _, code = compiled(F.mish, sample(20, torch.float64))
    assert "activations_ext.mish" in code


@pytest.mark.usefixtures("no_loops")
@pytest.mark.compiler
def test_forward_mode() -> None:
    x, tangent = sample(20).clamp(-9, 9), sample(20, seed=1)

    def along(primal: Tensor, tangent: Tensor) -> Any:
        return torch.func.jvp(F.mish, (primal,), (tangent,))

    result = torch.compile(along, fullgraph=True)(x, tangent)
    wanted = torch.func.jvp(F.mish, (x,), (tangent,))
    for a, b in zip(result, wanted, strict=True):
        torch.testing.assert_close(a, b)

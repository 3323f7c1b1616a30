"""Our formulas inside the loops that Inductor generates, against the eager kernels."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._inductor.utils import run_and_get_code

from activations_ext import _inductor
from activations_ext import functional as F
from activations_ext.compiled import Choice, in_compiled_graphs
from activations_ext.export import keep_operators
from helpers import (
    CAPABILITIES,
    CASES,
    DEFAULT_CASES,
    assert_agrees,
    assert_same_bits,
    case_of,
    run_python,
    sample,
)

SPECIAL = torch.tensor([0.0, -0.0, 1e-40, -1e-40, 88.0, -88.0, 1e30, -1e30])
NON_FINITE = torch.tensor([math.nan, math.inf, -math.inf])


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function: Callable[..., Any], *inputs: Any, **options: Any) -> tuple[Any, str]:
    """The result, and the code that was generated."""
    result, codes = run_and_get_code(torch.compile(function, fullgraph=True, **options), *inputs)
    return result, "\n".join(codes)


def calls(code: str) -> int:
    return code.count("compiled::call<")


def every(x: Tensor) -> list[Tensor]:
    return [case(x) for case in CASES]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.compiler
def test_every_function_is_fused_and_agrees_with_eager(dtype: torch.dtype) -> None:
    """Neighbours that are exact, so that only the order of the roundings could differ."""
    x = torch.cat([SPECIAL, NON_FINITE, sample(1000)]).to(dtype)
    results, code = compiled(lambda y: [-one for one in every(-y)], x)
    assert "torch.ops.activations_ext" not in code
    for case in CASES:
        assert f'call<"{case.name}", activations_ext::Pass::kForward' in code
    for case, result, wanted in zip(CASES, results, every(-x), strict=True):
        assert_agrees(case, result, -wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.compiler
def test_first_and_second_derivatives(dtype: torch.dtype) -> None:
    operators = torch.ops.activations_ext
    x, grad = sample(107).to(dtype), sample(107, seed=3).clamp(-9, 9).to(dtype)

    def derivatives(g: Tensor, saved: Tensor) -> list[Tensor]:
        return [
            getattr(operators, case.name + suffix)(g, saved, *case.parameters)
            for case in CASES
            for suffix in ("_backward", "_curvature")
        ]

    results, code = compiled(derivatives, grad, x)
    assert "torch.ops.activations_ext" not in code
    cases = [case for case in CASES for _ in range(2)]
    for case, result, wanted in zip(cases, results, derivatives(grad, x), strict=True):
        # A slope near its zero is a difference of terms of up to 9·1.1.
        assert_agrees(case, result, wanted, atol=1e-6 if dtype == torch.float32 else 1e-3)


@pytest.mark.compiler
def test_tails() -> None:
    inputs = [sample(count) for count in (1, 3, 15, 16, 17, 4096, 4099)]
    results, code = compiled(lambda xs: [F.elu(x) * 2 for x in xs], inputs, dynamic=False)
    assert calls(code) >= len(inputs)
    for x, result in zip(inputs, results, strict=True):
        assert_same_bits(result, F.elu(x) * 2, f"{len(x)}: ")


LOOPS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda x: F.gelu(x.t()).contiguous(),
    "strided": lambda x: F.silu(x[:, ::3]),
    "broadcast": lambda x: F.tanh(x[:1]) + x,
    "masked": lambda x: torch.nn.functional.pad(F.elu(x), (3, 2)),
    "joined": lambda x: torch.cat([F.mish(x), F.softplus(x)]),
    "where": lambda x: torch.where(x > 0, F.sigmoid(x), F.celu(x, 0.5)),
    "with integers": lambda x: F.tanh(x) * torch.arange(x.shape[1]),
    "with float64": lambda x: F.tanh(x).double() * 2.0,
    "into bfloat16": lambda x: F.gelu_tanh(x).bfloat16(),
    "row sums": lambda x: F.mish(x).sum(1),
    "column sums": lambda x: F.silu(x).sum(0),
    "maxima": lambda x: F.gelu(x).amax(1),
    "norm": lambda x: torch.nn.functional.layer_norm(F.gelu(x), x.shape[1:]),
    "softmax": lambda x: F.tanh(x).softmax(1),
    "indexed": lambda x: F.selu(x[torch.tensor([2, 0, 1])]),
    "used twice": lambda x: (y := F.mish(x)).sum(1, keepdim=True) + y,
    "linear": lambda x: F.gelu(x @ x.t() * 0.1) @ x,
}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.compiler
def test_loops(dynamic: bool) -> None:
    x = sample(7 * 83).clamp(-9, 9).view(7, 83)
    loops = list(LOOPS.values())
    results, code = compiled(lambda y: [loop(y) for loop in loops], x, dynamic=dynamic)
    assert calls(code) >= len(loops)
    assert "torch.ops.activations_ext" not in code
    for (name, loop), result in zip(LOOPS.items(), results, strict=True):
        torch.testing.assert_close(
            result, loop(x), rtol=2e-6, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.compiler
def test_what_is_read_twice_is_computed_once() -> None:
    x = sample(64 * 256).view(64, 256)

    def across(y: Tensor) -> tuple[Tensor, Tensor]:
        z = F.mish(y)
        return z.sum(0), z.amax(1)  # two loops

    result, code = compiled(across, x, dynamic=False)
    assert calls(code) == 1
    torch.testing.assert_close(result, across(x))


@pytest.mark.compiler
def test_parameters_that_are_no_numbers() -> None:
    for case in (case_of("elu", math.inf), case_of("threshold", -math.inf, math.nan)):
        x = sample(50)
        result, code = compiled(case, x)
        assert calls(code)
        assert_same_bits(result, case(x), f"{case}: ")


@pytest.mark.compiler
def test_float64_is_the_formula() -> None:
    x = sample(50, torch.float64)
    result, code = compiled(F.mish, x)
    assert "activations_ext" not in code
    torch.testing.assert_close(result, F.mish(x))


@pytest.mark.compiler
def test_a_compiler_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The formula is made of torch's operators: test_formula.py."""
    monkeypatch.setattr(_inductor, "_compiles", lambda: False)
    x = sample(50)
    # Nothing that a cache holds.
    result, code = compiled(lambda y: F.mish(y) * 1.2345, x)
    assert "activations_ext" not in code
    torch.testing.assert_close(result, F.mish(x) * 1.2345)


@pytest.mark.compiler
def test_whole_and_back() -> None:
    """The choice is part of the key of Inductor's caches, which outlive Dynamo's."""
    x, codes = sample(50), []
    choices: tuple[Choice, ...] = ("ours", "whole", "ours")
    for choice in choices:
        torch._dynamo.reset()
        with in_compiled_graphs(choice):
            result, code = compiled(lambda y: F.elu(y) + 1, x)
        assert_same_bits(result, F.elu(x) + 1)
        codes.append(code)
    assert [bool(calls(code)) for code in codes] == [True, False, True]


@pytest.mark.compiler
def test_training() -> None:
    """Forward and backward through AOTAutograd."""

    def loss(inputs: list[Tensor]) -> Tensor:
        cases = zip(DEFAULT_CASES, inputs, strict=True)
        return torch.stack([(case(2 * x) * x).sum() for case, x in cases]).sum()

    inputs = [sample(40, seed=i).clamp(-9, 9).requires_grad_() for i in range(len(DEFAULT_CASES))]
    ours = torch.autograd.grad(torch.compile(loss, fullgraph=True)(inputs), inputs)
    wanted = torch.autograd.grad(loss(inputs), inputs)
    for case, a, b in zip(DEFAULT_CASES, ours, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-6, atol=2e-6, msg=str(case))


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.slow
def test_each_instruction_set(capability: str) -> None:
    """One cache for all of them, as a user has it."""
    program = """
import torch
from activations_ext import functional as F
from helpers import CASES, assert_agrees, sample
x = sample(1003)
results = torch.compile(lambda y: [-case(y) for case in CASES], dynamic=False)(x)
for case, result in zip(CASES, results, strict=True):
    if torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        # Generated code is compiled for this processor, with its fused multiply-adds.
        torch.testing.assert_close(result, -case(x), rtol=1e-6, atol=1e-6)
    else:
        assert_agrees(case, result, -case(x))
print("same")
"""
    environment = {"TORCHINDUCTOR_CACHE_DIR": os.environ["TORCHINDUCTOR_CACHE_DIR"]}
    printed = run_python(
        program, ATEN_CPU_CAPABILITY=capability, ACTIVATIONS_EXT_COMPILED="ours", **environment
    )
    assert printed.strip() == "same"


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.slow
def test_an_inductor_that_lacks_the_seam_keeps_operators_whole(known: bool, tmp_path: Path) -> None:
    program = f"""
import sys, torch
import torch._inductor.lowering
from torch._inductor.codegen import cpp
assert "torch._inductor.compile_fx" not in sys.modules
define = cpp.CppScheduling.define_kernel
if not {known}:
    del cpp.CppScheduling.define_kernel
import activations_ext
from activations_ext import functional as F
import torch._inductor.compile_fx
if not {known}:
    cpp.CppScheduling.define_kernel = define
from torch._inductor.utils import run_and_get_code
x = torch.randn(30)
result, codes = run_and_get_code(torch.compile(F.elu, fullgraph=True), x)
assert torch.equal(result, F.elu(x))
print("compiled::call<" in codes[0])
"""
    printed = run_python(
        program, ACTIVATIONS_EXT_COMPILED="ours", TORCHINDUCTOR_CACHE_DIR=str(tmp_path)
    )
    assert printed.strip() == str(known)


@pytest.mark.compiler
def test_ahead_of_time_and_without_python(tmp_path: Path) -> None:
    """AOTInductor's package, and the wrapper in C++."""

    class Network(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.selu(x) * F.elu(x + 1)

    x = sample(67)
    with keep_operators():
        program = torch.export.export(Network(), (x,))
    path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "a.pt2"))
    assert_same_bits(torch._inductor.aoti_load_package(path)(x), Network()(x))
    with torch._inductor.config.patch(cpp_wrapper=True):
        result, code = compiled(Network(), x)
    assert calls(code)
    assert_same_bits(result, Network()(x))

"""Compiled programs that know nothing of this package, while ``enable()`` is on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._inductor.utils import run_and_get_code, run_fw_bw_and_get_code
from torch.testing._internal.common_methods_invocations import op_db

import activations_ext
from activations_ext import _inductor, cpu_capability
from helpers import CAPABILITIES, assert_same_bits, run_python, sample, ulp_errors

pytestmark = pytest.mark.skipif(cpu_capability() == "DEFAULT", reason="torch's own code")

MOST_ULP = {
    "exp": 1.1,
    "exp2": 1.1,
    "expm1": 1.6,
    "log": 1.0,
    "log1p": 1.5,
    "tanh": 1.9,
    "sigmoid": 2.1,
    "erf": 2.3,
    "erfc": 2.6,
}
"""docs/compiled.md states them."""
SPECIAL = torch.tensor(
    [
        *(0.0, -0.0, 1e-40, -1e-40, 1e-45, math.inf, -math.inf, math.nan, 88.7, 89.5, 127.99),
        *(128.0, -1.0, -2.0, 1e30, 3.4e38, -3.4e38, -103.9, -104.1, -126.5, -149.5, -150.5),
    ]
)
OURS = "activations_ext::compiled::of<"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    activations_ext.disable()
    torch._dynamo.reset()


def compiled(function: Callable[..., Any], *inputs: Any) -> tuple[Any, str]:
    """The result, and the code that was generated."""
    torch._dynamo.reset()
    result, codes = run_and_get_code(
        torch.compile(function, fullgraph=True, dynamic=False), *inputs
    )
    return result, "\n".join(codes)


def every(x: Tensor) -> list[Tensor]:
    return [getattr(torch, name)(x) for name in MOST_ULP]


@pytest.mark.compiler
def test_every_function() -> None:
    """As exact as is stated, on all sizes of numbers, and torch's results at special ones."""
    assert set(MOST_ULP) == set(_inductor._FUNCTIONS)
    bits = torch.arange(0, 2**31 - 2**23, 19_997).to(torch.int32).view(torch.float32)
    x = torch.cat([bits, -bits, torch.linspace(-12, 12, 200_001), sample(10_000)])
    special = SPECIAL.repeat(4)
    with activations_ext.enabled():
        (results, at_special), code = compiled(lambda y, s: (every(y), every(s)), x, special)
    wanted = every(special)
    for i, (name, most) in enumerate(MOST_ULP.items()):
        assert f"{OURS}activations_ext::compiled::{name}>" in code
        errors = ulp_errors(results[i], getattr(torch, name)(x.double()))
        worst = int(errors.argmax())
        assert errors[worst] <= most, f"{name}({x[worst].item()!r})"
        torch.testing.assert_close(
            at_special[i], wanted[i], rtol=5e-7, atol=1e-44, equal_nan=True, msg=name
        )
        zero = wanted[i] == 0
        assert torch.equal(at_special[i][zero].signbit(), wanted[i][zero].signbit()), name


LOOPS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1),
    "logsumexp of columns": lambda x: x.logsumexp(0),
    "sum": lambda x: torch.sigmoid(x).sum(),
    "masked": lambda x: torch.nn.functional.pad(torch.exp(x), (3, 2)),
    "attention": lambda x: (x @ x.t()).masked_fill(x[:, :7] > 0, -math.inf).softmax(-1) @ x,
    "where": lambda x: torch.where(x > 0, torch.log1p(x.abs()), torch.erf(x)),
    "gelu": torch.nn.functional.gelu,
    "mish": torch.nn.functional.mish,
    "transposed": lambda x: torch.tanh(x.t()).contiguous(),
    "into bfloat16": lambda x: torch.exp(x).bfloat16(),
    "of bfloat16": lambda x: torch.exp(x.bfloat16()),
    "of float16": lambda x: torch.sigmoid(x.half()),
    "of integers": lambda x: torch.tanh(x.long()),
}


@pytest.mark.compiler
def test_loops() -> None:
    # Inductor drops a rounding to 16 bits between two of its operations.
    x = sample(7 * 83).clamp(-9, 9).bfloat16().float().view(7, 83)
    loops = list(LOOPS.values())
    with activations_ext.enabled():
        results, code = compiled(lambda y: [loop(y) for loop in loops], x)
    assert code.count(OURS) >= len(loops)
    for (name, loop), result in zip(LOOPS.items(), results, strict=True):
        tolerance = max(4e-6, torch.finfo(result.dtype).eps)
        torch.testing.assert_close(
            result, loop(x), rtol=tolerance, atol=4e-6, msg=lambda t, name=name: f"{name}: {t}"
        )


SLOW: dict[str, Callable[[Tensor], Tensor]] = {
    "mish": torch.nn.functional.mish,
    "softplus": torch.nn.functional.softplus,
    "softplus(2, 5)": lambda x: torch.nn.functional.softplus(x, 2.0, 5),
    "logsigmoid": torch.nn.functional.logsigmoid,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", SLOW)
@pytest.mark.compiler
def test_what_inductor_makes_of_several_functions(name: str, dtype: torch.dtype) -> None:
    function = SLOW[name]
    x = torch.cat([SPECIAL, sample(500)]).to(dtype)
    x = x[x.isfinite()].requires_grad_()
    grad = sample(len(x), seed=2).clamp(-9, 9).to(dtype)

    with activations_ext.enabled():
        torch._dynamo.reset()
        step = torch.compile(function, fullgraph=True)
        result, codes = run_fw_bw_and_get_code(lambda: step(x))
        (gradient,) = torch.autograd.grad(step(x), x, grad)
    assert all(f'call<"{name.split("(")[0]}"' in code for code in codes)
    exact = function(x.double())
    assert ulp_errors(result, exact).max() <= (4.0 if dtype == torch.float32 else 0.52)
    (wanted,) = torch.autograd.grad(function(x), x, grad)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(gradient, wanted, rtol=8 * eps, atol=16 * eps)


@pytest.mark.compiler
def test_float64_stays_torchs() -> None:
    x = sample(300, torch.float64)
    with activations_ext.enabled():
        _, code = compiled(every, x)
    assert OURS not in code


@pytest.mark.compiler
def test_disable_restores() -> None:
    """The caches, which outlive Dynamo's, know whether it is on."""
    x = sample(300)

    def function(y: Tensor) -> Tensor:
        return torch.exp(y) * torch.tanh(y) + 0.4321

    before, code = compiled(function, x)
    assert OURS not in code
    activations_ext.enable()
    _, code = compiled(function, x)
    assert OURS in code
    with activations_ext.enabled():
        pass
    _, code = compiled(function, x)
    assert OURS in code
    activations_ext.disable()
    after, code = compiled(function, x)
    assert OURS not in code
    assert_same_bits(after, before)


@pytest.mark.compiler
def test_a_compiler_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inductor, "_compiles", lambda: False)
    x = sample(50)
    with activations_ext.enabled():
        _, code = compiled(lambda y: torch.exp(y) + 0.1234, x)
    assert OURS not in code


@pytest.mark.compiler
def test_training() -> None:
    x = sample(31 * 40).clamp(-9, 9).view(31, 40).requires_grad_()

    def loss(y: Tensor) -> Tensor:
        hidden = torch.nn.functional.gelu(2 * y) + torch.tanh(y) + torch.nn.functional.softplus(y)
        return torch.nn.functional.cross_entropy(hidden, torch.arange(31))

    with activations_ext.enabled():
        (ours,) = torch.autograd.grad(torch.compile(loss, fullgraph=True)(x), x)
    (wanted,) = torch.autograd.grad(loss(x), x)
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-6)


OPERATORS = [
    *("exp", "exp2", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "erfc", "logit"),
    *("logaddexp", "logsumexp", "softmax", "log_softmax", "special.ndtr", "special.log_ndtr"),
    *("special.entr", "special.erfcx", "xlogy", "masked.softmax", "masked.logsumexp"),
    *("nn.functional.gelu", "nn.functional.silu", "nn.functional.mish", "nn.functional.elu"),
    *("nn.functional.softplus", "nn.functional.logsigmoid", "nn.functional.tanhshrink"),
    *("nn.functional.cross_entropy", "nn.functional.binary_cross_entropy_with_logits"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.compiler
def test_torchs_samples(dtype: torch.dtype) -> None:
    """Of torch's own tests of these operators under Inductor the samples, all in one graph."""
    names, calls = [], []
    for op in op_db:
        name = op.full_name
        if name not in OPERATORS or dtype not in op.dtypes:
            continue
        torch.manual_seed(0)
        for s in list(op.sample_inputs("cpu", dtype))[:6]:
            if isinstance(s.input, Tensor) and not s.kwargs.get("dropout_p"):
                names.append(name)
                calls.append((op, s.input, s.args, s.kwargs))
    assert dtype != torch.float32 or set(names) == set(OPERATORS)

    def run() -> list[Tensor]:
        return [op.op(input, *args, **kwargs) for op, input, args, kwargs in calls]

    with activations_ext.enabled():
        results, code = compiled(run)
    assert code.count(OURS) > len(OPERATORS)
    # Of 16 bits eager torch rounds more often than any compiled code.
    expected = run() if dtype == torch.float32 else compiled(run)[0]
    for name, result, wanted in zip(names, results, expected, strict=True):
        torch.testing.assert_close(
            result, wanted, equal_nan=True, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.slow
def test_each_instruction_set(capability: str) -> None:
    program = """
import torch, activations_ext
from test_compiled_enabled import OURS, compiled, every
from helpers import sample
x = sample(1003)
with activations_ext.enabled():
    results, code = compiled(every, x)
for result, wanted in zip(results, every(x), strict=True):
    torch.testing.assert_close(result, wanted, rtol=5e-7, atol=1e-44, equal_nan=True)
print(OURS in code)
"""
    printed = run_python(program, ATEN_CPU_CAPABILITY=capability)
    assert printed.strip() == str(capability != "default")

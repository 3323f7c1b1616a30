"""torch's own samples and error inputs for its functions (op_db) and modules (module_db), run on
ours. A difference is allowed only where ours is nearer to the float64 result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

from activations_ext import functional as F
from activations_ext import nn
from cases import BOUNDED
from helpers import DTYPES, sample, ulp_errors

pytestmark = pytest.mark.each_capability

# Of rows and losses, with tests of their own, which use these samples too.
ROWS = {"softmax", "softmin", "log_softmax", "cross_entropy", "nll_loss"}
ROWS |= {"binary_cross_entropy_with_logits", "linear_cross_entropy"}
ROW_MODULES = {"Softmax", "Softmin", "LogSoftmax", "Softmax2d", "CrossEntropyLoss", "NLLLoss"}
ROW_MODULES |= {"BCEWithLogitsLoss", "LinearCrossEntropyLoss"}

OPS = {op.name: op for op in op_db if op.variant_test_name == ""}
FUNCTIONS: dict[str, tuple[Any, Callable[..., Tensor]]] = {}
for _name in F.OWN:
    _op = OPS.get(f"nn.functional.{_name}", OPS.get(_name))
    if callable(getattr(F, _name)) and _op is not None and _name not in ROWS:
        FUNCTIONS[_name] = (_op, getattr(F, _name))
MODULES = {
    info.module_cls.__name__: info
    for info in module_db
    if info.module_cls.__name__ in set(nn.OWN) - ROW_MODULES
}


def doubled(value: Any, dtype: torch.dtype) -> Any:
    """A tensor in float64; a number as ``dtype`` holds it."""
    if isinstance(value, Tensor):
        return value.detach().double().requires_grad_(value.requires_grad)
    if isinstance(value, float):
        return torch.tensor(value, dtype=dtype).item()
    return value


def values_and_gradients(
    function: Callable[..., Tensor], input: Tensor, arguments: Any, keywords: dict[str, Any]
) -> list[Tensor]:
    """The result, and the gradients of every tensor that wants one under a grad_output of its own
    in every element."""
    wanted = [t for t in (input, *arguments) if isinstance(t, Tensor) and t.requires_grad]
    result = function(input, *arguments, **keywords)
    if not wanted:
        return [result.detach()]
    grad_output = sample(result.numel(), result.dtype, seed=5).clamp(-9, 9).view(result.shape)
    return [result.detach(), *torch.autograd.grad(result, wanted, grad_output)]


def assert_as_near(ours: list[Tensor], torchs: list[Tensor], exact: list[Tensor]) -> None:
    """Within 2 ULP (values), 4 eps of the terms (gradients), or else no further off than torch."""
    # float64's 1 + erf(x) in gelu loses its last digits.
    slacks = [1e-14]
    for gradient in ours[1:]:  # the weight's is a sum
        terms = exact[0].numel() / max(1, gradient.numel())
        slacks.append(36 * torch.finfo(gradient.dtype).eps * terms)
    assert len(ours) == len(torchs) == len(exact)
    for o, t, e, slack in zip(ours, torchs, exact, slacks, strict=True):
        if o.numel() == 0:
            continue
        assert (o.dtype, o.shape, o.stride()) == (t.dtype, t.shape, t.stride())
        if o.dtype == torch.float64:
            torch.testing.assert_close(o, t, rtol=1e-7, atol=1e-12, equal_nan=True)
            continue
        errors, theirs = ulp_errors(o, e, slack), ulp_errors(t, e, slack)
        wrong = errors > theirs.max().clamp_min(2.0)
        assert not wrong.any(), (o[wrong], t[wrong], e[wrong])


def comparable(name: str, keywords: dict[str, Any]) -> bool:
    return not (name == "rrelu" and keywords.get("training"))  # whose numbers are drawn


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, dtype: torch.dtype) -> None:
    op, function = FUNCTIONS[name]
    count = 0
    for s in op.sample_inputs("cpu", dtype, requires_grad=True):
        if not comparable(name, s.kwargs):
            assert function(s.input, *s.args, **s.kwargs).shape == s.input.shape
            continue
        ours = values_and_gradients(function, s.input, s.args, s.kwargs)
        torchs = values_and_gradients(op.op, s.input, s.args, s.kwargs)
        rounding = dtype if BOUNDED.get(name) else torch.float64
        exact = values_and_gradients(
            op.op,
            doubled(s.input, dtype),
            [doubled(value, rounding) for value in s.args],
            {key: doubled(value, rounding) for key, value in s.kwargs.items()},
        )
        assert_as_near(ours, torchs, exact)
        count += 1
    assert count > 0


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if hasattr(F, name + "_")])
def test_in_place_functions(name: str) -> None:
    op, _ = FUNCTIONS[name]
    for s in op.sample_inputs("cpu", torch.float32, requires_grad=True):
        keywords = {key: value for key, value in s.kwargs.items() if key != "inplace"}
        if not comparable(name, keywords):
            continue
        results = []
        for library in (F, torch.nn.functional):
            function = getattr(library, name + "_")
            results.append(
                values_and_gradients(
                    lambda x, *a, f=function, **k: f(x.clone(), *a, **k), s.input, s.args, keywords
                )
            )
        for ours, torchs in zip(*results, strict=True):
            torch.testing.assert_close(ours, torchs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [n for n, (op, _) in FUNCTIONS.items() if op.error_inputs_func])
def test_what_torch_refuses_is_refused(name: str) -> None:
    """With its type of error."""
    op, function = FUNCTIONS[name]
    for error in op.error_inputs("cpu"):
        s = error.sample_input
        with pytest.raises(error.error_type):
            function(s.input, *s.args, **s.kwargs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str, dtype: torch.dtype) -> None:
    info = MODULES[name]
    inputs = info.module_inputs_func(info, "cpu", dtype, requires_grad=True, training=False)
    count = 0
    for s in inputs:
        input = s.forward_input.args[0].detach().requires_grad_()
        ours = built(nn, name, s, torch.float64).to(dtype)
        torchs = built(torch.nn, name, s, torch.float64).to(dtype)
        rounding = dtype if BOUNDED.get(name.lower()) else torch.float64
        exact = built(torch.nn, name, s, rounding)
        exact.double().load_state_dict(ours.state_dict())
        torchs.load_state_dict(ours.state_dict())
        assert_as_near(
            values_and_gradients(lambda x, m=ours: m(x.clone()), input, (), {}),
            values_and_gradients(lambda x, m=torchs: m(x.clone()), input, (), {}),
            values_and_gradients(
                lambda x, m=exact: m(x.clone()), doubled(input, dtype).requires_grad_(), (), {}
            ),
        )
        count += 1
    assert count > 0


def built(library: Any, name: str, sample: Any, rounding: torch.dtype) -> torch.nn.Module:
    """The sample's module, its numbers as ``rounding`` holds them."""
    arguments = [doubled(value, rounding) for value in sample.constructor_input.args]
    keywords = sample.constructor_input.kwargs.items()
    module: torch.nn.Module = getattr(library, name)(
        *arguments, **{key: doubled(value, rounding) for key, value in keywords}
    )
    return module.eval()


def test_nothing_is_missing() -> None:
    """Every function and module that torch has samples for is tested."""
    of_torch = {name for name in F.OWN if hasattr(torch.nn.functional, name)}
    assert {n for n in of_torch if not n.endswith("_")} - set(FUNCTIONS) <= ROWS
    without = {
        "functional",
        "Hardsigmoid",
        "RReLU",
        *ROW_MODULES,
    }  # torch has no samples of the first two
    assert {name for name in nn.OWN if hasattr(torch.nn, name)} - set(MODULES) <= without

"""What is refused, with torch's type of error and a text that names the argument, what was
expected and what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as torch_functional
from torch import Tensor

from activations_ext import functional as F
from activations_ext import nn
from helpers import CASES, DEFAULT_CASES, INPLACE_CASES, Case, assert_same_bits, case_of, sample

every_case = pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)


def error_of(function: Callable[[], Any]) -> type[BaseException] | None:
    """The type that a call of torch raises, None if it does not."""
    try:
        function()
    except Exception as error:
        return type(error)
    return None


UNSUPPORTED = {
    "int64": lambda: torch.arange(3),
    "int32": lambda: torch.arange(3, dtype=torch.int32),
    "bool": lambda: torch.tensor([True]),
    "complex64": lambda: torch.zeros(2, dtype=torch.complex64),
    "float8_e4m3fn": lambda: torch.zeros(2).to(torch.float8_e4m3fn),
}


@every_case
@pytest.mark.parametrize("dtype", UNSUPPORTED)
def test_the_operators_take_floating_point_only(case: Case, dtype: str) -> None:
    """The functions go to torch's (test_fallback.py); an operator says what it takes."""
    came = {"int64": "Long", "int32": "Int", "bool": "Bool", "complex64": "ComplexFloat"}.get(
        dtype, "Float8_e4m3fn"
    )
    pattern = rf"{case.name}.*'input'.*float32, float64, bfloat16 or float16.*{came}"
    with pytest.raises(NotImplementedError, match=pattern):
        case.operator()(UNSUPPORTED[dtype](), *case.parameters)


@every_case
def test_meta_tensors_have_shapes_and_strides(case: Case) -> None:
    """No memory, yet everything else: as large as one likes, gradients included."""
    input = torch.empty(2**40, 3, device="meta").t().requires_grad_()
    result = case(input)
    assert result.device.type == "meta"
    assert (result.shape, result.stride()) == (input.shape, input.stride())
    (grad,) = torch.autograd.grad(result, input, torch.empty_like(result))
    assert grad.shape == input.shape
    with pytest.raises(NotImplementedError, match="'input'"):
        case.operator()(torch.empty(3, dtype=torch.int64, device="meta"), *case.parameters)


@every_case
def test_not_a_tensor(case: Case) -> None:
    for wrong in ([1.0], 1.0, None, "x"):
        with pytest.raises(
            TypeError, match=rf"{case.name}.*'input'.*Tensor.*{type(wrong).__name__}"
        ):
            case(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", [c for c in DEFAULT_CASES if c.parameters], ids=str)
def test_a_parameter_that_is_not_a_number(case: Case) -> None:
    for position, name in enumerate(case.activation.defaults):
        for wrong in ("a", None, [1.0]):
            parameters: list[Any] = list(case.parameters)
            parameters[position] = wrong
            with pytest.raises(TypeError, match=rf"'{name}'.*number.*{type(wrong).__name__}"):
                case.activation.function(sample(3), *parameters)
            with pytest.raises(TypeError):
                case.activation.reference(sample(3), *parameters)


WRONG_VALUES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], str]] = {
    "hardtanh": (
        lambda x: F.hardtanh(x, 1.0, -1.0),
        lambda x: torch_functional.hardtanh(x, 1.0, -1.0),
        r"'min_val'.*'max_val'.*1 > -1",
    ),
    "softshrink": (
        lambda x: F.softshrink(x, -1.0),
        lambda x: torch_functional.softshrink(x, -1.0),
        r"'lambd'.*at least 0.*-1",
    ),
    "gelu": (
        lambda x: F.gelu(x, approximate="sigmoid"),
        lambda x: torch_functional.gelu(x, approximate="sigmoid"),
        r"approximate.*none.*tanh.*sigmoid",
    ),
    "prelu": (
        lambda x: F.prelu(x, torch.ones(3)),
        lambda x: torch_functional.prelu(x, torch.ones(3)),
        r"'weight'.*(2|1)\b.*3",
    ),
    "prelu, two-dimensional weight": (
        lambda x: F.prelu(x, torch.ones(2, 2)),
        lambda x: torch_functional.prelu(x, torch.ones(2, 2)),
        r"'weight'",
    ),
    "rrelu": (
        lambda x: F.rrelu(x, 1.0, 0.5, training=True),
        lambda x: torch_functional.rrelu(x, 1.0, 0.5, training=True),
        r"'lower'.*'upper'.*1.*0\.5",
    ),
    "rrelu, infinite": (
        lambda x: F.rrelu(x, 0.0, float("inf"), training=True),
        lambda x: torch_functional.rrelu(x, 0.0, float("inf"), training=True),
        r"'upper'.*finite.*inf",
    ),
    "shift_dropout": (
        lambda x: F.shift_dropout(x, 1.5),
        lambda x: torch_functional.dropout(x, 1.5),
        r"p\b.*between 0 and 1.*1\.5",
    ),
    "shift_dropout, negative": (
        lambda x: F.shift_dropout(x, -0.1),
        lambda x: torch_functional.dropout(x, -0.1),
        r"p\b.*between 0 and 1.*-0\.1",
    ),
}


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_parameters_out_of_range(name: str) -> None:
    ours, torchs, pattern = WRONG_VALUES[name]
    expected = error_of(lambda: torchs(torch.zeros(2, 2)))
    assert expected is not None
    with pytest.raises(expected, match=pattern):
        ours(torch.zeros(2, 2))


def test_celu_with_alpha_zero() -> None:
    """torch's modules raise ZeroDivisionError, its operator a RuntimeError of that name."""
    with pytest.raises((ZeroDivisionError, RuntimeError), match=r"alpha.*0"):
        F.celu(torch.zeros(2), 0.0)
    with pytest.raises((ZeroDivisionError, RuntimeError), match=r"alpha.*0"):
        F.celu(torch.zeros(2, device="meta"), 0.0)


def test_parameters_are_checked_in_place_and_under_grad_too() -> None:
    for input in (torch.zeros(2), torch.zeros(2, requires_grad=True) * 1):
        with pytest.raises(ValueError, match="min_val"):
            F.hardtanh(input, 1.0, -1.0, inplace=True)
        assert (input == 0).all()
        assert input._version == 0


@every_case
@pytest.mark.parametrize("suffix", ["_backward", "_curvature"])
def test_operands_that_do_not_match(case: Case, suffix: str) -> None:
    operator = case.operator(suffix)
    for device in ("cpu", "meta"):
        ones = torch.ones(4, device=device)
        with pytest.raises(
            RuntimeError, match=rf"{case.name}.*'grad_output'.*dtype.*Float.*Double"
        ):
            operator(ones.double(), ones, *case.parameters)
        with pytest.raises(RuntimeError, match=rf"{case.name}.*'grad_output'.*shape.*\[4\].*\[3\]"):
            operator(ones[:3], ones, *case.parameters)
        with pytest.raises(NotImplementedError, match=rf"{case.name}.*'saved'.*Long"):
            operator(ones, ones.long(), *case.parameters)


def test_in_place_on_shared_elements() -> None:
    """Expanded memory: one element would be written several times."""
    for case in INPLACE_CASES:
        shared = torch.zeros(1).expand(3)
        with pytest.raises(RuntimeError, match="single memory location"):
            case(shared, inplace=True)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_negative_and_conjugate_bits(case: Case) -> None:
    """Tensors that only look dense: the imaginary part of a conjugate is negated when read."""
    lazy = torch.complex(sample(20), sample(20, seed=1)).conj().imag
    assert lazy.is_neg()
    assert_same_bits(case(lazy), case(lazy.resolve_neg().clone()))
    lazy = lazy.detach().requires_grad_()
    plain = lazy.detach().resolve_neg().clone().requires_grad_()
    grads = [torch.autograd.grad(case(x), x, sample(20, seed=2))[0] for x in (lazy, plain)]
    assert_same_bits(grads[0].resolve_neg(), grads[1])


class Logged(torch.Tensor):
    """A subclass that notes which functions it was given to."""

    seen: list[Any] = []  # noqa: RUF012

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        cls.seen.append(function)
        return super().__torch_function__(function, types, arguments, keywords or {})


@every_case
def test_subclasses_see_the_function(case: Case) -> None:
    Logged.seen.clear()
    plain = sample(10)
    result = case(plain.as_subclass(Logged))
    assert isinstance(result, Logged)
    assert_same_bits(result.as_subclass(torch.Tensor), case(plain))
    assert case.activation.function in Logged.seen


def test_functions_and_modes_of_dispatch_see_the_operator() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    seen: list[str] = []

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(
            self, function: Any, types: Any, arguments: Any = (), keywords: Any = None
        ) -> Any:
            seen.append(str(function))
            return function(*arguments, **(keywords or {}))

    x = sample(5).requires_grad_()
    with Mode():
        for case in DEFAULT_CASES:
            result = case(x)
            result.backward(torch.ones(5))
            assert f"activations_ext.{case.name}.default" in seen
            assert f"activations_ext.{case.name}_backward.default" in seen


def test_modules_refuse_what_torchs_do() -> None:
    for make in (nn.Hardtanh, torch.nn.Hardtanh):
        with pytest.raises((ValueError, AssertionError)):
            make(1.0, -1.0)
    assert error_of(lambda: torch.nn.Dropout(2.0)) is ValueError
    with pytest.raises(ValueError, match=r"between 0 and 1.*2"):
        nn.ShiftDropout(2.0)
    assert case_of("elu").activation.module is not None

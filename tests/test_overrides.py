"""Whoever overrides ``__torch_function__``, and torch.fx, is shown the public function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as torch_functional
from torch import Tensor
from torch.overrides import TorchFunctionMode

from activations_ext import functional as F
from activations_ext import nn
from helpers import DEFAULT_CASES, Case, assert_same_bits, sample
from test_interface import FUNCTIONS, MODULES, make

Seen = tuple[object, tuple[Any, ...], dict[str, Any]]


class Watched(Tensor):
    """Writes down what its ``__torch_function__`` is shown first."""

    seen: list[Seen]

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        cls.seen.append((func, args[1:], kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs or {})


def shown_first(function: Callable[..., Tensor], *arguments: Any, **keywords: Any) -> Seen:
    Watched.seen = []
    result = function(sample(6).reshape(2, 3).as_subclass(Watched), *arguments, **keywords)
    assert type(result) is Watched
    return Watched.seen[0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_subclasses_see_the_public_function(name: str) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "logsumexp": (1,),
        "prelu": (torch.ones(3),),
        "threshold": (0.1, 20.0),
        "threshold_": (0.1, 20.0),
    }
    function, args, keywords = shown_first(getattr(F, name), *arguments.get(name, ()))
    assert function is getattr(F, name.removesuffix("_"))
    torchs = getattr(torch_functional, name, None)
    if inspect.isfunction(torchs) and name not in ("sigmoid", "tanh", "tanhshrink", "threshold"):
        assert (args, keywords) == shown_first(torchs)[1:]


def test_subclasses_see_a_weight_and_may_be_one() -> None:
    Watched.seen = []
    result = F.prelu(sample(6).reshape(2, 3), torch.ones(3).as_subclass(Watched))
    assert Watched.seen[0][0] is F.prelu
    assert type(result) is Watched


@pytest.mark.parametrize("name", ["elu", "gelu", "shift_dropout"])
@pytest.mark.compiler
def test_subclasses_stay_what_they_are_under_compile(name: str) -> None:
    class Plain(Tensor):
        pass

    compiled: Any = torch.compile(getattr(F, name), fullgraph=True, backend="eager")
    assert type(compiled(sample(6).as_subclass(Plain))) is Plain


@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
def test_modes_see_the_public_function(case: Case) -> None:
    seen = []

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    input = sample(10)
    with Mode():
        result = case(input)
    assert seen[0] is case.activation.function
    assert_same_bits(result, case(input))


@pytest.mark.parametrize("name", MODULES)
def test_fx_traces_the_function(name: str) -> None:
    module, input = make(nn, name), sample(12).reshape(4, 3)

    class Outer(torch.nn.Module):
        """A module that is called is a leaf (test_form.py)."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.inner.forward(x)
            return result

    graph = torch.fx.symbolic_trace(Outer())
    functions = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    assert [getattr(F, function.__name__) for function in functions] == functions
    assert len(functions) == 1
    assert_same_bits(graph(input.clone()), module(input.clone()))


def test_a_mode_costs_no_signature_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading one takes 50 µs, ten times the rest of the call."""

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return func(*args, **(kwargs or {}))

    def refuse(*_: Any) -> None:
        raise AssertionError("a signature was read")

    x = sample(10)
    functions = (F.elu, F.gelu, lambda y: F.softmax(y, 0), lambda y: F.prelu(y, torch.ones(1)))
    with Mode():
        for function in functions:
            function(x)
        monkeypatch.setattr(inspect, "signature", refuse)
        for function in functions:
            function(x)

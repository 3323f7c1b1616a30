"""Every public name is documented: what it computes, its arguments, and an example that runs."""

from __future__ import annotations

import doctest
import inspect
from typing import Any

import pytest
import torch

import activations_ext
from activations_ext import compiled, export, functional, likelihood, monitor, nn


def ours(module: Any) -> dict[str, Any]:
    """The functions and classes in ``__all__`` that are not torch's."""
    found = {name: getattr(module, name) for name in module.__all__}
    return {
        f"{module.__name__}.{name}": value
        for name, value in found.items()
        if (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__.startswith("activations_ext.")
    }


FUNCTIONS = {
    name: function for name, function in ours(functional).items() if not name.endswith("_")
}
MODULES = ours(nn)
OTHERS = {
    **ours(activations_ext),
    **{
        f"{module.__name__}.{name}": getattr(module, name)
        for module, names in (
            (likelihood, [n for n in likelihood.__all__ if n[0].isupper() and n != "Likelihood"]),
            (monitor, ("ActivationMonitor",)),
            (compiled, ("in_compiled_graphs",)),
            (export, ("keep_operators", "to_torch_")),
        )
        for name in names
    },
}


@pytest.mark.parametrize("name", [*FUNCTIONS, *MODULES, *OTHERS])
def test_the_example_runs(name: str) -> None:
    documented = {**FUNCTIONS, **MODULES, **OTHERS}[name]
    text = inspect.getdoc(documented)
    assert text, "no docstring"
    names = {"torch": torch, "F": functional, "nn": nn, "activations_ext": activations_ext}
    test = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    assert test.examples, "no example"
    messages: list[str] = []
    torch.manual_seed(0)
    try:
        result = doctest.DocTestRunner(verbose=False).run(test, out=messages.append)
    finally:
        activations_ext.disable()
    assert result.failed == 0, "".join(messages)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_arguments_are_documented(name: str) -> None:
    function, text = FUNCTIONS[name], inspect.getdoc(FUNCTIONS[name]) or ""
    if "see ``" in text:
        return
    for argument in inspect.signature(function).parameters:
        if not argument.startswith("_"):
            assert f"{argument}:" in text or f"{argument}," in text, argument


def test_they_are_not_few() -> None:
    assert len(FUNCTIONS) >= 37
    assert len(MODULES) >= 35

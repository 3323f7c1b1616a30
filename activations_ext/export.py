"""The way out: what is exported, traced or scripted holds torch's own operators and modules, so
that it loads where this package is not installed, and other runtimes know what they read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from activations_ext._torchs import torchs


class _Switch(threading.local):
    """Per thread. A ContextVar would be per task, but Dynamo cannot trace its ``get``."""

    keep = False


_switch = _Switch()


@contextmanager
def keep_operators() -> Iterator[None]:
    """Within it, on this thread, exports and traces hold ``torch.ops.activations_ext``: for running
    them here.

    Example:
        >>> with activations_ext.export.keep_operators():
        ...     traced = torch.jit.trace(F.mish, torch.ones(3))
        >>> "activations_ext::mish" in str(traced.graph)
        True
    """
    before, _switch.keep = _switch.keep, True
    try:
        yield
    finally:
        _switch.keep = before


def uses_torchs() -> bool:
    """Whether something is being exported or traced that should hold torch's own operators."""
    if _switch.keep:
        return False
    return torch.compiler.is_exporting() or (
        not torch.compiler.is_dynamo_compiling() and torch.jit.is_tracing()  # type: ignore[attr-defined]
    )


def to_torch_(model: torch.nn.Module) -> torch.nn.Module:
    """Have the modules of this package in ``model`` call torch's functions, and return it.

    They are of torch's types already, and so it is for files that are to load where this package
    is not installed. Parameters, buffers, hooks and names stay. What torch cannot do stays ours:
    modules that it lacks, and losses with options beyond it.

    Example:
        >>> model = activations_ext.export.to_torch_(nn.Sequential(nn.Linear(2, 2), nn.Mish()))
        >>> torch.save(model, "network.pt")  # loads without this package  # doctest: +SKIP
    """
    from activations_ext.nn.form import to_torchs

    for module in model.modules():
        to_torchs(module)
    return model


def script_as_torchs(functions: Iterable[Callable[..., Any]]) -> None:
    """Show torch.jit.script torch's functions, or formulas of what torch lacks, in their place."""
    for function in functions:
        try:
            own = torchs(function.__name__)
        except AttributeError:  # torch before 2.13 has no linear_cross_entropy
            continue
        builtin = torch.jit._builtins._find_builtin(own)
        if builtin is not None:  # "aten::gelu", which has no source to compile
            torch.jit._builtins._register_builtin(function, builtin)
        else:
            function.__prepare_scriptable__ = lambda own=own: own  # type: ignore[attr-defined]

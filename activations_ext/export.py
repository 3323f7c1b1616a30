"""The way out: what is exported, traced or scripted holds torch's own operators and modules, so
that it loads where this package is not installed, and other runtimes know what they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from activations_ext._torchs import torchs

_keep = False


@contextmanager
def keep_operators() -> Iterator[None]:
    """Within it, exports and traces hold ``torch.ops.activations_ext``: for running them here."""
    global _keep
    before, _keep = _keep, True
    try:
        yield
    finally:
        _keep = before


def uses_torchs() -> bool:
    """Something is being exported or traced, and is to hold torch's own operators."""
    if _keep:
        return False
    return torch.compiler.is_exporting() or (
        not torch.compiler.is_dynamo_compiling() and torch.jit.is_tracing()  # type: ignore[attr-defined]
    )


def to_torch_(model: torch.nn.Module) -> torch.nn.Module:
    """Turn the modules of this package in ``model`` into torch's, in place, and return it.

    For tools that look at the exact types of modules, as ``torch.ao.quantization.fuse_modules``
    does. Parameters, buffers, hooks and names stay. Modules that torch lacks stay, too, as do
    options beyond torch.
    """
    for module in model.modules():
        own = torchs_class(type(module))
        if own is not None:
            module.__class__ = own
    return model


def torchs_class(ours: type[torch.nn.Module]) -> type[torch.nn.Module] | None:
    """torch's class of which ``ours``, a class of this package, is the fast version, if any."""
    if not ours.__module__.startswith("activations_ext."):
        return None
    (base, *_) = ours.__bases__
    of_torch = base.__module__.startswith("torch.nn.") and base is not torch.nn.Module
    return base if of_torch else None


def prepare_scriptable(module: torch.nn.Module) -> torch.nn.Module:
    """``__prepare_scriptable__``: what torch.jit.script compiles in the place of ``module``."""
    own = torchs_class(type(module))
    if own is None:
        return module
    twin = own.__new__(own)
    twin.__dict__ = module.__dict__
    return twin


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

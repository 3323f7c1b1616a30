"""This package's kernels behind torch's own operators, for unchanged programs.

``enable()`` puts them in the dispatcher, so that everything that ends in ``aten::gelu``,
``aten::tanh_backward``, ``aten::cross_entropy_loss``, … on the CPU runs them: ``x.tanh()``,
``torch.nn.GELU()``, the inside of ``torch.nn.TransformerEncoderLayer``, other people's libraries.
Autograd, names, export, hooks and tools stay torch's. What the kernels do not take (integers,
complex numbers, other layouts) and every error go to torch's own kernels.

What ``torch.compile`` compiles meanwhile computes float32's exp, log, tanh, … by our vector code
(``_inductor.py``), and keeps that code until ``torch.compiler.reset()``.
"""

from __future__ import annotations

import threading
from contextlib import ContextDecorator

import activations_ext._C as _C
from activations_ext._kernels import cpu_capability, is_reproducible

FASTER: dict[str, tuple[str, ...]] = {
    "AVX2": (
        *("elu", "sigmoid", "tanh", "softplus", "gelu", "silu", "mish"),
        "cross_entropy_loss",
    ),
    "AVX512": (
        *("elu", "sigmoid", "tanh", "softplus", "gelu", "mish", "exp"),
        "cross_entropy_loss",
    ),
}
"""By instruction set: the functions that had at least 0.98 of torch's speed everywhere from 16 to
32M elements, twice; ``python -m benchmarks.enabled``, benchmarks/results/enabled-*.md."""

_lock = threading.Lock()
_lasting: bool | None = None
_contexts: list[bool] = []


def enable(all: bool = False) -> None:
    """Replace torch's CPU kernels, in every thread, until ``disable()``.

    Args:
        all: also the functions that were not measured to be faster than torch's on this
            instruction set.

    Example:
        >>> activations_ext.enable(all=True)
        >>> "aten::mish" in activations_ext.replaced()
        True
        >>> activations_ext.disable()
    """
    global _lasting
    with _lock:
        _lasting = all
        _apply()


def disable() -> None:
    """Undo ``enable()``. Within ``enabled()`` the kernels stay until that ends.

    Example:
        >>> activations_ext.enable()
        >>> activations_ext.disable()
        >>> activations_ext.replaced()
        ()
    """
    global _lasting
    with _lock:
        _lasting = None
        _apply()


class enabled(ContextDecorator):
    """Within it, torch's CPU kernels are replaced as by ``enable()``, in every thread.

    May be nested, and used by several threads at once: the last to leave puts torch's back.

    Args:
        all: as ``enable``'s.

    Example:
        >>> with activations_ext.enabled(all=True):
        ...     y = torch.nn.functional.mish(torch.ones(3))  # our kernel
    """

    def __init__(self, all: bool = False) -> None:
        self.all = all

    def __enter__(self) -> None:
        with _lock:
            _contexts.append(self.all)
            _apply()

    def __exit__(self, *_: object) -> None:
        with _lock:
            _contexts.remove(self.all)
            _apply()


def replaced() -> tuple[str, ...]:
    """The operators that are replaced now: ``"aten::gelu"``, ``"aten::gelu.out"``, …

    Example:
        >>> with activations_ext.enabled(all=True):
        ...     "aten::gelu" in activations_ext.replaced()
        True
    """
    with _lock:
        return tuple(_C.operators_of(_wanted()))


def refresh() -> None:
    """Replaces what is wanted under another instruction set."""
    with _lock:
        _apply()


def is_on() -> bool:
    """Whether something is to be replaced now."""
    with _lock:
        return bool(_contexts) or _lasting is not None


def _wanted() -> list[str]:
    asked = [*_contexts, *([] if _lasting is None else [_lasting])]
    if any(asked) or (asked and is_reproducible()):
        return list(_C.replaceable())
    return list(FASTER.get(cpu_capability(), ())) if asked else []


def _apply() -> None:
    _C.replace(_wanted())

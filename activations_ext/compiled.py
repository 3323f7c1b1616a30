"""Chooses whether a compiled graph holds our function or torch's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor

from activations_ext._kernels import is_reproducible

Choice = Literal["measured", "ours", "whole", "torchs"]

FASTER: dict[str, frozenset[str]] = {
    "AVX2": frozenset(
        {
            "elu",
            "selu",
            "celu",
            "serlu",
            "threshold",
            "sigmoid",
            "tanh",
            "logsigmoid",
            "tanhshrink",
            "softplus",
            "gelu",
            "gelu_tanh",
            "silu",
            "mish",
            "hardswish",
            "hardshrink",
            "exp",
            "binary_cross_entropy_with_logits",
        }
    ),
    "AVX512": frozenset(
        {
            "elu",
            "selu",
            "celu",
            "serlu",
            "squared_relu",
            "sigmoid",
            "tanh",
            "logsigmoid",
            "softsign",
            "tanhshrink",
            "softplus",
            "gelu",
            "gelu_tanh",
            "mish",
            "exp",
        }
    ),
}
"""By instruction set: the functions that, fused with their neighbours, are no slower than torch's
in compiled graphs; ``python -m benchmarks.compiled``, benchmarks/results/compiled-*.md."""

FASTER_WHOLE = frozenset({"logsigmoid", "mish"})
"""Those that are faster even as operators that the compiler cannot look into, except for float64:
in an Inductor that lacks what ``_inductor`` uses."""


def _checked(choice: str) -> Choice:
    if choice not in get_args(Choice):
        raise ValueError(
            f"compiled graphs: expected one of {', '.join(map(repr, get_args(Choice)))}, but got "
            f"{choice!r}"
        )
    return choice  # type: ignore[return-value]


class _Switch(threading.local):
    """Per thread. A ContextVar would be per task, but Dynamo cannot trace its ``get``."""

    choice = _checked(os.environ.get("ACTIVATIONS_EXT_COMPILED", "measured"))


_switch = _Switch()


def chosen() -> Choice:
    """The choice of this thread. Loops that a compiler generates would not be reproducible."""
    return "whole" if is_reproducible() else _switch.choice


@contextmanager
def in_compiled_graphs(choice: Choice) -> Iterator[None]:
    """Within it, on this thread, graphs hold ``"ours"``, ``"torchs"`` or what was ``"measured"`` as
    the faster. ``"whole"`` is ours too, and keeps the compiler from fusing it with its neighbours.

    The environment variable ``ACTIVATIONS_EXT_COMPILED`` says it for the whole process. A function
    that has been compiled before is compiled again when it is called under another choice.

    Example:
        >>> with activations_ext.compiled.in_compiled_graphs("ours"):
        ...     activations_ext.compiled.chosen()
        'ours'
    """
    before, _switch.choice = _switch.choice, _checked(choice)
    try:
        yield
    finally:
        _switch.choice = before


def _is_faster(name: str, dtype: torch.dtype) -> bool:
    from activations_ext import _inductor

    if _inductor.fuses(dtype):
        return name in FASTER.get(torch.backends.cpu.get_cpu_capability(), FASTER_WHOLE)
    # As a formula of torch's operators none was faster.
    is_whole = not _inductor.decomposes(name)
    return is_whole and name in FASTER_WHOLE and dtype != torch.float64


def _has_formula(name: str) -> bool:
    from activations_ext import _inductor

    return _inductor.decomposes(name)


# Dynamo is to ask, and not to look inside.
_is_faster._dynamo_marked_constant = True  # type: ignore[attr-defined]
_has_formula._dynamo_marked_constant = True  # type: ignore[attr-defined]


def holds_torchs(name: str, input: Tensor) -> bool:
    """Whether the graph being compiled should hold torch's function ``name`` of ``input``."""
    if name.endswith("_with_seed"):
        return False  # torch draws the numbers in another operator
    choice = chosen()
    if choice != "measured":
        return choice == "torchs"
    if input.device.type == "cpu":
        return not _is_faster(name, input.dtype)
    # Not measured: the formulas, which Triton fuses, of what has one.
    return input.device.type != "cuda" or not _has_formula(name)

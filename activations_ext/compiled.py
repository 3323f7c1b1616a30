"""What a compiled graph holds: our function or torch's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

Choice = Literal["measured", "ours", "whole", "torchs"]

FASTER: dict[str, frozenset[str]] = {
    "AVX2": frozenset(
        {
            "elu",
            "selu",
            "celu",
            "serlu",
            "squared_relu",
            "hardtanh",
            "sigmoid",
            "tanh",
            "logsigmoid",
            "softsign",
            "tanhshrink",
            "softplus",
            "gelu_tanh",
            "silu",
            "mish",
            "softshrink",
            "exp",
        }
    ),
    "AVX512": frozenset(
        {
            "elu",
            "celu",
            "serlu",
            "squared_relu",
            "sigmoid",
            "tanh",
            "logsigmoid",
            "tanhshrink",
            "softplus",
            "gelu_tanh",
            "silu",
            "mish",
            "exp",
            "binary_cross_entropy_with_logits",
        }
    ),
}
"""By instruction set: the functions that are no slower than torch's in compiled graphs, alone and
between neighbours; ``python -m benchmarks.compiled``, benchmarks/results/compiled-*.md."""


def _checked(choice: str) -> Choice:
    if choice not in get_args(Choice):
        raise ValueError(
            f"compiled graphs: expected one of {', '.join(map(repr, get_args(Choice)))}, but got "
            f"{choice!r}"
        )
    return choice  # type: ignore[return-value]


class _Switch(threading.local):
    """Of each thread. A ContextVar would be of each task, but Dynamo cannot trace its ``get``."""

    choice = _checked(os.environ.get("ACTIVATIONS_EXT_COMPILED", "measured"))


_switch = _Switch()


def chosen() -> Choice:
    """The choice of this thread."""
    return _switch.choice


@contextmanager
def in_compiled_graphs(choice: Choice) -> Iterator[None]:
    """Within it, on this thread, graphs hold ``"ours"``, ``"torchs"`` or what was ``"measured"`` as
    the faster. ``"whole"`` is ours too, and keeps the compiler from fusing it with its neighbours.

    The environment variable ``ACTIVATIONS_EXT_COMPILED`` says it for the whole process. A function
    that has been compiled before is compiled again when it is called under another choice.
    """
    before, _switch.choice = _switch.choice, _checked(choice)
    try:
        yield
    finally:
        _switch.choice = before


def _capability() -> str:
    return torch.backends.cpu.get_cpu_capability()


_capability._dynamo_marked_constant = True  # type: ignore[attr-defined]


def holds_torchs(name: str, device: torch.device) -> bool:
    """A graph that is being compiled is to hold torch's function ``name``."""
    if name.endswith("_with_seed"):
        return False  # torch draws the numbers in another operator
    choice = _switch.choice
    # Measured on CPUs: elsewhere the compiler's own code, until somebody has.
    faster = device.type == "cpu" and name in FASTER.get(_capability(), ())
    return choice == "torchs" or (choice == "measured" and not faster)

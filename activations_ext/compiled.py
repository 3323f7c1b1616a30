"""What a compiled graph holds: our operator, which the compiler cannot fuse with its neighbours, or
torch's function, which it can."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

Choice = Literal["measured", "ours", "torchs"]

# On a CPU faster than Inductor's code alone and between 2·x + b and ·x, forward and with backward,
# on AVX-512 and on AVX2: `python -m benchmarks.compiled`, benchmarks/results/compiled-*.md.
FASTER = frozenset({"logsigmoid", "mish"})


def _checked(choice: str) -> str:
    if choice not in get_args(Choice):
        raise ValueError(
            f"compiled graphs: expected one of {', '.join(map(repr, get_args(Choice)))}, but got "
            f"{choice!r}"
        )
    return choice


class _Switch(threading.local):
    """Of each thread. A ContextVar would be of each task, but Dynamo cannot trace its ``get``."""

    choice = _checked(os.environ.get("ACTIVATIONS_EXT_COMPILED", "measured"))


_switch = _Switch()


@contextmanager
def in_compiled_graphs(choice: Choice) -> Iterator[None]:
    """Within it, on this thread, graphs hold ``"ours"``, ``"torchs"`` or what was ``"measured"`` as
    the faster.

    The environment variable ``ACTIVATIONS_EXT_COMPILED`` says it for the whole process. A function
    that has been compiled before is compiled again when it is called under another choice.
    """
    before, _switch.choice = _switch.choice, _checked(choice)
    try:
        yield
    finally:
        _switch.choice = before


def holds_torchs(name: str, device: torch.device) -> bool:
    """A graph that is being compiled is to hold torch's function ``name``."""
    if name.endswith("_with_seed"):
        return False  # torch draws the numbers in another operator
    choice = _switch.choice
    # Measured on CPUs: elsewhere the compiler's own code, until somebody has.
    faster = device.type == "cpu" and name in FASTER
    return choice == "torchs" or (choice == "measured" and not faster)


def let_inductor_call_operators() -> None:
    """Where Inductor was told to compile nothing that it cannot look into: all but our operators.

    Dynamo runs it while it traces, as what it would mark with ``assume_constant_result``; to import
    that takes a second.
    """
    config = sys.modules.get("torch._inductor.config")
    if config is None or config.implicit_fallbacks:
        return
    from torch._inductor.lowering import FALLBACK_ALLOW_LIST

    names = {schema.name for schema in torch._C._jit_get_all_schemas()}
    FALLBACK_ALLOW_LIST.update(name for name in names if name.startswith("activations_ext::"))


let_inductor_call_operators._dynamo_marked_constant = True  # type: ignore[attr-defined]

"""What a compiled graph holds: our operator, which the compiler cannot fuse with its neighbours, or
torch's function, which it can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

Choice = Literal["measured", "ours", "torchs"]

# Faster than Inductor's code alone and between 2·x + b and ·x, forward and with backward, on
# AVX-512 and on AVX2: `python -m benchmarks.compiled`, benchmarks/results/compiled-*.md.
FASTER = frozenset({"logsigmoid", "mish"})


def _checked(choice: str) -> str:
    if choice not in get_args(Choice):
        raise ValueError(
            f"compiled graphs: expected one of {', '.join(map(repr, get_args(Choice)))}, but got "
            f"{choice!r}"
        )
    return choice


_choice = _checked(os.environ.get("ACTIVATIONS_EXT_COMPILED", "measured"))


@contextmanager
def in_compiled_graphs(choice: Choice) -> Iterator[None]:
    """Within it, graphs hold ``"ours"``, ``"torchs"`` or what was ``"measured"`` as the faster.

    The environment variable ``ACTIVATIONS_EXT_COMPILED`` says it for the whole process. A function
    that has been compiled before is compiled again when it is called under another choice.
    """
    global _choice
    before, _choice = _choice, _checked(choice)
    try:
        yield
    finally:
        _choice = before


def holds_torchs(name: str) -> bool:
    """A graph that is being compiled is to hold torch's function ``name``."""
    if name.endswith("_with_seed"):
        return False  # torch draws the numbers in another operator
    return _choice == "torchs" or (_choice == "measured" and name not in FASTER)

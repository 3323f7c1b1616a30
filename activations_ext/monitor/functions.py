"""The functions that count as activations, by whatever name a program calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from activations_ext import functional as ours
from activations_ext.registry import ACTIVATIONS

OfInput = Callable[[Tensor], Tensor]

_BEYOND_TORCH = ("exp", "squared_relu", "serlu")  # torch.exp is no activation in most programs
_NAMES = (*(row.name for row in ACTIVATIONS if row.name not in _BEYOND_TORCH), "prelu", "rrelu")
_ALIASES = {"log_sigmoid": "logsigmoid", "expit": "sigmoid", "clip": "clamp"}
ONLY_IN_MODULES = frozenset({"clamp"})
"""No activation by itself, but a module without parameters that calls it is taken for one: timm's
HardMish."""


def _functions() -> Iterator[tuple[Any, str]]:
    for name in (*_NAMES, *_ALIASES, *ONLY_IN_MODULES):
        for place in (torch.nn.functional, torch, Tensor, torch.special):
            for spelled in (name, f"{name}_"):
                if (function := getattr(place, spelled, None)) is not None:
                    yield function, _ALIASES.get(name, name)
    for name in (*_BEYOND_TORCH, *_NAMES):
        yield getattr(ours, name), name


FUNCTIONS: dict[Any, str] = dict(_functions())
"""As ``__torch_function__`` receives them: torch's, tensor methods and this package's."""


def of_input(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, OfInput]:
    """The input of a call of one of ``FUNCTIONS``, and the call as a function of its input, which
    writes over nothing and draws no random number."""
    rest = {name: value for name, value in kwargs.items() if name != "out"}
    input = args[0] if args else rest.pop("input", None)
    if FUNCTIONS[function] == "rrelu":
        given = dict(zip(("lower", "upper"), args[1:3], strict=False)) | rest
        slope = (given.get("lower", 1 / 8) + given.get("upper", 1 / 3)) / 2
        return input, lambda x: torch.nn.functional.leaky_relu(x, slope)
    return input, lambda x: function(x.clone(), *args[1:], **rest)

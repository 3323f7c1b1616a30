"""The table of the activations: one row each, from which tests, benchmarks and docs are made. The
list is csrc/contract/registry.h.

What is not a function of a tensor and a few numbers (prelu, rrelu, shift_dropout) has no row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

import activations_ext._C as _C
from activations_ext import functional as F
from activations_ext import nn
from activations_ext._torchs import torchs


@dataclass(frozen=True, eq=False)
class Activation:
    """One activation, its module, and what torch has in its place."""

    name: str
    """The operator's, ``torch.ops.activations_ext.<name>``."""
    function: Callable[..., Tensor]
    module: Callable[..., torch.nn.Module]
    defaults: dict[str, float]
    """The operator's parameters in its order, with their defaults."""
    inplace: bool = False
    """``function`` and ``module`` take ``inplace``, as torch's do."""

    @property
    def reference(self) -> Callable[..., Tensor]:
        """torch's function of (input, *parameters), or the formula on torch's operators."""
        return torchs(self.name)


_MODULES: dict[str, Callable[..., torch.nn.Module]] = {
    **{name.lower(): made for name, made in vars(nn).items() if isinstance(made, type)},
    "gelutanh": partial(nn.GELU, approximate="tanh"),
}
_NO_DEFAULTS = {"threshold": {"threshold": 0.1, "value": 20.0}}  # torch's have none


def _row(name: str) -> Activation:
    """What the operator's schema and the function's signature say."""
    function = getattr(F, name)
    signature = inspect.signature(function).parameters
    schema = getattr(torch.ops.activations_ext, name).default._schema
    parameters = [argument.name for argument in schema.arguments[1:]]
    return Activation(
        name=name,
        function=function,
        module=_MODULES[name.replace("_", "")],
        defaults=_NO_DEFAULTS.get(name) or {p: signature[p].default for p in parameters},
        inplace="inplace" in signature,
    )


ACTIVATIONS: tuple[Activation, ...] = tuple(_row(name) for name in _C.activations())


def by_name(name: str) -> Activation:
    """The row of that name. Raises KeyError if there is none."""
    for activation in ACTIVATIONS:
        if activation.name == name:
            return activation
    raise KeyError(name)

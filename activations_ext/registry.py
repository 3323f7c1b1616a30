"""The table of the activations: one row each, from which tests, benchmarks and docs are made.

What is not a function of a tensor and a few numbers (prelu, rrelu, shift_dropout) has no row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as reference
from torch import Tensor

from activations_ext import functional as F
from activations_ext import nn


@dataclass(frozen=True, eq=False)
class Activation:
    """One activation, its module, and what torch has in its place."""

    name: str
    """The operator's, ``torch.ops.activations_ext.<name>``."""
    function: Callable[..., Tensor]
    module: Callable[..., torch.nn.Module]
    reference: Callable[..., Tensor]
    """torch's function of (input, *parameters), or one made of torch's operators."""
    defaults: dict[str, float]
    """The operator's parameters in its order, with their defaults."""
    inplace: bool = False
    """``function`` and ``module`` take ``inplace``, as torch's do."""


def _serlu(input: Tensor) -> Tensor:
    negative = input.clamp(max=0)  # e^x overflows on the other side, and its gradient with it
    return 1.07862 * torch.where(input >= 0, input, 2.90427 * negative * torch.exp(negative))


def _squared_relu(input: Tensor) -> Tensor:
    return reference.relu(input).square()


ACTIVATIONS: tuple[Activation, ...] = (
    Activation(
        name="relu",
        function=F.relu,
        module=nn.ReLU,
        reference=reference.relu,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="relu6",
        function=F.relu6,
        module=nn.ReLU6,
        reference=reference.relu6,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="leaky_relu",
        function=F.leaky_relu,
        module=nn.LeakyReLU,
        reference=reference.leaky_relu,
        defaults={"negative_slope": 0.01},
        inplace=True,
    ),
    Activation(
        name="elu",
        function=F.elu,
        module=nn.ELU,
        reference=reference.elu,
        defaults={"alpha": 1.0},
        inplace=True,
    ),
    Activation(
        name="selu",
        function=F.selu,
        module=nn.SELU,
        reference=reference.selu,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="celu",
        function=F.celu,
        module=nn.CELU,
        reference=reference.celu,
        defaults={"alpha": 1.0},
        inplace=True,
    ),
    Activation(
        name="serlu",
        function=F.serlu,
        module=nn.SERLU,
        reference=_serlu,
        defaults={},
    ),
    Activation(
        name="squared_relu",
        function=F.squared_relu,
        module=nn.SquaredReLU,
        reference=_squared_relu,
        defaults={},
    ),
    Activation(
        name="hardtanh",
        function=F.hardtanh,
        module=nn.Hardtanh,
        reference=reference.hardtanh,
        defaults={"min_val": -1.0, "max_val": 1.0},
        inplace=True,
    ),
    Activation(
        name="threshold",
        function=F.threshold,
        module=nn.Threshold,
        reference=reference.threshold,
        defaults={"threshold": 0.1, "value": 20.0},
        inplace=True,
    ),
    Activation(
        name="sigmoid",
        function=F.sigmoid,
        module=nn.Sigmoid,
        reference=torch.sigmoid,
        defaults={},
    ),
    Activation(
        name="tanh",
        function=F.tanh,
        module=nn.Tanh,
        reference=torch.tanh,
        defaults={},
    ),
    Activation(
        name="logsigmoid",
        function=F.logsigmoid,
        module=nn.LogSigmoid,
        reference=reference.logsigmoid,
        defaults={},
    ),
    Activation(
        name="hardsigmoid",
        function=F.hardsigmoid,
        module=nn.Hardsigmoid,
        reference=reference.hardsigmoid,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="softsign",
        function=F.softsign,
        module=nn.Softsign,
        reference=reference.softsign,
        defaults={},
    ),
    Activation(
        name="tanhshrink",
        function=F.tanhshrink,
        module=nn.Tanhshrink,
        reference=reference.tanhshrink,
        defaults={},
    ),
    Activation(
        name="softplus",
        function=F.softplus,
        module=nn.Softplus,
        reference=reference.softplus,
        defaults={"beta": 1.0, "threshold": 20.0},
    ),
    Activation(
        name="gelu",
        function=F.gelu,
        module=nn.GELU,
        reference=reference.gelu,
        defaults={},
    ),
    Activation(
        name="gelu_tanh",
        function=F.gelu_tanh,
        module=partial(nn.GELU, approximate="tanh"),
        reference=partial(reference.gelu, approximate="tanh"),
        defaults={},
    ),
    Activation(
        name="silu",
        function=F.silu,
        module=nn.SiLU,
        reference=reference.silu,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="mish",
        function=F.mish,
        module=nn.Mish,
        reference=reference.mish,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="hardswish",
        function=F.hardswish,
        module=nn.Hardswish,
        reference=reference.hardswish,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="softshrink",
        function=F.softshrink,
        module=nn.Softshrink,
        reference=reference.softshrink,
        defaults={"lambd": 0.5},
    ),
    Activation(
        name="hardshrink",
        function=F.hardshrink,
        module=nn.Hardshrink,
        reference=reference.hardshrink,
        defaults={"lambd": 0.5},
    ),
    Activation(
        name="exp",
        function=F.exp,
        module=nn.Exp,
        reference=torch.exp,
        defaults={},
    ),
)


def by_name(name: str) -> Activation:
    """The row of that name. Raises KeyError if there is none."""
    for activation in ACTIVATIONS:
        if activation.name == name:
            return activation
    raise KeyError(name)

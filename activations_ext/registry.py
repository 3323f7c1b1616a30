"""The table of the activations: one row each, from which tests, benchmarks and docs are made.

What is not a function of a tensor and a few numbers (prelu, rrelu, shift_dropout) has no row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

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


ACTIVATIONS: tuple[Activation, ...] = (
    Activation(
        name="relu",
        function=F.relu,
        module=nn.ReLU,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="relu6",
        function=F.relu6,
        module=nn.ReLU6,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="leaky_relu",
        function=F.leaky_relu,
        module=nn.LeakyReLU,
        defaults={"negative_slope": 0.01},
        inplace=True,
    ),
    Activation(
        name="elu",
        function=F.elu,
        module=nn.ELU,
        defaults={"alpha": 1.0},
        inplace=True,
    ),
    Activation(
        name="selu",
        function=F.selu,
        module=nn.SELU,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="celu",
        function=F.celu,
        module=nn.CELU,
        defaults={"alpha": 1.0},
        inplace=True,
    ),
    Activation(
        name="serlu",
        function=F.serlu,
        module=nn.SERLU,
        defaults={},
    ),
    Activation(
        name="squared_relu",
        function=F.squared_relu,
        module=nn.SquaredReLU,
        defaults={},
    ),
    Activation(
        name="hardtanh",
        function=F.hardtanh,
        module=nn.Hardtanh,
        defaults={"min_val": -1.0, "max_val": 1.0},
        inplace=True,
    ),
    Activation(
        name="threshold",
        function=F.threshold,
        module=nn.Threshold,
        defaults={"threshold": 0.1, "value": 20.0},
        inplace=True,
    ),
    Activation(
        name="sigmoid",
        function=F.sigmoid,
        module=nn.Sigmoid,
        defaults={},
    ),
    Activation(
        name="tanh",
        function=F.tanh,
        module=nn.Tanh,
        defaults={},
    ),
    Activation(
        name="logsigmoid",
        function=F.logsigmoid,
        module=nn.LogSigmoid,
        defaults={},
    ),
    Activation(
        name="hardsigmoid",
        function=F.hardsigmoid,
        module=nn.Hardsigmoid,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="softsign",
        function=F.softsign,
        module=nn.Softsign,
        defaults={},
    ),
    Activation(
        name="tanhshrink",
        function=F.tanhshrink,
        module=nn.Tanhshrink,
        defaults={},
    ),
    Activation(
        name="softplus",
        function=F.softplus,
        module=nn.Softplus,
        defaults={"beta": 1.0, "threshold": 20.0},
    ),
    Activation(
        name="gelu",
        function=F.gelu,
        module=nn.GELU,
        defaults={},
    ),
    Activation(
        name="gelu_tanh",
        function=F.gelu_tanh,
        module=partial(nn.GELU, approximate="tanh"),
        defaults={},
    ),
    Activation(
        name="silu",
        function=F.silu,
        module=nn.SiLU,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="mish",
        function=F.mish,
        module=nn.Mish,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="hardswish",
        function=F.hardswish,
        module=nn.Hardswish,
        defaults={},
        inplace=True,
    ),
    Activation(
        name="softshrink",
        function=F.softshrink,
        module=nn.Softshrink,
        defaults={"lambd": 0.5},
    ),
    Activation(
        name="hardshrink",
        function=F.hardshrink,
        module=nn.Hardshrink,
        defaults={"lambd": 0.5},
    ),
    Activation(
        name="exp",
        function=F.exp,
        module=nn.Exp,
        defaults={},
    ),
)


def by_name(name: str) -> Activation:
    """The row of that name. Raises KeyError if there is none."""
    for activation in ACTIVATIONS:
        if activation.name == name:
            return activation
    raise KeyError(name)

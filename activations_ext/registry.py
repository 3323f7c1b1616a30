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


def _nowhere(*parameters: float) -> tuple[float, ...]:
    return ()


def _at_zero(*parameters: float) -> tuple[float, ...]:
    return (0.0,)


def _always(*parameters: float) -> bool:
    return True


def _never(*parameters: float) -> bool:
    return False


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
    others: tuple[dict[str, float], ...] = ()
    """Further values worth testing: they change what is saved, or where the kinks are."""
    kinks: Callable[..., tuple[float, ...]] = _nowhere
    """Of the parameters: where the value or one of its first two derivatives jumps."""
    inplace: bool = False
    """``function`` and ``module`` take ``inplace``, as torch's do."""
    saves_result: Callable[..., bool] = _never
    """Of the parameters: backward reads the result, not the input."""


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
        kinks=_at_zero,
        inplace=True,
        saves_result=_always,
    ),
    Activation(
        name="relu6",
        function=F.relu6,
        module=nn.ReLU6,
        reference=reference.relu6,
        defaults={},
        kinks=lambda: (0.0, 6.0),
        inplace=True,
        saves_result=_always,
    ),
    Activation(
        name="leaky_relu",
        function=F.leaky_relu,
        module=nn.LeakyReLU,
        reference=reference.leaky_relu,
        defaults={"negative_slope": 0.01},
        others=({"negative_slope": 0.25}, {"negative_slope": 0.0}, {"negative_slope": -0.5}),
        kinks=_at_zero,
        inplace=True,
        saves_result=lambda negative_slope: negative_slope > 0,
    ),
    Activation(
        name="elu",
        function=F.elu,
        module=nn.ELU,
        reference=reference.elu,
        defaults={"alpha": 1.0},
        others=({"alpha": 1.7}, {"alpha": 0.0}, {"alpha": -0.6}),
        kinks=_at_zero,
        inplace=True,
        saves_result=lambda alpha: alpha > 0,
    ),
    Activation(
        name="selu",
        function=F.selu,
        module=nn.SELU,
        reference=reference.selu,
        defaults={},
        kinks=_at_zero,
        inplace=True,
        saves_result=_always,
    ),
    Activation(
        name="celu",
        function=F.celu,
        module=nn.CELU,
        reference=reference.celu,
        defaults={"alpha": 1.0},
        others=({"alpha": 0.4}, {"alpha": 2.5}, {"alpha": -1.5}),
        kinks=_at_zero,
        inplace=True,
        saves_result=lambda alpha: alpha > 0,
    ),
    Activation(
        name="serlu",
        function=F.serlu,
        module=nn.SERLU,
        reference=_serlu,
        defaults={},
        kinks=_at_zero,
    ),
    Activation(
        name="squared_relu",
        function=F.squared_relu,
        module=nn.SquaredReLU,
        reference=_squared_relu,
        defaults={},
        kinks=_at_zero,
    ),
    Activation(
        name="hardtanh",
        function=F.hardtanh,
        module=nn.Hardtanh,
        reference=reference.hardtanh,
        defaults={"min_val": -1.0, "max_val": 1.0},
        others=({"min_val": -0.5, "max_val": 2.0}, {"min_val": 0.25, "max_val": 0.75}),
        kinks=lambda min_val, max_val: (min_val, max_val),
        inplace=True,
        saves_result=_always,
    ),
    Activation(
        name="threshold",
        function=F.threshold,
        module=nn.Threshold,
        reference=reference.threshold,
        defaults={"threshold": 0.1, "value": 20.0},
        others=({"threshold": 0.0, "value": 0.0}, {"threshold": -0.5, "value": -2.0}),
        kinks=lambda threshold, value: (threshold,),
        inplace=True,
        saves_result=lambda threshold, value: value <= threshold,
    ),
    Activation(
        name="sigmoid",
        function=F.sigmoid,
        module=nn.Sigmoid,
        reference=torch.sigmoid,
        defaults={},
        saves_result=_always,
    ),
    Activation(
        name="tanh",
        function=F.tanh,
        module=nn.Tanh,
        reference=torch.tanh,
        defaults={},
        saves_result=_always,
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
        kinks=lambda: (-3.0, 3.0),
        inplace=True,
    ),
    Activation(
        name="softsign",
        function=F.softsign,
        module=nn.Softsign,
        reference=reference.softsign,
        defaults={},
        kinks=_at_zero,
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
        others=({"beta": 2.0, "threshold": 3.0}, {"beta": 0.5, "threshold": -1.0}),
        kinks=lambda beta, threshold: (threshold / beta,),
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
        kinks=lambda: (-3.0, 3.0),
        inplace=True,
    ),
    Activation(
        name="softshrink",
        function=F.softshrink,
        module=nn.Softshrink,
        reference=reference.softshrink,
        defaults={"lambd": 0.5},
        others=({"lambd": 0.0}, {"lambd": 1.5}),
        kinks=lambda lambd: (-lambd, lambd),
    ),
    Activation(
        name="hardshrink",
        function=F.hardshrink,
        module=nn.Hardshrink,
        reference=reference.hardshrink,
        defaults={"lambd": 0.5},
        others=({"lambd": 0.0}, {"lambd": 1.5}, {"lambd": -1.0}),
        kinks=lambda lambd: (-lambd, lambd),
        saves_result=lambda lambd: lambd >= 0,
    ),
    Activation(
        name="exp",
        function=F.exp,
        module=nn.Exp,
        reference=torch.exp,
        defaults={},
        saves_result=_always,
    ),
)


def by_name(name: str) -> Activation:
    """The row of that name. Raises KeyError if there is none."""
    for activation in ACTIVATIONS:
        if activation.name == name:
            return activation
    raise KeyError(name)

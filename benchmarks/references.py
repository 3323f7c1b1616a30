"""Values and slopes in float64, by formulas that lose no digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from activations_ext.registry import Activation

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Truth:
    """f and f' of a float64 tensor."""

    value: Function
    slope: Function
    slope_root: float = math.inf
    """Where f' crosses 0: beside it a difference of rounded numbers is left in every formula."""


def _sigmoid(x: Tensor) -> Tensor:
    e = torch.exp(-x.abs())
    return torch.where(x < 0, e, 1.0) / (1 + e)


def _softplus(x: Tensor) -> Tensor:
    return x.clamp_min(0) + torch.log1p(torch.exp(-x.abs()))


def _normal_distribution(x: Tensor) -> Tensor:
    doubled: Tensor = torch.special.erfc(-x * math.sqrt(0.5))
    return doubled / 2


def _normal_density(x: Tensor) -> Tensor:
    return torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)


def _gelu_tanh_argument(x: Tensor) -> Tensor:
    return math.sqrt(8 / math.pi) * (x + 0.044715 * x**3)


def _gelu_tanh_slope(x: Tensor) -> Tensor:
    x = x.clamp(-100, 100)  # x³·0 further out
    u = _gelu_tanh_argument(x)
    u_slope = math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * x.square())
    return _sigmoid(u) * (1 + x * u_slope * _sigmoid(-u))


def _sech_squared(x: Tensor) -> Tensor:
    return 4 * _sigmoid(2 * x) * _sigmoid(-2 * x)


def _tanhshrink(x: Tensor) -> Tensor:
    z = x.square()
    series = 1 / 3 - z * (2 / 15 - z * (17 / 315 - z * (62 / 2835 - z * 1382 / 155925)))
    return torch.where(x.abs() < 0.05, x * z * series, x - torch.tanh(x))


def _mish_factor(x: Tensor) -> Tensor:
    """tanh(log(1 + eˣ)) = n/(n + 2), n = e²ˣ + 2eˣ."""
    e = torch.exp(-x.abs())
    n = torch.where(x < 0, e * (e + 2), 1 + 2 * e)
    return n / (n + 2 * torch.where(x < 0, 1.0, e * e))


def _mish_slope(x: Tensor) -> Tensor:
    t = _mish_factor(x)
    return t + x * _sigmoid(x) * _sech_squared(_softplus(x))


def _expm1_on_the_left(scale: float, alpha: float) -> Truth:
    return Truth(
        lambda x: scale * torch.where(x > 0, x, alpha * torch.expm1(x)),
        lambda x: scale * torch.where(x > 0, 1.0, alpha * torch.exp(x)),
    )


_SERLU_ALPHA, _SERLU_SCALE = 2.90427, 1.07862

_TRUTHS = {
    "elu": _expm1_on_the_left(1.0, 1.0),
    "celu": _expm1_on_the_left(1.0, 1.0),
    "selu": _expm1_on_the_left(
        1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    ),
    "serlu": Truth(
        lambda x: _SERLU_SCALE * torch.where(x >= 0, x, _SERLU_ALPHA * x * torch.exp(x)),
        lambda x: _SERLU_SCALE * torch.where(x >= 0, 1.0, _SERLU_ALPHA * (x + 1) * torch.exp(x)),
        slope_root=-1.0,
    ),
    "sigmoid": Truth(_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
    "tanh": Truth(torch.tanh, _sech_squared),
    "logsigmoid": Truth(lambda x: -_softplus(-x), lambda x: _sigmoid(-x)),
    "hardsigmoid": Truth(
        lambda x: (x + 3).clamp(0, 6) / 6, lambda x: (x.abs() < 3).to(x.dtype) / 6
    ),
    "softsign": Truth(lambda x: x / (1 + x.abs()), lambda x: (1 + x.abs()) ** -2),
    "tanhshrink": Truth(_tanhshrink, lambda x: torch.tanh(x).square()),
    "softplus": Truth(
        lambda x: torch.where(x > 20, x, _softplus(x)),
        lambda x: torch.where(x > 20, 1.0, _sigmoid(x)),
    ),
    "gelu": Truth(
        lambda x: x * _normal_distribution(x),
        lambda x: _normal_distribution(x) + x.clamp(-100, 100) * _normal_density(x),
        slope_root=-0.7517915,
    ),
    "gelu_tanh": Truth(
        lambda x: x * _sigmoid(_gelu_tanh_argument(x)), _gelu_tanh_slope, slope_root=-0.7524614
    ),
    "silu": Truth(
        lambda x: x * _sigmoid(x),
        lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x)),
        slope_root=-1.2784645,
    ),
    "mish": Truth(lambda x: x * _mish_factor(x), _mish_slope, slope_root=-1.1924339),
    "hardswish": Truth(
        lambda x: x * ((x + 3).clamp(0, 6) / 6),
        lambda x: torch.where(x.abs() < 3, (2 * x + 3) / 6, (x > 0).to(x.dtype)),
        slope_root=-1.5,
    ),
    "exp": Truth(torch.exp, torch.exp),
}


def truth_of(activation: Activation) -> Truth:
    """With the default parameters. Where it is comparisons and products, torch's float64."""
    parameters = tuple(activation.defaults.values())

    def value(x: Tensor) -> Tensor:
        return activation.reference(x, *parameters)

    def slope(x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(value(leaf).sum(), leaf)
        return gradient

    return _TRUTHS.get(activation.name, Truth(value, slope))

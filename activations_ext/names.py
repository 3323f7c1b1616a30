"""Activations by the names that model configurations have."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

import torch

from activations_ext import nn

_SQUARED_RELU, _TANH_GELU = nn.SquaredReLU, partial(nn.GELU, approximate="tanh")
_MODULES: dict[str, Callable[..., torch.nn.Module]] = {
    **{
        name.lower(): getattr(nn, name)
        for name in (
            *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "SELU", "CELU", "SERLU"),
            *("Hardtanh", "Threshold", "Sigmoid", "Tanh", "LogSigmoid", "Hardsigmoid", "Softsign"),
            *("Tanhshrink", "Softplus", "GELU", "SiLU", "Mish", "Hardswish", "Softshrink"),
            *("Hardshrink", "Exp", "QuickGELU", "SquaredReLU", "GLU", "SwiGLU", "GEGLU", "ReGLU"),
            *("Softmax", "LogSoftmax", "Softmin"),
        )
    },
    **dict.fromkeys(("swish", "silu"), nn.SiLU),
    **dict.fromkeys(("relu2", "relusquared"), _SQUARED_RELU),
    **dict.fromkeys(
        ("gelunew", "gelufast", "geluaccurate", "gelutanh", "gelupytorchtanh", "gelupythontanh"),
        _TANH_GELU,
    ),
    "gelupython": nn.GELU,
    **dict.fromkeys(("linear", "identity"), torch.nn.Identity),
}


def get(name: str, *args: object, **options: object) -> torch.nn.Module:
    """The activation of that name, as transformers, timm and torch spell it.

    Case, underscores and hyphens do not matter: ``"gelu_new"``, ``"hard_swish"``, ``"LeakyReLU"``.
    ``"gelu_new"``, ``"gelu_fast"``, ``"gelu_accurate"`` and ``"gelu_pytorch_tanh"`` are one
    function, that of ``nn.GELU(approximate="tanh")``.

    Args:
        name: of the activation.
        args, options: of its module, for instance ``negative_slope=0.2``.

    Raises:
        KeyError: there is none of that name; with those that are spelt alike.
        TypeError: ``name`` is not a string.

    Example:
        >>> activations_ext.get("leaky_relu", 0.2)
        LeakyReLU(negative_slope=0.2)
    """
    if not isinstance(name, str):
        raise TypeError(
            f"get(): expected argument 'name' to be a string, but got {type(name).__name__}"
        )
    key = name.lower().replace("_", "").replace("-", "")
    if key not in _MODULES:
        alike = ", ".join(difflib.get_close_matches(key, _MODULES)) or ", ".join(sorted(_MODULES))
        raise KeyError(
            f"get(): expected argument 'name' to be that of an activation, for instance {alike}, "
            f"but got {name!r}"
        )
    return _MODULES[key](*args, **options)

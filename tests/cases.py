"""What only tests need to know of each activation, by the name of its row in the registry."""

from __future__ import annotations

from collections.abc import Callable

OTHERS: dict[str, tuple[tuple[float, ...], ...]] = {
    "leaky_relu": ((0.25,), (0.0,), (-0.5,)),
    "elu": ((1.7,), (0.0,), (-0.6,)),
    "celu": ((0.4,), (2.5,), (-1.5,)),
    "hardtanh": ((-0.5, 2.0), (0.25, 0.75), (-1.3, 1.3)),
    "threshold": ((0.0, 0.0), (-0.5, -2.0), (0.1, 0.1)),
    "softplus": ((2.0, 3.0), (0.5, -1.0), (-1.3, 3.0)),
    "softshrink": ((0.0,), (1.5,), (0.3,)),
    "hardshrink": ((0.0,), (1.5,), (-1.0,), (0.3,)),
}
"""Parameters besides the defaults: they change what is saved, where the kinks are, and how much a
16-bit dtype rounds them."""

KINKS: dict[str, Callable[..., tuple[float, ...]]] = {
    **dict.fromkeys(
        ("relu", "leaky_relu", "elu", "selu", "celu", "serlu", "squared_relu", "softsign"),
        lambda *parameters: (0.0,),
    ),
    "relu6": lambda: (0.0, 6.0),
    "hardtanh": lambda min_val, max_val: (min_val, max_val),
    "threshold": lambda threshold, value: (threshold,),
    "hardsigmoid": lambda: (-3.0, 3.0),
    "hardswish": lambda: (-3.0, 3.0),
    "softplus": lambda beta, threshold: (threshold / beta,),
    "softshrink": lambda lambd: (-lambd, lambd),
    "hardshrink": lambda lambd: (-lambd, lambd),
}
"""Of the parameters: where the value or one of its first two derivatives jumps."""

SAVES_RESULT = ("relu", "sigmoid", "tanh", "exp")
"""Their backward reads the result, all others' the input, as torch's does."""

SAVES_RESULT_IN_PLACE: dict[str, Callable[..., bool]] = {
    "relu": lambda: True,
    "selu": lambda: True,
    "elu": lambda alpha: alpha >= 0,
    "celu": lambda alpha: alpha >= 0,
    "leaky_relu": lambda negative_slope: negative_slope >= 0,
}
"""So do these in place, where torch's backward raises for the other parameters."""

BOUNDED: dict[str, tuple[int, ...]] = {
    "hardshrink": (0,),
    "hardtanh": (),
    "softshrink": (),
    "threshold": (),
}
"""Whose parameters are compared with the input, and which of them torch rounds to its dtype first;
others have the dtype that computes."""

"""Dropout to a value other than 0."""

from __future__ import annotations

import math

from torch import Tensor

import activations_ext._C as _C
from activations_ext import _torchs
from activations_ext._call import call_operator, draw_seed, has_kernel, overridable

SERLU_MINIMUM: float = -_C.serlu_scale * _C.serlu_alpha / math.e
"""The least value of ``serlu``, −λα/e, to which ``shift_dropout`` drops its units."""


@overridable
def shift_dropout(
    input: Tensor,
    p: float = 0.5,
    minimum: float = SERLU_MINIMUM,
    training: bool = True,
    inplace: bool = False,
) -> Tensor:
    """Dropout that turns units off by setting them to the least value of their activation.

    In training each unit becomes ``minimum`` with probability ``p``, and the distance of the others
    from it grows by 1/(1 − p): ``minimum + (x − minimum)/(1 − p)``, which keeps the mean.
    ``minimum`` is by default that of ``serlu``, for which this was made; with 0 it is ordinary
    (inverted) dropout. The gradient of a dropped unit is 0. Where ``p`` is 0 or ``training`` is
    false, ``input`` itself is returned. A NaN that is kept stays NaN. Seeded by
    ``torch.manual_seed``; the units are not those that torch's dropout drops, and they do not
    depend on the number of threads. (Zhang and Li, arXiv:1807.10117.)

    Args:
        input: any shape.
        p: the share of units to drop, from 0 to 1.
        minimum: what a dropped unit becomes.
        training: whether to drop.
        inplace: write the result over ``input``.

    Raises:
        ValueError: ``p`` is not between 0 and 1.

    Example:
        >>> dropped = F.shift_dropout(torch.zeros(1000), p=0.25)
        >>> sorted({round(value, 4) for value in dropped.tolist()})
        [-1.1524, 0.3841]
    """
    check_probability(p)
    if not training or p == 0:
        return input
    if not has_kernel(input):
        return _torchs.shift_dropout(input, p, minimum, inplace=inplace)
    parameters = (draw_seed(input), p, minimum)
    return call_operator("shift_dropout_with_seed", input, parameters, inplace)


def check_probability(p: float) -> None:
    """Raise ValueError, as torch's dropouts do, unless ``p`` is a probability."""
    if not 0 <= p <= 1:
        raise ValueError(
            f"shift_dropout(): expected argument 'p' to be between 0 and 1, but got {p}"
        )

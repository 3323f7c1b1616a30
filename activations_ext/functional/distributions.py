"""Distributions over the classes of a row: maps along a dimension."""

from __future__ import annotations

import torch
from torch import Tensor

from activations_ext._call import call_operator, is_overridden, overridden


def softmax(
    input: Tensor,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The exponentials of a row, divided by their sum: ``e^(x_c) / Σ e^(x_k)`` along ``dim``.

    Shifted by the row's maximum, so that nothing overflows; −∞ gives 0, and a row of −∞ alone NaN,
    as in torch. NaN anywhere makes its row NaN. 16-bit dtypes are summed in float32 and rounded
    once. The result does not depend on the number of threads. (Bridle, 1990.)

    Args:
        input: any shape. Where there is no kernel (another dtype, layout or device) torch's own
            function is called.
        dim: the dimension of the classes. None is torch's implicit choice, with its warning.
        dtype: what ``input`` is converted to first.

    Raises:
        IndexError: ``input`` has no dimension ``dim``.
    """
    if is_overridden(input):
        keywords = {"dim": dim, "_stacklevel": _stacklevel, "dtype": dtype}
        return overridden(softmax, (input,), input, **keywords)
    if not isinstance(dim, int):
        return torch.nn.functional.softmax(input, dim, _stacklevel + 1, dtype)
    return call_operator("softmax", input if dtype is None else input.to(dtype), (dim,))


def softmin(
    input: Tensor,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The softmax of ``−input``: see ``softmax``."""
    if is_overridden(input):
        keywords = {"dim": dim, "_stacklevel": _stacklevel, "dtype": dtype}
        return overridden(softmin, (input,), input, **keywords)
    if not isinstance(dim, int):
        return torch.nn.functional.softmin(input, dim, _stacklevel + 1, dtype)
    return softmax(-input, dim, dtype=dtype)


def log_softmax(
    input: Tensor,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The logarithm of ``softmax``: ``x_c − log Σ e^(x_k)`` along ``dim``.

    It keeps its digits where the softmax underflows. −∞ stays −∞, and a row of −∞ alone is NaN, as
    in torch. NaN anywhere makes its row NaN. 16-bit dtypes are summed in float32 and rounded once.

    Args:
        input: any shape. Where there is no kernel (another dtype, layout or device) torch's own
            function is called.
        dim: the dimension of the classes. None is torch's implicit choice, with its warning.
        dtype: what ``input`` is converted to first.

    Raises:
        IndexError: ``input`` has no dimension ``dim``.
    """
    if is_overridden(input):
        keywords = {"dim": dim, "_stacklevel": _stacklevel, "dtype": dtype}
        return overridden(log_softmax, (input,), input, **keywords)
    if not isinstance(dim, int):
        return torch.nn.functional.log_softmax(input, dim, _stacklevel + 1, dtype)
    return call_operator("log_softmax", input if dtype is None else input.to(dtype), (dim,))

"""Distributions over the classes of a row: maps along a dimension."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.overrides import has_torch_function_unary

from activations_ext._call import call, call_operator, has_kernel, overridable, overridden
from activations_ext._torchs import torchs
from activations_ext.functional.row_statistics import row_statistics


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
        dtype: the dtype that ``input`` is converted to first.

    Raises:
        IndexError: ``input`` has no dimension ``dim``.

    Example:
        >>> F.softmax(torch.tensor([[1.0, 2.0, 3.0]]), dim=1)
        tensor([[0.0900, 0.2447, 0.6652]])
    """
    if isinstance(dim, int) and dtype is None:
        return call(softmax, input, (dim,))
    return _by_rule(softmax, input, dim, _stacklevel, dtype)


def _by_rule(
    function: Callable[..., Tensor],
    input: Tensor,
    dim: int | None,
    stacklevel: int,
    dtype: torch.dtype | None,
) -> Tensor:
    """``function`` with an implicit dimension or of another dtype."""
    if not is_dynamo_compiling() and has_torch_function_unary(input):
        return overridden(function, (input,), (input, dim, stacklevel, dtype), {})
    if not isinstance(dim, int):
        return torchs(function.__name__)(input, dim, stacklevel + 2, dtype)
    return call_operator(function.__name__, input.to(dtype), (dim,))


@overridable
def softmin(
    input: Tensor,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The softmax of ``−input``: see ``softmax``.

    Example:
        >>> F.softmin(torch.tensor([[1.0, 2.0, 3.0]]), dim=1)
        tensor([[0.6652, 0.2447, 0.0900]])
    """
    if not isinstance(dim, int):
        return torchs("softmin")(input, dim, _stacklevel + 2, dtype)
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
        dtype: the dtype that ``input`` is converted to first.

    Raises:
        IndexError: ``input`` has no dimension ``dim``.

    Example:
        >>> F.log_softmax(torch.tensor([[1.0, 2.0, 3.0]]), dim=1)
        tensor([[-2.4076, -1.4076, -0.4076]])
    """
    if isinstance(dim, int) and dtype is None:
        return call(log_softmax, input, (dim,))
    return _by_rule(log_softmax, input, dim, _stacklevel, dtype)


@overridable
def logsumexp(
    input: Tensor,
    dim: int | list[int] | tuple[int, ...],
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The logarithm of the summed exponentials: ``log Σ e^(x_k)`` along ``dim``.

    Shifted by the maximum, so that nothing overflows; −∞ where all are −∞, ∞ where one is ∞, as
    torch's. NaN anywhere makes the result NaN. 16-bit dtypes are summed in float32 and rounded
    once. Its gradient is ``softmax(input, dim)``.

    Args:
        input: any shape. Where there is no kernel (another dtype, layout or device) torch's own
            function is called.
        dim: the dimension, or several.
        keepdim: keep the reduced dimensions with size 1.
        dtype: the dtype that ``input`` is converted to first.
        out: a tensor for the result, written by torch's own function without a gradient.

    Raises:
        IndexError: ``input`` has no dimension ``dim``, or nothing along it.
        TypeError: ``dim`` is neither an integer nor several.
        RuntimeError: ``dim`` names a dimension twice.

    Example:
        >>> F.logsumexp(torch.tensor([[1.0, 2.0, 3.0]]), dim=1)
        tensor([3.4076])
    """
    x = input if dtype is None else input.to(dtype)
    if out is not None:
        return torchs("logsumexp")(x, dim, keepdim, out=out)
    given = dim if isinstance(dim, (list, tuple)) else (dim,)
    if any(isinstance(d, bool) or not hasattr(d, "__index__") for d in given):
        return torchs("logsumexp")(x, dim, keepdim)  # names, or torch's error
    dims = tuple(operator.index(d) for d in given)
    count = max(1, x.dim())
    along = sorted({d % count for d in dims if -count <= d < count})
    if not has_kernel(x) or x.numel() == 0 or not along or len(along) < len(dims):
        return torchs("logsumexp")(x, dim, keepdim)
    rows = (
        x if len(along) == 1 else x.movedim(along, list(range(-len(along), 0))).flatten(-len(along))
    )
    maximum, log_sum, *_ = row_statistics(rows, along[0] if len(along) == 1 else -1)
    # An infinite maximum less itself is NaN.
    result: Tensor = torch.where(maximum == math.inf, maximum, maximum + log_sum).to(x.dtype)
    for d in along if keepdim and x.dim() else ():
        result = result.unsqueeze(d)
    return result

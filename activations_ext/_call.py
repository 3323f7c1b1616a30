"""The way from a Python function to its operator."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.overrides import (
    handle_torch_function,
    has_torch_function,
    has_torch_function_unary,
)

import activations_ext._C as _C

_OPERATORS = torch.ops.activations_ext


def call(
    function: Callable[..., Tensor],
    input: Tensor,
    parameters: tuple[Any, ...] = (),
    inplace: bool = False,
) -> Tensor:
    """Run the operator named like ``function``, a public function of (input, *parameters, inplace).

    Whoever overrides ``__torch_function__`` is shown ``function`` instead.
    """
    if is_dynamo_compiling():
        return call_operator(function.__name__, input, parameters, inplace)
    if has_torch_function_unary(input):
        names = list(inspect.signature(function).parameters)[1:]
        # A function without an in-place form has one name fewer.
        keywords = dict(zip(names, (*parameters, inplace), strict=False))
        return overridden(function, (input,), input, **keywords)
    # What call_operator does too; a frame less is 8 % of the call for a tensor of 16 elements.
    return getattr(_C, function.__name__)(input, bool(inplace), *parameters)  # type: ignore[no-any-return]


def call_operator(
    name: str, input: Tensor, parameters: tuple[Any, ...] = (), inplace: bool = False
) -> Tensor:
    """Run the operator ``name`` without asking for ``__torch_function__``.

    Dynamo, which cannot look into C++, is shown the operator. Everything else goes to the C++ entry
    point, which saves a microsecond.
    """
    if is_dynamo_compiling():
        return getattr(_OPERATORS, name + "_" if inplace else name)(input, *parameters)  # type: ignore[no-any-return]
    return getattr(_C, name)(input, bool(inplace), *parameters)  # type: ignore[no-any-return]


def check_number(function: str, argument: str, value: object) -> None:
    """Raise TypeError for a tensor whose gradient would be lost if it were read as a number.

    The C++ entry points check everything else; this is for functions that compute with it first.
    """
    if isinstance(value, Tensor) and (value.requires_grad or value.dim() > 0):
        raise TypeError(
            f"{function}(): expected argument '{argument}' to be a number, but got a Tensor of "
            f"shape {list(value.shape)}{' that requires a gradient' * value.requires_grad}"
        )


def is_overridden(*tensors: Tensor) -> bool:
    """One of them has a ``__torch_function__``, or a mode is on, that is to see the call.

    Dynamo asks them itself, at the operator; it cannot follow ``handle_torch_function`` here.
    """
    return has_torch_function(tensors) and not is_dynamo_compiling()


def overridden(
    function: Callable[..., Tensor],
    tensors: tuple[Tensor, ...],
    *arguments: Any,
    **keywords: Any,
) -> Tensor:
    """What the ``__torch_function__`` of one of ``tensors`` makes of this call of ``function``."""
    result: Tensor = handle_torch_function(function, tensors, *arguments, **keywords)
    return result


def draw_seed(input: Tensor) -> Tensor:
    """A seed from torch's generator: ``torch.manual_seed`` rules it, in a compiled graph too."""
    return torch.randint(-(2**63), 2**63 - 1, (), dtype=torch.int64, device=input.device)

"""The way from a Python function to its operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.overrides import handle_torch_function, has_torch_function_unary

from activations_ext import _C

_OPERATORS = torch.ops.activations_ext


def call(
    function: Callable[..., Tensor],
    input: Tensor,
    parameters: tuple[Any, ...] = (),
    inplace: bool = False,
) -> Tensor:
    """Run the operator named like ``function``.

    Dynamo is shown the operator. A subclass with ``__torch_function__`` is shown ``function``, with
    the arguments as torch's own function would have them. Everything else goes to the C++ entry
    point, which saves a microsecond.
    """
    if is_dynamo_compiling():
        result: Tensor = getattr(_OPERATORS, function.__name__)(input, *parameters)
        return input.copy_(result) if inplace else result
    if has_torch_function_unary(input):
        keywords = {"inplace": True} if inplace else {}
        return handle_torch_function(function, (input,), input, *parameters, **keywords)  # type: ignore[no-any-return]
    return getattr(_C, function.__name__)(input, inplace, *parameters)  # type: ignore[no-any-return]

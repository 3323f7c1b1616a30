"""The way from a Python function to its operator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.overrides import (
    handle_torch_function,
    has_torch_function,
    has_torch_function_unary,
)

import activations_ext._C as _C
from activations_ext._torchs import torchs
from activations_ext.compiled import holds_torchs
from activations_ext.export import uses_torchs

MYPY = False  # which mypy alone takes for True

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

_OPERATORS = torch.ops.activations_ext
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def call(
    function: Callable[..., Tensor],
    input: Tensor,
    parameters: tuple[Any, ...] = (),
    inplace: bool = False,
) -> Tensor:
    """Run the operator named like ``function``, a public function of (input, *parameters, inplace).

    Arguments that override ``__torch_function__`` get ``function`` instead.
    """
    if is_dynamo_compiling():
        return call_operator(function.__name__, input, parameters, inplace)
    if has_torch_function_unary(input):
        return overridden(
            function, (input,), (input, *parameters), {"inplace": True} if inplace else {}
        )
    # What call_operator does too; a frame less is 8 % of the call for a tensor of 16 elements.
    result = getattr(_C, function.__name__)(input, bool(inplace), *parameters)
    if result is NotImplemented:
        return _without_entry(function.__name__, input, parameters, inplace)
    return result  # type: ignore[no-any-return]


def call_operator(
    name: str, input: Tensor, parameters: tuple[Any, ...] = (), inplace: bool = False
) -> Tensor:
    """Run the operator ``name`` without asking for ``__torch_function__``.

    Dynamo, which cannot look into C++, is shown the operator. Everything else goes to the C++ entry
    point, which saves a microsecond. Where there is no kernel, torch's own function runs.
    """
    if is_dynamo_compiling():
        if not has_kernel(input) or holds_torchs(name, input):
            return _torchs(name, input, parameters, inplace)
        return getattr(_OPERATORS, name + "_" if inplace else name)(input, *parameters)  # type: ignore[no-any-return]
    result = getattr(_C, name)(input, bool(inplace), *parameters)
    if result is NotImplemented:
        return _without_entry(name, input, parameters, inplace)
    return result  # type: ignore[no-any-return]


def has_kernel(input: Tensor) -> bool:
    """The operators compute with ``input``; what is left is for torch's functions."""
    return (
        not uses_torchs()
        and input.dtype in DTYPES
        and input.layout == torch.strided
        and on_kernels_device(input.device)
        and not input.is_nested
        and not is_wrapper(input)
    )


def on_kernels_device(device: torch.device) -> bool:
    """There are kernels for ``device``, which may be a card that none were compiled for."""
    return device.type == "meta" or _C.has_kernels_on(device)


# Dynamo is to ask, and not to look inside.
on_kernels_device._dynamo_marked_constant = True  # type: ignore[attr-defined]


def is_wrapper(input: Tensor) -> bool:
    """A subclass that dispatches operators by itself (DTensor, NestedTensor, MaskedTensor, …).

    Fake and functional tensors, which trace, do know our operators.
    """
    if type(input) is Tensor or type(input).__torch_dispatch__ is Tensor.__torch_dispatch__:
        return False
    if is_dynamo_compiling():  # which sees no __tensor_flatten__ of DTensor
        return True
    from torch._subclasses import FakeTensor
    from torch._subclasses.functional_tensor import FunctionalTensor

    return not isinstance(input, (FakeTensor, FunctionalTensor))


def _without_entry(name: str, input: Tensor, parameters: tuple[Any, ...], inplace: bool) -> Tensor:
    """What the C++ entry point gave back: for torch's function, unless it is only traced."""
    if all(has_kernel(t) for t in (input, *parameters) if isinstance(t, Tensor)):
        return getattr(_OPERATORS, name + "_" if inplace else name)(input, *parameters)  # type: ignore[no-any-return]
    return _torchs(name, input, parameters, inplace)


def _torchs(name: str, input: Tensor, parameters: tuple[Any, ...], inplace: bool) -> Tensor:
    return torchs(name)(input, *parameters, **({"inplace": True} if inplace else {}))


def check_number(function: str, argument: str, value: object) -> None:
    """Raise TypeError for a tensor whose gradient would be lost if it were read as a number.

    The C++ entry points check everything else; this is for functions that compute with it first.
    """
    if isinstance(value, Tensor) and (value.requires_grad or value.dim() > 0):
        raise TypeError(
            f"{function}(): expected argument '{argument}' to be a number, but got a Tensor of "
            f"shape {list(value.shape)}{' that requires a gradient' * value.requires_grad}"
        )


def overridable(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Pass ``function`` to the ``__torch_function__`` of an argument or a mode.

    Dynamo asks them itself, at the operator; it cannot follow ``handle_torch_function`` here.
    """

    @functools.wraps(function)
    def shown(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        if not is_dynamo_compiling():
            relevant = (*args, *kwargs.values())
            if has_torch_function(relevant):
                return overridden(shown, relevant, args, kwargs)
        return function(*args, **kwargs)

    return shown


def overridden(
    function: Callable[..., _Result],
    relevant: tuple[Any, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> _Result:
    """What the ``__torch_function__`` of one of ``relevant`` makes of a call of ``function``.

    It is shown what has no default by position and the rest by name, as by torch's functions.
    """
    names, defaults = _parameters(function)
    if len(args) > len(names):
        expected = f"at most {len(names)} arguments, but got {len(args)}"
        raise TypeError(f"{function.__name__}(): expected {expected}")
    given = defaults | dict(zip(names, args, strict=False)) | kwargs
    positional = [given.pop(name) for name in names if name not in defaults]
    return handle_torch_function(function, relevant, *positional, **given)


@functools.cache
def _parameters(function: Callable[..., Any]) -> tuple[list[str], dict[str, Any]]:
    """The names of the parameters, and the defaults of those that have one."""
    parameters = inspect.signature(function).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return [p.name for p in parameters], defaults


def draw_seed(input: Tensor) -> Tensor:
    """A seed from torch's generator: ``torch.manual_seed`` rules it, in a compiled graph too."""
    if not is_dynamo_compiling() and input.is_cpu:
        seed = _C.draw_seed()  # the same number in a fifth of the time
        if seed is not None:
            return seed  # type: ignore[no-any-return]
    return torch.randint(-(2**63), 2**63 - 1, (), dtype=torch.int64, device=input.device)

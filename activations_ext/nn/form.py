"""The form that our modules take.

Tools look modules up by their exact type (captum, torch.ao, thop, …), and torch.fx by where their
class was defined. So what ``nn.ReLU()`` makes is an instance of ``torch.nn.ReLU`` itself, whose
attribute ``forward`` is ours, and ``isinstance(module, nn.ReLU)`` asks for that attribute.
"""

from __future__ import annotations

import copyreg
import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch

_OURS: dict[Callable[..., Any], TorchsType] = {}
"""Our classes that stand for torch's, by their ``forward``."""


class TorchsType(type):
    """The metaclass of our classes that derive from torch's of the same name, ``torchs``."""

    torchs: type[torch.nn.Module]

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> None:
        super().__init__(name, bases, namespace)
        if cls.__module__.startswith("activations_ext.nn.") and bases != (torch.nn.Module,):
            forward, (cls.torchs,) = namespace["forward"], bases
            forward.__wrapped__ = cls.torchs.forward  # what torch.jit.script compiles
            _OURS[forward] = cls
            copyreg.pickle(cls.torchs, _reduced)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        module = super().__call__(*args, **kwargs)
        if cls in _OURS.values() and not beyond_torch(module):
            module.__class__ = cls.torchs
            _set_methods(module, cls)
        return module

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's signature, instead of ``__call__``'s."""
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def __instancecheck__(cls, instance: object) -> bool:
        ours = class_of(instance)
        return super().__instancecheck__(instance) or (ours is not None and issubclass(ours, cls))


def class_of(module: object) -> TorchsType | None:
    """Our class whose ``forward`` an instance of torch's has."""
    forward = getattr(module, "__dict__", {}).get("forward")
    return _OURS.get(getattr(forward, "__func__", None))  # type: ignore[arg-type]


def beyond_torch(module: torch.nn.Module) -> bool:
    """Whether it has options that torch's class lacks."""
    return bool(getattr(module, "options_beyond_torch", None))


def to_torchs(module: torch.nn.Module) -> None:
    """Replaces our forward with torch's, if torch can do what the module does."""
    if class_of(module) is not None:
        for name in _METHODS:
            del module.__dict__[name]
        return
    ours = _OURS.get(type(module).forward)
    if ours is None or beyond_torch(module):
        return
    if type(module) is ours:  # unpickled from a file of an earlier version
        module.__class__ = ours.torchs
    else:  # a user's subclass
        module.__dict__["forward"] = MethodType(ours.torchs.forward, module)


_METHODS = ("forward", "_replicate_for_data_parallel")


def _set_methods(module: torch.nn.Module, ours: TorchsType) -> None:
    for name, method in zip(_METHODS, (ours.forward, _replicated), strict=True):  # type: ignore[attr-defined]
        module.__dict__[name] = MethodType(method, module)


def _replicated(module: torch.nn.Module) -> torch.nn.Module:
    """DataParallel copies the attributes alone: the replica's forward would have our weights."""
    replica: torch.nn.Module = torch.nn.Module._replicate_for_data_parallel(module)
    ours = class_of(module)
    if ours is not None:
        _set_methods(replica, ours)
    return replica


def _reduced(module: torch.nn.Module) -> Any:
    """For copy and pickle: a method in the state would be that of the original."""
    ours = class_of(module)
    if ours is None:
        return module.__reduce_ex__(2)
    return _restored, (ours,), {k: v for k, v in module.__dict__.items() if k not in _METHODS}


def _restored(ours: TorchsType) -> torch.nn.Module:
    module = ours.torchs.__new__(ours.torchs)
    _set_methods(module, ours)
    return module


class OwnModule(torch.nn.Module):
    """The base of modules that torch lacks. torch.fx takes modules of torch.nn for leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["__module__"] = "torch.nn.activations_ext"

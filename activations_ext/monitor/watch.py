"""Which calls of activations there are in a model, and what they are called."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import activations_ext.nn as ours
from activations_ext import _call
from activations_ext._torchs import torchs

_TORCHS = (
    *("CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU"),
    *("LogSigmoid", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid"),
    *("Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold"),
)
ACTIVATIONS = (
    *(getattr(torch.nn, name) for name in _TORCHS),
    *(ours.Exp, ours.SERLU, ours.SquaredReLU),
)

OnCall = Callable[[str, str, Callable[[Tensor], Tensor], Tensor], None]
OnGradient = Callable[[str, Tensor], None]


class Watch:
    """While ``on``, tells of each call of an activation in training mode, and of each gradient.

    ``on_call`` gets the layer's name, the name of the function, the function of one argument
    and its input before the call; ``on_gradient`` the name of a module and the
    gradient of one of its parameters. Hooks look at nothing but ``on`` where it is False.
    """

    def __init__(self, model: torch.nn.Module, on_call: OnCall, on_gradient: OnGradient) -> None:
        self.on = True
        self.owners: dict[str, None] = {}  # of parameters, in the model's order
        self._on_call, self._on_gradient = on_call, on_gradient
        self._calls: dict[str, int] = {}  # of each layer, in this step
        self._where: str | None = None  # the module that runs; None where calls are not counted
        self._learns = True  # the model is in training mode
        self._handles: list[Any] = []
        self._observer = self._observe  # the same object when it is taken away
        _call.observers.append(self._observer)
        for path, module in model.named_modules():
            name = _name(path, model)
            if isinstance(module, ACTIVATIONS):
                self._handles += [
                    module.register_forward_pre_hook(
                        partial(self._before_activation, name), with_kwargs=True
                    ),
                    module.register_forward_hook(partial(self._leave, name)),
                ]
            elif (
                module is model
                or next(module.children(), None) is not None
                or not _is_torchs(module)
            ):
                self._handles += [
                    module.register_forward_pre_hook(partial(self._enter, name, module is model)),
                    module.register_forward_hook(partial(self._leave, name)),
                ]
            for parameter in module.parameters(recurse=False):
                if parameter.requires_grad:
                    owner = name or "(model)"
                    self.owners.setdefault(owner)
                    hook = partial(self._after_gradient, owner)
                    self._handles.append(parameter.register_post_accumulate_grad_hook(hook))

    def new_step(self) -> None:
        self._calls.clear()

    def close(self) -> None:
        self.on = False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self._observer in _call.observers:
            _call.observers.remove(self._observer)

    def __deepcopy__(self, memo: object) -> Watch:
        """A copied model's hooks know this one, so that ``close`` puts them to rest too."""
        return self

    def _enter(self, name: str, is_root: bool, module: torch.nn.Module, args: Any) -> None:
        if not self.on:
            return
        if is_root:
            self.new_step()
            self._learns = module.training
        self._where = name if module.training else None

    def _leave(self, name: str, module: torch.nn.Module, args: Any, output: Any) -> None:
        if self.on:
            # The root has left: nobody's calls are counted.
            self._where = name.rpartition(".")[0] if name and self._learns else None

    def _before_activation(
        self, name: str, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if not self.on:
            return
        self._where = None  # the function that the module calls is not another layer
        if not module.training:
            return
        input = args[0] if args else kwargs["input"]
        if isinstance(module, torch.nn.RReLU):
            slope = (module.lower + module.upper) / 2  # and no random number is drawn
            self._tell(name, "RReLU", partial(_leaky, slope), input)
        else:
            inplace = getattr(module, "inplace", False)
            of = partial(_of_copy, module.forward) if inplace else module.forward
            self._tell(name, type(module).__name__, of, input)

    def _observe(
        self, function: Callable[..., Tensor], input: Tensor, parameters: tuple[Any, ...]
    ) -> None:
        where = self._where
        if where is None or not self.on:
            return
        self._where = None  # it is called again to be looked at
        name = function.__name__.removeprefix("_")
        layer = f"{where}.{name}" if where else name
        self._tell(layer, name, lambda x: function(x, *parameters), input)
        self._where = where

    def _tell(
        self, layer: str, function: str, of: Callable[[Tensor], Tensor], input: Tensor
    ) -> None:
        calls = self._calls.get(layer, 0) + 1
        self._calls[layer] = calls
        self._on_call(layer if calls == 1 else f"{layer}#{calls}", function, of, input)

    def _after_gradient(self, owner: str, parameter: Tensor) -> None:
        if self.on and parameter.grad is not None:
            self._on_gradient(owner, parameter.grad)


def _name(path: str, model: torch.nn.Module) -> str:
    """A module's path without what wraps the model, or a part of it."""
    parts = [part for part in path.split(".") if part != "_orig_mod"]
    wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    return ".".join(parts[isinstance(model, wrappers) :])


def _is_torchs(module: torch.nn.Module) -> bool:
    """A layer of torch.nn, which calls no function of this package."""
    return type(module).__module__.startswith("torch.nn.modules.")


def _of_copy(function: Callable[[Tensor], Tensor], input: Tensor) -> Tensor:
    return function(input.clone())


def _leaky(slope: float, input: Tensor) -> Tensor:
    return torchs("leaky_relu")(input, slope)

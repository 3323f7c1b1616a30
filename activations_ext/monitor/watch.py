"""Observes every activation that a model calls, and which module calls it."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from activations_ext.monitor.functions import FUNCTIONS, ONLY_IN_MODULES, OfInput, of_input

CHANNELS_FIRST = (
    torch.nn.modules.conv._ConvNd,
    torch.nn.modules.batchnorm._NormBase,
    torch.nn.GroupNorm,
)


@dataclass(frozen=True)
class Call:
    """One call of an activation in one forward pass."""

    layer: str
    """The module's path, and the function's name where the module is more than that."""
    function: str
    of: OfInput
    input: Tensor
    channels_first: bool | None
    """The layout of the previous module's output, if known."""


class Watch:
    """Between ``start`` and ``stop``, tells ``on_call`` of each activation in training mode.

    It looks from outside: hooks for all modules of the process, which are there meanwhile, find the
    model's forward pass, and a ``TorchFunctionMode`` sees the functions that are called in it, on
    the thread that runs it. The model itself holds nothing. Compiled functions run uncompiled
    meanwhile.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        on_call: Callable[[Call], None],
        on_forward: Callable[[], None],
    ) -> None:
        self.root = weakref.ref(unwrapped(model))
        self._names: weakref.WeakKeyDictionary[torch.nn.Module, str] | None = None
        self.skipped: dict[str, int] = {}
        """Calls that could not be examined, by reason."""
        self._on_call, self._on_forward = on_call, on_forward
        self._local = threading.local()
        self._handles: list[Any] = []
        self._closed = False
        self._finalizer = weakref.finalize(self, _remove, self._handles)

    def start(self) -> None:
        if self._handles or self._closed:
            return
        watch = weakref.ref(self)

        def enter(module: torch.nn.Module, args: Any) -> None:
            if not is_compiling() and (alive := watch()) is not None:
                alive._enter(module, args)

        def leave(module: torch.nn.Module, args: Any, output: Any) -> None:
            if not is_compiling() and (alive := watch()) is not None:
                alive._leave(module, output)

        self._names = None
        self._handles += [
            hooks.register_module_forward_pre_hook(enter),
            hooks.register_module_forward_hook(leave, always_call=True),
        ]
        if "torch._dynamo" in sys.modules:
            self._handles.append(_Uncompiled())

    def stop(self) -> None:
        _remove(self._handles)
        self._end_pass()  # which an exception may have left without its hook: KeyboardInterrupt

    def close(self) -> None:
        self.stop()
        self._closed = True

    @property
    def on(self) -> bool:
        return bool(self._handles)

    def _enter(self, module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        current: _Pass | None = getattr(self._local, "current", None)
        if current is None:
            if module not in self.names() or torch._C._current_graph_task_id() != -1:
                return  # another model's; or a checkpoint's, in backward
            self._on_forward()
            current = self._local.current = _Pass(module, self)
            current.mode.__enter__()
        elif module is current.first:
            current.restart()  # the one before has left without its hook
        current.enter(module, args)

    def names(self) -> Mapping[torch.nn.Module, str]:
        """Of the model's modules, in the step that is looked at."""
        if self._names is None:
            root = self.root()
            self._names = weakref.WeakKeyDictionary({} if root is None else names_of(root))
        return self._names

    def _leave(self, module: torch.nn.Module, output: Any) -> None:
        current: _Pass | None = getattr(self._local, "current", None)
        if current is not None and current.leave(module, output):
            self._end_pass()

    def _end_pass(self) -> None:
        current: _Pass | None = getattr(self._local, "current", None)
        if current is not None:
            self._local.current = None
            current.mode.__exit__(None, None, None)
            del current.mode  # which refers to the pass

    def tell(self, call: Call) -> None:
        reason = why_not(call.input)
        if reason is None:
            try:
                self._on_call(call)
            except Exception as error:  # a model that runs without being watched goes on
                reason = f"{call.function}: {type(error).__name__}: {error}"
        if reason is not None:
            self.skipped[reason] = self.skipped.get(reason, 0) + 1


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model without its wrappers: torch.compile, DataParallel, DistributedDataParallel."""
    wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(inner := getattr(model, "_orig_mod", None), torch.nn.Module):
            model = inner
        elif isinstance(model, wrappers):
            model = model.module
        else:
            return model


def names_of(root: torch.nn.Module) -> dict[torch.nn.Module, str]:
    """Paths as in ``named_modules()``, without torch.compile's part."""
    return {
        module: ".".join(part for part in path.split(".") if part != "_orig_mod")
        for path, module in root.named_modules()
    }


def why_not(input: Any) -> str | None:
    """Why a call is not counted, or None."""
    if not isinstance(input, Tensor) or not input.is_floating_point():
        return "inputs that are no floating-point tensors"
    if input.is_nested or input.layout != torch.strided:
        return "nested and sparse inputs"
    if type(input) not in (Tensor, torch.nn.Parameter):
        return f"inputs of type {type(input).__name__}"
    if torch._C._functorch.is_functorch_wrapped_tensor(input):
        return "calls within torch.func's transforms"
    if forward_ad._current_level >= 0 and forward_ad.unpack_dual(input).tangent is not None:
        return "calls within forward-mode differentiation"
    return "empty inputs" if input.numel() == 0 else None


def has(members: Mapping[str, Any]) -> bool:
    """Whether a module's ``_modules``, ``_parameters`` or ``_buffers``, where None is a place that
    is empty, hold any: several times as fast as an iterator."""
    return any(member is not None for member in members.values())


class _Frame:
    """A module that runs."""

    def __init__(self, module: torch.nn.Module, args: tuple[Any, ...], is_leaf: bool) -> None:
        self.module, self.is_leaf = module, is_leaf
        self.calls: list[tuple[Call, Any]] = []  # and their results; of a leaf, to be told
        self.input = args[0] if len(args) == 1 and isinstance(args[0], Tensor) else None
        self.version = self._version_of(self.input)

    @property
    def input_is_unchanged(self) -> bool:
        return self.input is not None and self._version_of(self.input) == self.version

    @staticmethod
    def _version_of(tensor: Tensor | None) -> int:
        return 0 if tensor is None or tensor.is_inference() else tensor._version


class _Pass:
    """One forward pass of the model, or of a part called directly, on one thread."""

    def __init__(self, first: torch.nn.Module, watch: Watch) -> None:
        self.first = first
        self.mode = _Mode(self)
        self._watch = watch
        self._names = watch.names()
        self._frames: list[_Frame] = []
        self._counts: dict[str, int] = {}  # of calls, by layer
        self._channels_first: bool | None = None

    def restart(self) -> None:
        self._frames.clear()
        self._counts.clear()

    def enter(self, module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        holds_any = has(module._modules) or has(module._parameters) or has(module._buffers)
        is_leaf = not holds_any or isinstance(module, torch.nn.PReLU)
        self._frames.append(_Frame(module, args, is_leaf))

    def leave(self, module: torch.nn.Module, output: Any) -> bool:
        """True where the model's own pass has ended."""
        while self._frames and self._frames[-1].module is not module:
            self._frames.pop()  # modules that left without their hook
        if not self._frames:
            return False
        frame = self._frames.pop()
        if frame.calls:
            self._tell_leaf(frame, output)
        if isinstance(module, CHANNELS_FIRST):
            self._channels_first = True
        elif has(module._parameters) and not frame.is_leaf:
            self._channels_first = False
        return not self._frames

    def _tell_leaf(self, frame: _Frame, output: Any) -> None:
        """A module without parameters: if it is one function of its input, that is the layer."""
        path, kind = self._names.get(frame.module, ""), type(frame.module).__name__
        (first, result), *others = frame.calls
        if not others and result is output:
            self._tell(path, kind, first.of, first.input)
        elif (
            isinstance(output, Tensor)
            and frame.input_is_unchanged
            and isinstance(frame.input, Tensor)
            and output.shape == frame.input.shape
        ):
            self._tell(path, kind, frame.module.forward, frame.input)
        else:
            for call, _ in frame.calls:
                self._tell(call.layer, call.function, call.of, call.input)

    def called(self, function: Any, args: Any, kwargs: Any) -> Callable[[Any], None]:
        """Before a function runs; what comes back is told its result."""
        frame = self._frames[-1]
        if not (self.first.training and frame.module.training):
            return lambda _: None
        name = FUNCTIONS[function]
        if name in ONLY_IN_MODULES and not frame.is_leaf:
            return lambda _: None
        input, of = of_input(function, args, kwargs)
        path = self._names.get(frame.module, "")
        layer = f"{path}.{name}" if path else name
        if not frame.is_leaf:
            self._tell(layer, name, of, input)
            return lambda _: None
        # Kept before it may be written over.
        kept = input.detach().clone() if _writes(function, kwargs, args) else input
        call = Call(layer, name, of, kept, self._channels_first)
        return lambda result: frame.calls.append((call, result))

    def _tell(self, layer: str, function: str, of: OfInput, input: Tensor) -> None:
        count = self._counts[layer] = self._counts.get(layer, 0) + 1
        name = layer if count == 1 else f"{layer}#{count}"
        with torch._C.DisableTorchFunction():
            self._watch.tell(Call(name, function, of, input, self._channels_first))


def _writes(function: Any, kwargs: dict[str, Any], args: tuple[Any, ...]) -> bool:
    spelled = getattr(function, "__name__", "")
    inplace = kwargs.get("inplace") or any(argument is True for argument in args[1:])
    return bool(spelled.endswith("_") or inplace)


class _Mode(TorchFunctionMode):
    def __init__(self, of: _Pass) -> None:
        super().__init__()
        self._of = of

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in FUNCTIONS or not self._of._frames:
            return func(*args, **kwargs)
        tell_result = self._of.called(func, args, kwargs)
        result = func(*args, **kwargs)
        tell_result(result)
        return result


class _Uncompiled:
    """Compiled code runs uncompiled until the last of these is removed."""

    _lock = threading.Lock()
    _count = 0
    _stance: Any = None

    def __init__(self) -> None:
        with self._lock:
            if _Uncompiled._count == 0:
                _Uncompiled._stance = torch.compiler.set_stance("force_eager")
            _Uncompiled._count += 1

    def remove(self) -> None:
        with self._lock:
            _Uncompiled._count -= 1
            if _Uncompiled._count == 0:
                _Uncompiled._stance.__exit__(None, None, None)


def _remove(handles: list[Any]) -> None:
    while handles:
        handles.pop().remove()

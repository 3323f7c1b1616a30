"""Our formulas inside the loops that torch.compile's Inductor generates for the CPU.

An operator that Inductor cannot look into costs a pass over memory on each side. So Inductor is
given a *lowering* of each activation: to it an elementwise operation that fuses with its
neighbours, and in the C++ that it writes a call into csrc/compiled/loops.h, which runs the formula
of the activation's header on a register. Nothing is written a second time, and the result has the
bits of the eager one.

Inductor has no public seam for this. What is used of it is looked up as it is imported; where
something is missing, our operators stay whole, as any operator of a library does.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.abc
import importlib.util
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import activations_ext._C as _C
from activations_ext import replacement
from activations_ext.compiled import chosen
from activations_ext.registry import ACTIVATIONS

_ENTRY = "torch._inductor.compile_fx"
_NAMESPACE = "activations_ext::compiled::"
_CALL, _OF = f"{_NAMESPACE}call<", f"{_NAMESPACE}of<"
_FUNCTIONS = ("exp", "exp2", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "erfc")
"""The elementary functions in csrc/compiled/elementary.h."""
_NUMBERS = {torch.float32: "float", torch.bfloat16: "at::BFloat16", torch.float16: "at::Half"}
_packaged = Path(__file__).parent / "include"
_HEADERS = _packaged if _packaged.is_dir() else Path(__file__).parent.parent / "csrc"
_installed = False


def fuses(dtype: torch.dtype) -> bool:
    """Our functions of CPU tensors of ``dtype`` fuse: Inductor and its compiler have what it takes.

    Imports Inductor.
    """
    importlib.import_module(_ENTRY)
    return _installed and dtype in _NUMBERS and _cpu_backend() == "cpp" and _compiles()


def decomposes(name: str) -> bool:
    """Our function ``name`` has a formula, and Inductor what it takes to see it.

    Imports Inductor.
    """
    importlib.import_module(_ENTRY)
    return _installed and any(row.name == name for row in ACTIVATIONS)


def _cpu_backend() -> str:
    from torch._inductor import config

    return config.cpu_backend


@functools.cache
def _compiles() -> bool:
    """Inductor's compiler takes the headers. Clang has not been tried."""
    from torch._inductor import cpp_builder

    try:
        compiler = cpp_builder.get_cpp_compiler()
        version = subprocess.check_output(
            [compiler, "-dumpfullversion"], stderr=subprocess.DEVNULL, text=True
        )
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return False  # there is none
    return cpp_builder.is_gcc() and int(version.split(".")[0]) >= 12


# --- the code ---------------------------------------------------------------------------------


@functools.cache
def _digest() -> str:
    """Of everything that decides what generated code does: caches have to know."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(_HEADERS.rglob("*.h")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _literal(number: float) -> str:
    if math.isnan(number):
        return "NAN"
    return repr(float(number)) if math.isfinite(number) else f"{'-' * (number < 0)}INFINITY"


def _call(name: str, which: str, parameters: Sequence[float], dtype: torch.dtype) -> str:
    """The beginning of a call: what it is of follows."""
    numbers = ", ".join(map(_literal, parameters))
    return f'{_CALL}"{name}", activations_ext::Pass::{which}, {_NUMBERS[dtype]}>({{{numbers}}}'


def _emitting(before: Callable[..., str]) -> Any:
    """Inductor's operation for inline assembly, which its C++ has not: there it is our calls."""

    def inline_asm_elementwise(*operands: Any, asm: str, **options: Any) -> str:
        if not asm.startswith(_CALL):
            return before(*operands, asm=asm, **options)
        return f"{asm}, {', '.join(map(str, operands))})"

    return staticmethod(inline_asm_elementwise)


def _replacing(function: Callable[[Any], str]) -> Any:
    """Inductor's vector code for an elementary function, or ours while ``enable()`` is on."""
    ours = f"{_OF}{_NAMESPACE}{function.__name__}>"

    @functools.wraps(function)
    def replacing(x: Any) -> str:
        if x.dtype == torch.float32 and _replaces():
            return f"{ours}({x})"
        return function(x)

    return staticmethod(replacing)


def _replaces() -> bool:
    vectors = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return replacement.is_on() and vectors and _compiles()


def _including(define: Callable[..., str]) -> Callable[..., str]:
    """Of Inductor's function that is shown each kernel's code, loops and templates alike."""
    prefix = "#include <torch/csrc/inductor/cpp_prefix.h>\n"
    headers = {_CALL: "loops.h", _OF: "elementary.h"}

    @functools.wraps(define)
    def defined(scheduling: Any, code: str, *args: Any, **kwargs: Any) -> str:
        for beginning, header in headers.items():
            if beginning in code:
                include = f'#include "{_HEADERS / "compiled" / header}"  // {_digest()}\n'
                code = code.replace(prefix, prefix + include, 1)
        return define(scheduling, code, *args, **kwargs)

    return defined


def _pass_of(suffix: str, of_result: bool) -> str:
    """The pass (csrc/contract/activation.h) that an operator with this suffix computes."""
    return "k" + (suffix.strip("_").title() or "Forward") + "OfResult" * of_result


# --- the lowerings ----------------------------------------------------------------------------


def _lowering(operator: Any, name: str, suffix: str) -> Callable[..., Any]:
    from torch._inductor import lowering
    from torch._inductor.virtualized import V, ops

    whole = lowering.fallback_handler(operator, add_to_fallback_set=False)
    defaults = [argument.default_value for argument in operator._schema.arguments]
    reads = 2 if suffix else 1

    def lower(*args: Any) -> Any:
        given = [*args, *defaults[len(args) :]]  # a graph leaves defaults out
        of_result = bool(suffix) and given.pop()
        tensors, parameters = given[:reads], given[reads:]
        dtype, device = tensors[0].get_dtype(), tensors[0].get_device()
        fused = (
            chosen() != "whole"
            and device.type == "cpu"
            and fuses(dtype)
            and all(isinstance(parameter, (int, float)) for parameter in parameters)
        )
        if not fused:
            return whole(*args)
        call = _call(name, _pass_of(suffix, of_result), parameters, dtype)

        def element(*operands: Any) -> Any:
            operands = tuple(ops.to_dtype(operand, torch.float32) for operand in operands)
            result = ops.inline_asm_elementwise(*operands, asm=call, dtype=torch.float32)
            return ops.to_dtype(result, dtype)

        result = lowering.make_pointwise(element)(*tensors)
        # Computed once however often it is read, as Inductor has it of its own exponentials.
        if len(V.graph.current_node.users) > 1:
            result.realize()
        return result

    return lower


def _decomposition(operator: Any, name: str, suffix: str) -> Callable[..., Any]:
    """The formula on torch's operators, where our code cannot stand in the generated loops."""
    defaults = [argument.default_value for argument in operator._schema.arguments]
    reads = 2 if suffix else 1

    def decompose(*args: Any) -> Any:
        given = [*args, *defaults[len(args) :]]
        of_result = bool(suffix) and given.pop()
        tensors, parameters = given[:reads], given[reads:]
        device, dtype = tensors[0].device, tensors[0].dtype
        if chosen() == "whole" or (device.type == "cpu" and fuses(dtype)):
            return NotImplemented
        which = getattr(_C.Pass, _pass_of(suffix, of_result))
        return _C.formula(name, which, parameters, tensors[0], tensors[-1])

    return decompose


def _replacements() -> dict[Any, Callable[..., Any]]:
    """Ours for functions of torch that Inductor composes of several slow ones."""
    aten, ours = torch.ops.aten, torch.ops.activations_ext
    return {
        aten.mish.default: ours.mish,
        aten.mish_backward.default: ours.mish_backward,
        # A graph leaves defaults out.
        aten.softplus.default: lambda x, beta=1, threshold=20: ours.softplus(x, beta, threshold),
        aten.softplus_backward.default: ours.softplus_backward,
        aten.log_sigmoid_forward.default: lambda x: (ours.logsigmoid(x), x.new_empty(0)),
        aten.log_sigmoid_backward.default: lambda grad, x, _: ours.logsigmoid_backward(grad, x),
    }


def _while_enabled(ours: Callable[..., Any], before: Callable[..., Any]) -> Callable[..., Any]:
    """A decomposition of torch's function: ours while ``enable()`` is on."""

    def decompose(tensor: Any, *args: Any) -> Any:
        if tensor.device.type == "cpu" and replacement.is_on() and fuses(tensor.dtype):
            return ours(tensor, *args)
        return before(tensor, *args)

    return decompose


def _install() -> None:
    import torch._inductor.lowering as inductor
    from torch._functorch import partitioners
    from torch._inductor import codecache, decomposition
    from torch._inductor.codegen import cpp

    def keyed(details: Any, *args: Any, **kwargs: Any) -> None:
        initialise(details, *args, **kwargs)
        # Inductor does not tell one ATEN_CPU_CAPABILITY from another either.
        capability = torch.backends.cpu.get_cpu_capability()
        switches = (chosen() == "whole", replacement.is_on(), _compiles())
        details.activations_ext = (_digest(), capability, switches)

    # Everything is looked up before anything is changed.
    initialise = codecache.FxGraphHashDetails.__init__
    scalar, vector = cpp.CppOverrides, cpp.CppVecOverrides
    emitting = [_emitting(overrides.inline_asm_elementwise) for overrides in (scalar, vector)]
    replacing = {name: _replacing(getattr(vector, name)) for name in _FUNCTIONS}
    including = _including(cpp.CppScheduling.define_kernel)
    recomputable = partitioners.pointwise_ops()
    operators = {
        getattr(torch.ops.activations_ext, row.name + suffix): (row.name, suffix)
        for row in ACTIVATIONS
        for suffix in ("", "_backward", "_curvature")
    }
    lowerings = {o: _lowering(o.default, *which) for o, which in operators.items()}
    decompositions = {o.default: _decomposition(o.default, *w) for o, w in operators.items()}
    for operator, ours in _replacements().items():
        decompositions[operator] = _while_enabled(ours, decomposition.decompositions[operator])
    forget = decomposition.fast_random_decomps.cache_clear

    codecache.FxGraphHashDetails.__init__ = keyed  # type: ignore[assignment, method-assign]
    scalar.inline_asm_elementwise = emitting[0]  # type: ignore[method-assign]
    vector.inline_asm_elementwise = emitting[1]  # type: ignore[method-assign]
    for name, function in replacing.items():
        setattr(vector, name, function)
    cpp.CppScheduling.define_kernel = including  # type: ignore[method-assign]
    for operator, lower in lowerings.items():
        inductor.register_lowering(operator.default, type_promotion_kind=None)(lower)
    recomputable.extend(lowerings)
    decomposition.decompositions.update(decompositions)
    forget()


def _allow_operators() -> None:
    """All of ours, where Inductor was told to compile nothing that it cannot look into."""
    from torch._inductor.lowering import FALLBACK_ALLOW_LIST

    names = {schema.name for schema in torch._C._jit_get_all_schemas()}
    FALLBACK_ALLOW_LIST.update(name for name in names if name.startswith("activations_ext::"))


# --- the moment -------------------------------------------------------------------------------


def _when_imported() -> None:
    _allow_operators()
    global _installed
    # Another Inductor than those that this was written for may lack something.
    with contextlib.suppress(AttributeError, ImportError):
        _install()
        _installed = True


class _Finder(importlib.abc.MetaPathFinder):
    """Waits until Inductor is imported, at the first compilation: that import takes a second."""

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        if name != _ENTRY:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _when_imported()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if _ENTRY in sys.modules:
    _when_imported()
else:
    sys.meta_path.insert(0, _Finder())

"""Chooses the CPU kernels of the instruction set that this machine has."""

from __future__ import annotations

import os
import warnings
from collections.abc import Container

import torch

from activations_ext import _C
from activations_ext._build import import_compiled

# From the least to the most demanding.
_MODULES = {"DEFAULT": "_cpu_default", "AVX2": "_cpu_avx2", "AVX512": "_cpu_avx512"}


def choose_capability(wanted: str, supported: Container[str]) -> str:
    """The instruction set ``wanted``, or the best lesser one that this processor runs.

    Warns where it is not the one wanted: its first instruction would end the process.
    """
    # Other architectures' names (NEON, SVE256, VSX, …) run the default module's portable code.
    if wanted not in _MODULES:
        return "DEFAULT"
    names = list(_MODULES)
    runs = [name for name in names[: names.index(wanted) + 1] if name in supported]
    best = runs[-1] if runs else "DEFAULT"
    if best != wanted:
        warnings.warn(
            f"activations_ext: ATEN_CPU_CAPABILITY asks for {wanted}, which this processor does "
            f"not run; {best} is used instead",
            RuntimeWarning,
            stacklevel=2,
        )
    return best


def use_kernels(capability: str) -> None:
    """Switches to the kernels of ``capability``, which the processor has to run."""
    global _capability
    _C.set_kernels(import_compiled(_MODULES[capability]).kernels)
    _capability = capability


# torch has looked at the processor and at ATEN_CPU_CAPABILITY, which it believes.
_BEST = choose_capability(torch.backends.cpu.get_cpu_capability(), _C.supported_capabilities())
_capability = ""
_is_reproducible = False


def is_reproducible() -> bool:
    return _is_reproducible


def set_reproducible(mode: bool) -> None:
    """The baseline's kernels are the same machine code on every x86-64 processor."""
    global _is_reproducible
    _is_reproducible = mode
    use_kernels("DEFAULT" if mode else _BEST)


set_reproducible(os.environ.get("ACTIVATIONS_EXT_REPRODUCIBLE", "0") not in ("", "0"))


def cpu_capability() -> str:
    """The instruction set in use: ``"DEFAULT"``, ``"AVX2"`` or ``"AVX512"``.

    It is the best one that the machine has, unless the environment variable
    ``ATEN_CPU_CAPABILITY`` (``default``, ``avx2`` or ``avx512``) said otherwise at import, or
    `reproducible` is on. One that the processor does not run is replaced by the next best, with a
    RuntimeWarning.

    Example:
        >>> activations_ext.cpu_capability() in ("DEFAULT", "AVX2", "AVX512")
        True
    """
    return _capability


def empty_cache() -> None:
    """Returns the memory that waits for the next large tensor to the system.

    Results of 32 MiB and more are written into memory that earlier ones left: no more than was in
    use at once, and at most an eighth of what the machine, the control group and ``ulimit -v``
    allow. The system reclaims it when memory is short, so this function is rarely needed; until
    then the process appears to hold it. The environment variable ``ACTIVATIONS_EXT_LARGE_BLOCKS=0``
    turns it off. Linux only; elsewhere nothing is kept.

    Example:
        >>> activations_ext.empty_cache()
    """
    _C.empty_cache()


def check_targets(device: torch.device | str | int | None = None) -> None:
    """Waits for the GPU, and raises if a target of a cross-entropy so far was no class.

    On a GPU nothing waits for the targets to be looked at: the next call of a loss raises. A loop
    that only replays CUDA graphs calls none, and asks here. On the CPU every call raises by itself,
    and this does nothing.

    Args:
        device: the GPU; the current one by default.

    Raises:
        IndexError: names the row and its target; it is told once.

    Example:
        >>> activations_ext.check_targets()  # nothing to wait for on the CPU
    """
    if "cuda" not in _C.devices() or not torch.cuda.is_initialized():
        return
    torch.cuda.synchronize(device)
    _C.check_targets(torch.device("cuda", torch.cuda._utils._get_device_index(device, True)))

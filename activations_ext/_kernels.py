"""Chooses the CPU kernels of the instruction set that this machine has."""

from __future__ import annotations

import importlib

import torch

from activations_ext import _C

_MODULES = {"DEFAULT": "_cpu_default", "AVX2": "_cpu_avx2", "AVX512": "_cpu_avx512"}

# torch has looked at the processor and at the environment variable ATEN_CPU_CAPABILITY. Other
# architectures' names (NEON, SVE256, VSX, …) run the default module's portable vector code.
_capability = torch.backends.cpu.get_cpu_capability()
if _capability not in _MODULES:
    _capability = "DEFAULT"
_C.set_kernels(importlib.import_module(f"activations_ext.{_MODULES[_capability]}").kernels)


def cpu_capability() -> str:
    """The instruction set in use: ``"DEFAULT"``, ``"AVX2"`` or ``"AVX512"``.

    It is the best one that the machine has, unless the environment variable
    ``ATEN_CPU_CAPABILITY`` (``default``, ``avx2`` or ``avx512``) said otherwise at import.
    """
    return _capability


def empty_cache() -> None:
    """Returns the memory that waits for the next large tensor to the system.

    Results of 32 MiB and more are written into memory that earlier ones left, at most a quarter of
    the machine's. The system takes it whenever it is short, so that nobody needs this function; but
    until then the process appears to hold it. Linux only; elsewhere nothing is kept.
    """
    _C.empty_cache()

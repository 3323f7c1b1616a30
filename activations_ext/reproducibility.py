"""The same bits on every x86-64 processor."""

from __future__ import annotations

from activations_ext import _kernels, replacement


class reproducible:
    """Our functions and losses on the CPU give the same bits on AVX-512, AVX2 and the baseline.

    The baseline's kernels run everywhere: the same machine code, without fused multiply-adds, and
    sums in the same order. On any number of threads they give the same bits anyway. It takes effect
    at once, for the whole process; as a context manager, until its end. Compiled graphs keep our
    operators whole (``in_compiled_graphs("whole")``), and `enable` replaces everything that we
    have. The environment variable ``ACTIVATIONS_EXT_REPRODUCIBLE=1`` turns it on at import.

    It does not reach what torch computes: the matrix products of ``linear_cross_entropy``, the
    options of losses that are composites of torch's operators, and float64, whose exponentials and
    logarithms are the C library's, which are not the same in every version.

    Args:
        mode: on or off.

    Example:
        >>> with activations_ext.reproducible():
        ...     activations_ext.cpu_capability()
        'DEFAULT'
    """

    def __init__(self, mode: bool = True) -> None:
        self._before = _kernels.is_reproducible()
        _set(mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        _set(self._before)


def _set(mode: bool) -> None:
    _kernels.set_reproducible(mode)
    replacement.refresh()

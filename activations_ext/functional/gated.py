"""Gated linear units: one half of the features, activated, times the other half, in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

import activations_ext._C as _C
from activations_ext._call import has_kernel, overridable
from activations_ext._torchs import torchs
from activations_ext.functional.rectified import relu
from activations_ext.functional.sigmoidal import sigmoid
from activations_ext.functional.smooth import gelu, silu


class _Unit(NamedTuple):
    """What the gate is activated by, for the kernels and by operators."""

    kind: int  # in csrc/gates/registry.h
    activation: Callable[[Tensor], Tensor]
    alpha: float = 1.0
    limit: float = math.inf
    offset: float = 0.0

    def composed(self, gate: Tensor, up: Tensor) -> Tensor:
        if self.kind != _CLAMPED:
            return self.activation(gate) * up
        gate, up = gate.clamp(max=self.limit), up.clamp(-self.limit, self.limit)
        return self.activation(gate * self.alpha) / self.alpha * (up + self.offset)


class _Split(NamedTuple):
    """How one tensor holds both halves."""

    dim: int
    interleaved: bool
    gate_first: bool

    def check(self, function: str, input: Tensor) -> None:
        if input.dim() == 0 or input.shape[self.dim] % 2 != 0:
            raise RuntimeError(
                f"{function}(): expected argument 'input' to have an even size in dimension "
                f"{self.dim}, but got shape {list(input.shape)}"
            )

    def halves(self, input: Tensor) -> tuple[Tensor, Tensor]:
        if self.interleaved:
            pairs = input.unflatten(self.dim, (-1, 2))
            dim = self.dim if self.dim < 0 else self.dim + 1
            first, second = pairs.unbind(dim)
        else:
            first, second = input.chunk(2, self.dim)
        return (first, second) if self.gate_first else (second, first)


_CLAMPED = 6
_QUICK = _Unit(_CLAMPED, silu, alpha=1.702)


@overridable
def swiglu(
    input: Tensor,
    up: Tensor | None = None,
    *,
    dim: int = -1,
    interleaved: bool = False,
    gate_first: bool = True,
    alpha: float = 1.0,
    limit: float | None = None,
    offset: float = 0.0,
) -> Tensor:
    """``g·σ(αg)·(u + offset)`` of a gate g and u: Shazeer, arXiv:2002.05202.

    With a ``limit`` g is at most that and u within ±limit, where the slope is still 1; gpt-oss has
    ``alpha=1.702, limit=7.0, offset=1.0, interleaved=True``. 16-bit results are rounded once. Only
    the inputs are saved for backward. NaN gives NaN.

    Args:
        input: the gate, or both halves in one tensor.
        up: the factor u, of the gate's shape and dtype; None where ``input`` has both.
        dim: the dimension that ``input`` has both along; its size is even.
        interleaved: gate and factor take turns along ``dim``, instead of being its two halves.
        gate_first: the gate is the first half, or the first of each pair.
        alpha: a positive number.
        limit: a positive number; None for no limit.
        offset: is added to u.

    Raises:
        RuntimeError: the size along ``dim`` is odd, or shapes do not fit.
        ValueError: ``alpha`` or ``limit`` is not positive, or ``offset`` not finite.

    Example:
        >>> F.swiglu(torch.tensor([1.0, -2.0, 3.0, 5.0]))
        tensor([ 2.1932, -1.1920])
    """
    clamped = alpha != 1 or limit is not None or offset != 0
    if not clamped:
        unit = _Unit(0, silu)
    else:
        limit = math.inf if limit is None else limit
        if not (0 < alpha < math.inf and limit > 0 and abs(offset) < math.inf):
            raise ValueError(
                "swiglu(): expected arguments 'alpha' and 'limit' to be positive and 'offset' "
                f"finite, but got {alpha}, {limit} and {offset}"
            )
        unit = _Unit(_CLAMPED, silu, float(alpha), float(limit), float(offset))
    return _gated("swiglu", unit, input, up, _Split(dim, interleaved, gate_first))


@overridable
def geglu(
    input: Tensor,
    up: Tensor | None = None,
    *,
    approximate: str = "none",
    dim: int = -1,
    interleaved: bool = False,
    gate_first: bool = True,
) -> Tensor:
    """``gelu(g)·u`` of a gate g and u: Shazeer, arXiv:2002.05202.

    Args:
        approximate: ``"none"`` or ``"tanh"``, as of ``gelu``.
        input, up, dim, interleaved, gate_first: as of ``swiglu``. diffusers' GEGLU has
            ``gate_first=False``.

    Raises:
        RuntimeError: as ``swiglu``; another ``approximate``.

    Example:
        >>> F.geglu(torch.tensor([1.0, -2.0, 3.0, 5.0]))
        tensor([ 2.5240, -0.2275])
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError(
            f"geglu(): expected argument 'approximate' to be none or tanh, but got {approximate!r}"
        )
    unit = _Unit(1, gelu) if approximate == "none" else _Unit(2, _gelu_tanh)
    return _gated("geglu", unit, input, up, _Split(dim, interleaved, gate_first))


@overridable
def reglu(
    input: Tensor,
    up: Tensor | None = None,
    *,
    dim: int = -1,
    interleaved: bool = False,
    gate_first: bool = True,
) -> Tensor:
    """``relu(g)·u`` of a gate g and u: Shazeer, arXiv:2002.05202.

    Where the gate is 0 or less its gradient is 0.

    Args:
        input, up, dim, interleaved, gate_first: as of ``swiglu``.

    Raises:
        RuntimeError: as ``swiglu``.

    Example:
        >>> F.reglu(torch.tensor([1.0, -2.0, 3.0, 5.0]))
        tensor([3., 0.])
    """
    return _gated("reglu", _Unit(3, relu), input, up, _Split(dim, interleaved, gate_first))


@overridable
def glu(input: Tensor, dim: int = -1, *, interleaved: bool = False) -> Tensor:
    """``u·σ(g)``, u being the first half and g the second: Dauphin et al., arXiv:1612.08083.

    Args:
        input: both halves.
        dim: the dimension that is halved; its size is even.
        interleaved: u and g take turns along ``dim``.

    Raises:
        RuntimeError: the size along ``dim`` is odd.

    Example:
        >>> F.glu(torch.tensor([1.0, -2.0, 3.0, 5.0]))
        tensor([ 0.9526, -1.9866])
    """
    return _gated("glu", _Unit(4, sigmoid), input, None, _Split(dim, interleaved, False))


@overridable
def bilinear_glu(
    input: Tensor, up: Tensor | None = None, *, dim: int = -1, interleaved: bool = False
) -> Tensor:
    """``g·u``, the gated linear unit without an activation: Shazeer, arXiv:2002.05202.

    torch's ``bilinear`` is another function.

    Args:
        input, up, dim, interleaved: as of ``swiglu``.

    Raises:
        RuntimeError: as ``swiglu``.

    Example:
        >>> F.bilinear_glu(torch.tensor([1.0, -2.0, 3.0, 5.0]))
        tensor([  3., -10.])
    """
    return _gated("bilinear_glu", _Unit(5, _identity), input, up, _Split(dim, interleaved, True))


@overridable
def quick_gelu(input: Tensor) -> Tensor:
    """``x·σ(1.702·x)``, the fastest approximation of gelu: Hendrycks and Gimpel, arXiv:1606.08415.

    CLIP's activation, transformers' ``"quick_gelu"``. It is ``swiglu`` of a constant factor. NaN at
    −∞, as of silu.

    Args:
        input: any shape.

    Example:
        >>> F.quick_gelu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.0643,  0.0000,  2.9819])
    """
    if not has_kernel(input) or is_dynamo_compiling():
        return torchs("quick_gelu")(input)
    return _gated("quick_gelu", _QUICK, input, input.new_ones(()), _Split(-1, False, True))


def _gelu_tanh(gate: Tensor) -> Tensor:
    return gelu(gate, approximate="tanh")


def _identity(gate: Tensor) -> Tensor:
    return gate


def _gated(function: str, unit: _Unit, input: Tensor, up: Tensor | None, split: _Split) -> Tensor:
    """In compiled graphs the composition, which the compiler fuses."""
    numbers = (unit.kind, unit.alpha, unit.limit, unit.offset)
    if up is None:
        split.check(function, input)
        if has_kernel(input) and not is_dynamo_compiling():
            return _C.gated_halves(input, *split, *numbers)  # type: ignore[no-any-return]
        if function == "glu" and not split.interleaved and not has_kernel(input):
            return torchs("glu")(input, split.dim)
        return unit.composed(*split.halves(input))
    if has_kernel(input) and has_kernel(up) and not is_dynamo_compiling():
        if input.dtype != up.dtype:
            dtype = torch.promote_types(input.dtype, up.dtype)
            input, up = input.to(dtype), up.to(dtype)
        if input.shape != up.shape:
            input, up = torch.broadcast_tensors(input, up)
        return _C.gated_pair(input, up, *numbers)  # type: ignore[no-any-return]
    return unit.composed(input, up)

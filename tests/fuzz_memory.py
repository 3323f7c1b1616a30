"""Random tensors for fuzz.py: special numbers, any layout, next to pages that nobody may touch."""

from __future__ import annotations

import ctypes
import math
import mmap
import random

import torch
from torch import Tensor

Random = random.Random

# --- memory ---------------------------------------------------------------------------------------


class GuardedMemory:
    """Some pages between two that nobody may touch."""

    def __init__(self, pages: int = 32) -> None:
        self.page = mmap.PAGESIZE
        self.size = pages * self.page
        self.memory = mmap.mmap(-1, self.size + 2 * self.page)
        self.whole = torch.frombuffer(self.memory, dtype=torch.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        for guard in (0, self.page + self.size):
            address = ctypes.c_void_p(self.whole.data_ptr() + guard)
            if libc.mprotect(address, ctypes.c_size_t(self.page), 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")

    def holding(self, tensor: Tensor, at_end: bool) -> Tensor:
        """A contiguous copy next to one of the guards; the tensor itself if it is too large."""
        size = tensor.numel() * tensor.element_size()
        if size == 0 or size > self.size:
            return tensor
        start = self.page + (self.size - size if at_end else 0)
        copy = self.whole[start : start + size].view(tensor.dtype).view(tensor.shape)
        return copy.copy_(tensor)


_guarded: list[GuardedMemory] = []


def guarded(tensor: Tensor, r: Random, place: int) -> Tensor:
    """``place`` counts through the tensors of one call."""
    while len(_guarded) <= place:
        _guarded.append(GuardedMemory())
    return _guarded[place].holding(tensor, r.random() < 0.7)


# --- tensors --------------------------------------------------------------------------------------

SPECIAL = (0.0, -0.0, math.inf, -math.inf, math.nan, 1e-40, -1e-310, 6e4, -3e38, 1e300, 20.0, -88.0)


def numbers(r: Random, count: int, dtype: torch.dtype, special: bool) -> Tensor:
    scale = r.choice((1e-3, 1.0, 5.0, 40.0))
    seeded = torch.Generator().manual_seed(r.getrandbits(48))
    values = torch.randn(count, generator=seeded, dtype=torch.float64) * scale
    if special and count and r.random() < 0.3:
        for _ in range(1 + count // 8):
            values[r.randrange(count)] = r.choice(SPECIAL)
    return values.to(dtype)


def shape_of(r: Random) -> tuple[int, ...]:
    if r.random() < 0.1:
        return (r.randrange(3000),)
    rank = r.choice((0, 1, 1, 2, 2, 2, 3, 4))
    sizes = [r.choice((0, 1, 2, 3, 5, 8, 17, 33)) for _ in range(rank)]
    while math.prod(sizes) > 20_000:
        sizes[r.randrange(rank)] = 2
    return tuple(sizes)


def laid_out(tensor: Tensor, r: Random, place: int) -> Tensor:
    """The same numbers: next to a guard, permuted, with gaps, at an offset, or as they were."""
    kind = r.choice(("guarded", "guarded", "permuted", "stepped", "offset", "plain"))
    around = math.nan if tensor.is_floating_point() else 10**9  # what nobody may look at
    if kind == "guarded":
        return guarded(tensor, r, place)
    if kind == "permuted" and tensor.dim() > 1:
        order = r.sample(range(tensor.dim()), tensor.dim())
        inverse = [order.index(d) for d in range(tensor.dim())]
        return tensor.permute(order).contiguous().permute(inverse)
    if kind == "stepped" and tensor.dim():
        d, step = r.randrange(tensor.dim()), r.choice((2, 3))
        room = list(tensor.shape)
        room[d] = room[d] * step
        part = [slice(None)] * tensor.dim()
        part[d] = slice(0, room[d], step)
        wide = torch.full(room, around, dtype=tensor.dtype)
        wide[tuple(part)] = tensor
        return wide[tuple(part)]
    if kind == "offset":
        offset = r.randrange(1, 9)
        memory = torch.full((offset + tensor.numel(),), around, dtype=tensor.dtype)
        return memory[offset:].view(tensor.shape).copy_(tensor)
    return tensor


def tensor_of(r: Random, dtype: torch.dtype, place: int, special: bool = True) -> Tensor:
    shape = shape_of(r)
    return laid_out(numbers(r, math.prod(shape), dtype, special).view(shape), r, place)

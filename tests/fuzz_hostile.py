"""Hostile calls of every operator, and saved-tensor hooks that return wrong tensors, for
fuzz.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from activations_ext import functional as F
from fuzz_memory import Random, laid_out, numbers
from helpers import CASES, DTYPES

# --- hostile calls --------------------------------------------------------------------------------

OPERATORS = tuple(
    sorted(
        {s.name for s in torch._C._jit_get_all_schemas() if s.name.startswith("activations_ext::")}
    )
)
REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError, OverflowError)


def hostile_tensor(r: Random, place: int) -> Tensor:
    dtypes = (*DTYPES, torch.int64, torch.int32, torch.bool, torch.complex64)
    dtype = r.choice(dtypes) if r.random() < 0.4 else r.choice((torch.float32, torch.int64))
    shape = r.choice(((), (0,), (1,), (4,), (4, 3), (3, 4), (4, 3, 2), (0, 3), (4, 0), (64, 3)))
    if dtype.is_floating_point:
        tensor = laid_out(numbers(r, math.prod(shape), dtype, True).view(shape), r, place)
    else:
        value = r.choice((0, 1, 2, -1, -100, 10**9))
        tensor = torch.full(shape, value, dtype=torch.int64).to(dtype)
    kind = r.choice(("plain",) * 6 + ("meta", "expanded", "freed", "sparse", "leaf", "negative"))
    if kind == "meta":
        return tensor.to("meta")
    if kind == "expanded":
        return tensor.expand(2, *shape)
    if kind == "freed":
        tensor = tensor.clone()
        tensor.untyped_storage().resize_(r.choice((0, 1, 8)))
        return tensor
    if kind == "sparse" and tensor.dim():
        return tensor.to_sparse()
    if kind == "leaf" and tensor.is_floating_point():
        return tensor.detach().requires_grad_()
    if kind == "negative" and tensor.is_floating_point():
        return torch._neg_view(tensor)
    return tensor


def is_freed(tensor: Tensor) -> bool:
    if tensor.layout != torch.strided or tensor.is_meta or not tensor.numel():
        return False
    last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    needed = (tensor.storage_offset() + last + 1) * tensor.element_size()
    return tensor.untyped_storage().nbytes() < needed


def goes_to_kernels(tensor: Tensor) -> bool:
    plain = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_neg()
    return plain and not tensor.requires_grad


def hostile_argument(kind: str, r: Random, place: int) -> Any:
    if kind in ("Optional[Tensor]", "Optional[Tensor]?") and r.random() < 0.4:
        return None
    if "Tensor" in kind and "List" not in kind:
        return hostile_tensor(r, place)
    if kind == "int":
        return r.choice((0, 1, -1, 2, 3, -100, 10**6, 2**62, -(2**63)))
    if kind == "float":
        return r.choice((0.0, 1.0, -1.0, 0.1, 1e39, -1e300, math.inf, -math.inf, math.nan))
    if kind == "bool":
        return r.random() < 0.5
    if kind == "List[bool]":
        return [r.random() < 0.5 for _ in range(3)]
    if kind == "List[Optional[Tensor]]":
        return [hostile_argument("Optional[Tensor]", r, place) for _ in range(4)]
    raise AssertionError(kind)


def check_hostile(name: str, r: Random) -> None:
    """It raises one of Python's errors, or returns, and what it returns can be read."""
    operator = getattr(torch.ops.activations_ext, name.removeprefix("activations_ext::")).default
    kinds = [str(argument.type) for argument in operator._schema.arguments]
    arguments = [hostile_argument(kind, r, place) for place, kind in enumerate(kinds)]
    if r.random() < 0.3:  # as soon as a first tensor is a good one, the others are looked at
        good = next((a for a in arguments if isinstance(a, Tensor)), None)
        arguments = [good if isinstance(a, Tensor) and r.random() < 0.6 else a for a in arguments]
    tensors = [a for a in arguments if isinstance(a, Tensor)]
    if any(map(is_freed, tensors)) and not all(map(goes_to_kernels, tensors)):
        return  # torch's own operators crash
    try:
        results = operator(*arguments)
    except REFUSALS as error:
        if "INTERNAL ASSERT" in str(error) and "activations_ext" in str(error):
            raise AssertionError(f"{name}: {error}") from error
        return
    for result in results if isinstance(results, (tuple, list)) else [results]:
        if result.device.type == "cpu" and result.layout == torch.strided:
            result.detach().double() if not result.is_complex() else None


# --- hooks that return wrong tensors --------------------------------------------------------------

SAVING: dict[str, Callable[[Tensor], Tensor]] = {
    **{str(case): case for case in CASES},
    "prelu": lambda x: F.prelu(x, torch.rand(3).to(x).requires_grad_()) * 1,
    "rrelu": lambda x: F.rrelu(x, training=True),
    "shift_dropout": lambda x: F.shift_dropout(x),
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, 0),
    "cross_entropy": lambda x: F.cross_entropy(x, torch.tensor([0, 2, -100, 1]), reduction="none"),
    "cross_entropy, mean": lambda x: F.cross_entropy(x, torch.tensor([0, 2, 1, 1])),
}


def check_lies(r: Random) -> None:
    """Whatever comes back from a hook, and whatever gradient comes in."""
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> int:
        saved.append(tensor.detach())
        return len(saved) - 1

    def unpack(i: int) -> Tensor:
        return hostile_tensor(r, i % 4) if r.random() < 0.5 else saved[i]

    leaf = torch.randn(4, 3, dtype=r.choice(DTYPES)).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        result = SAVING[r.choice(tuple(SAVING))](leaf if leaf.dtype == torch.float32 else leaf * 1)
    try:
        # A node of torch's, behind one of ours, crashes on memory that was freed.
        if r.random() < 0.5 and not type(result.grad_fn).__name__.startswith("Mul"):
            result.grad_fn(hostile_tensor(r, 5))  # type: ignore[misc]
        else:
            result.backward(torch.ones_like(result))
    except REFUSALS as error:
        if "INTERNAL ASSERT" in str(error) and "activations_ext" in str(error):
            raise AssertionError(str(error)) from error

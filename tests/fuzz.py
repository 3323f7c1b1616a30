"""Random calls of every function against float64, and hostile ones of every operator.

A call follows from a seed. ``test_fuzz.py`` runs some of each in the suite; ``make fuzz`` runs
10^5 of each, in a process of its own, and names the seed of the first that fails or crashes:

    python tests/fuzz.py --calls 100000
    python tests/fuzz.py elu --calls 1 --seed 1234
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import math
import mmap
import multiprocessing
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as torch_functional
from torch import Tensor

from activations_ext import functional as F
from helpers import CASES, DTYPES, Case, rounding_unit

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


def eps(dtype: torch.dtype) -> float:
    return float(torch.finfo(dtype).eps)


def assert_near(what: str, ours: Tensor, exact: Tensor, allowed: Tensor) -> None:
    """NaN where there is NaN, infinite where the dtype has to be, elsewhere within ``allowed``."""
    rounded, value = exact.to(ours.dtype).double(), ours.double()
    same = (value == rounded) | (value.isnan() & rounded.isnan())
    # Next to the largest number a rounding decides between it and infinity.
    largest = torch.finfo(ours.dtype).max
    edge = (exact.abs() > 0.99 * largest) & (value.abs() > 0.99 * largest)
    wrong = ~(same | edge | ((value - exact).abs() <= allowed))
    if wrong.any():
        at = tuple(wrong.nonzero()[0].tolist())
        raise AssertionError(
            f"{what} at {at}: {value[at].item()!r}, exactly {exact[at].item()!r}, "
            f"allowed {allowed[at].item()!r}"
        )


# --- activations ----------------------------------------------------------------------------------


def check_activation(case: Case, r: Random) -> None:
    dtype = r.choice(DTYPES)
    x = tensor_of(r, dtype, 0)
    grad_output = laid_out(numbers(r, x.numel(), dtype, special=False).view(x.shape), r, 1)
    held = case.rounded(dtype)
    leaf = x.detach().requires_grad_()
    y = case(leaf)
    (grad,) = torch.autograd.grad(y, leaf, grad_output)
    wide = x.detach().double().requires_grad_()
    exact = held.differentiable_reference(wide)
    (slope,) = torch.autograd.grad(exact.sum(), wide)
    exact, magnified = exact.detach(), 1 + x.double().abs()
    # How exact they are is for test_values.py; here a wrong element would be far off.
    unit = rounding_unit(exact, dtype)
    assert_near("value", y.detach(), exact, (32 * unit + 1e-15) * magnified)
    ordinary = (x.double().abs() < 1e3) & y.detach().isfinite()  # a result may be what is saved
    for kink in held.kinks:
        ordinary &= (x.double() - kink).abs() > 1e-6 * (1 + abs(kink))
    g = grad_output.double()
    off = 64 * eps(dtype) * magnified * g.abs() * (1 + slope.abs())
    least = torch.finfo(dtype).smallest_normal
    assert_near(
        "gradient",
        torch.where(ordinary, grad, 0),
        torch.where(ordinary, g * slope, 0.0),
        off + least,
    )
    if case.activation.inplace:
        copy = guarded(x.contiguous(), r, 2)
        before = y.detach().contiguous()
        case(copy, inplace=True)
        assert_near("in place", copy, before.double(), torch.zeros_like(copy).double())


def check_prelu(r: Random) -> None:
    dtype = r.choice(DTYPES)
    x = tensor_of(r, dtype, 0, special=False)
    channels = x.shape[1] if x.dim() > 1 and r.random() < 0.7 else 1
    weight = guarded(numbers(r, channels, dtype, special=False), r, 1)
    g = laid_out(numbers(r, x.numel(), dtype, special=False).view(x.shape), r, 2)
    compare(
        lambda a, w: F.prelu(a, w),
        lambda a, w: torch_functional.prelu(a, w),
        [x, weight],
        g,
        dtype,
        slack=4096.0,  # of sums over many elements
    )


def compare(
    ours: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    inputs: list[Tensor],
    grad_output: Tensor | None,
    dtype: torch.dtype,
    slack: float = 64.0,
    rounded: bool = False,
) -> None:
    """Values and gradients, to within some roundings of the largest number of each.

    ``rounded``: something that the gradient is made of has been rounded to ``dtype`` before, the
    result of softmax, or the product of probabilities and class weights.
    """
    leaves = [t.detach().requires_grad_() for t in inputs]
    wide = [t.detach().double().requires_grad_() for t in inputs]
    result, exact = ours(*leaves), reference(*wide)
    g = torch.ones_like(result) if grad_output is None else grad_output.to(result.dtype)
    assert result.shape == exact.shape
    computes = torch.float64 if dtype == torch.float64 else torch.float32
    size = exact.detach().abs().nan_to_num(0, 0, 0).amax() if exact.numel() else exact.new_zeros(())
    allowed = slack * eps(computes) * (size + 1) + 2 * eps(result.dtype) * exact.detach().abs()
    assert_near("value", result.detach(), exact.detach(), allowed.nan_to_num(0).expand_as(exact))
    if exact.isnan().any() or not exact.numel():  # the mean of nothing
        return
    grads = torch.autograd.grad(result, leaves, g)
    exact_grads = torch.autograd.grad(exact, wide, g.double())
    for i, (grad, right) in enumerate(zip(grads, exact_grads, strict=True)):
        if not right.numel():
            continue
        finite = right.abs().nan_to_num(0, 0, 0)
        least = torch.finfo(grad.dtype).smallest_normal
        error = max(slack * eps(computes), 16 * eps(dtype) if rounded else 0.0)
        off = error * (finite.amax() + g.double().abs().amax()) + 4 * eps(dtype) * finite + least
        assert_near(f"gradient {i}", grad, right, off)


# --- rows -----------------------------------------------------------------------------------------


def check_softmax(name: str, r: Random) -> None:
    dtype = r.choice(DTYPES)
    x = tensor_of(r, dtype, 0, special=False)
    if x.numel() == 0:
        return
    dim = r.randrange(-max(1, x.dim()), max(1, x.dim()))
    g = laid_out(numbers(r, x.numel(), dtype, special=False).view(x.shape), r, 1)
    g = g if name != "logsumexp" else g.sum(dim) if x.dim() else g
    torchs = torch.logsumexp if name == "logsumexp" else getattr(torch_functional, name)
    compare(
        lambda a: getattr(F, name)(a, dim),
        lambda a: torchs(a, dim),
        [x],
        g,
        dtype,
        slack=256.0,
        rounded=name != "logsumexp",
    )


@dataclass
class Rows:
    """Logits and what is asked of them."""

    dtype: torch.dtype
    logits: Tensor
    target: Tensor
    options: dict[str, Any]
    z_loss: float
    softcap: float
    tokens: Tensor | None
    num_items: float | None


def rows_of(r: Random, dtype: torch.dtype, inner: bool) -> Rows:
    classes = r.choice((1, 2, 3, 10, 31, 65, 130, 257, 1000))
    count = r.choice((1, 2, 3, 7, 16, 33))
    sizes: tuple[int, ...] = (count, classes)
    if inner and r.random() < 0.3:
        sizes = (count, classes, r.choice((1, 2, 5)))
    logits = laid_out(numbers(r, math.prod(sizes), dtype, False).view(sizes), r, 0)
    shape = sizes[:1] + sizes[2:]
    options: dict[str, Any] = {"reduction": r.choice(("none", "mean", "sum"))}
    if r.random() < 0.3:
        options["label_smoothing"] = r.random()
    seeded = torch.Generator().manual_seed(r.getrandbits(48))
    if r.random() < 0.3:
        options["weight"] = torch.rand(classes, generator=seeded).to(dtype) + 0.5
    if r.random() < 0.25:
        target = torch.rand(sizes, generator=seeded, dtype=torch.float64).to(dtype)
    else:
        target = torch.randint(classes, shape, generator=seeded)
        if r.random() < 0.4:
            ignored = r.choice((-100, 0, classes - 1))
            options["ignore_index"] = ignored
            target[torch.rand(shape, generator=seeded) < 0.4] = ignored
        target = laid_out(target, r, 1) if r.random() < 0.5 else target
    tokens = torch.rand(shape, generator=seeded) + 0.1 if r.random() < 0.3 else None
    return Rows(
        dtype,
        logits,
        target,
        options,
        r.choice((0.0, 0.0, 1e-2)),
        r.choice((0.0, 0.0, 7.0)),
        tokens,
        None if options["reduction"] == "none" or r.random() < 0.7 else r.randint(1, 50),
    )


def loss_by_formula(logits: Tensor, rows: Rows) -> Tensor:
    """Written down once more, as plainly as can be."""
    capped = rows.softcap * torch.tanh(logits / rows.softcap) if rows.softcap else logits
    options = {k: v for k, v in rows.options.items() if k != "reduction"}
    if "weight" in options:
        options["weight"] = options["weight"].double()
    by_class = not rows.target.is_floating_point()
    target = rows.target if by_class else rows.target.double()
    losses = torch_functional.cross_entropy(capped, target, reduction="none", **options)
    kept = torch.ones_like(losses)
    weights = kept
    if by_class:
        kept = (rows.target != options.get("ignore_index", -100)).double()
        inside = torch.where(kept == 1, rows.target, 0)
        weights = kept * options["weight"][inside] if "weight" in options else kept
    z = kept * rows.z_loss * capped.logsumexp(1).square()
    tokens = torch.ones_like(losses) if rows.tokens is None else rows.tokens.double()
    reduction = rows.options["reduction"]
    if reduction == "none":
        return (losses + z) * tokens
    total, total_z = (losses * tokens).sum(), (z * tokens).sum()
    if rows.num_items is not None:
        return (total + total_z) / rows.num_items
    if reduction == "sum":
        return total + total_z
    return total / (weights * tokens).sum() + total_z / (kept * tokens).sum()


def beyond_torch(rows: Rows) -> dict[str, Any]:
    found = {"z_loss": rows.z_loss, "softcap": rows.softcap, "num_items": rows.num_items}
    return {**found, "token_weight": rows.tokens, **rows.options}


def check_cross_entropy(r: Random) -> None:
    rows = rows_of(r, r.choice(DTYPES), inner=True)
    more = r.random() < 0.6
    if not more:
        rows.z_loss, rows.softcap, rows.tokens, rows.num_items = 0.0, 0.0, None, None
    options = beyond_torch(rows) if more else rows.options
    compare(
        lambda x: F.cross_entropy(x, rows.target, **options),
        lambda x: loss_by_formula(x, rows),
        [rows.logits],
        None,
        rows.dtype,
        slack=512.0,
        rounded=rows.target.is_floating_point(),
    )


def check_linear_cross_entropy(r: Random) -> None:
    dtype = r.choice((torch.float32, torch.float64))  # in 16 bits the logits are rounded first
    rows = rows_of(r, dtype, inner=False)
    count, classes = rows.logits.shape
    features = r.choice((1, 3, 8))
    hidden = laid_out(numbers(r, count * features, dtype, False).view(count, features), r, 2)
    weight = laid_out(numbers(r, classes * features, dtype, False).view(classes, features), r, 3)
    hidden, weight = hidden.clamp(-5, 5), weight.clamp(-5, 5)
    options = beyond_torch(rows)
    budget = r.choice((1, 4 * classes * 3, 2**20))
    compare(
        lambda h, w: F.linear_cross_entropy(h, w, rows.target, memory_budget=budget, **options),
        lambda h, w: loss_by_formula(h @ w.t(), rows),
        [hidden, weight],
        None,
        dtype,
        slack=4096.0,
    )


def check_binary(r: Random) -> None:
    dtype = r.choice(DTYPES)
    x = tensor_of(r, dtype, 0, special=False)
    seeded = torch.Generator().manual_seed(r.getrandbits(48))

    def part() -> Tensor | None:
        sizes = [n if r.random() < 0.6 else 1 for n in x.shape]
        some = torch.rand(sizes, generator=seeded, dtype=torch.float64).to(dtype) + 0.5
        return None if r.random() < 0.5 else guarded(some, r, 2)

    target = laid_out(torch.rand(x.shape, generator=seeded).to(dtype), r, 1)
    weight, positive, reduction = part(), part(), r.choice(("none", "mean", "sum"))
    positive = None if positive is None else positive.clone()

    def double(t: Tensor | None) -> Tensor | None:
        return None if t is None else t.double()

    compare(
        lambda a: F.binary_cross_entropy_with_logits(
            a, target, weight, reduction=reduction, pos_weight=positive
        ),
        lambda a: torch_functional.binary_cross_entropy_with_logits(
            a, target.double(), double(weight), reduction=reduction, pos_weight=double(positive)
        ),
        [x],
        None,
        dtype,
        slack=512.0,
    )


def check_mixture(r: Random) -> None:
    dtype = r.choice(DTYPES)
    n, c, d = r.choice((1, 2, 7, 16, 33)), r.choice((1, 2, 5)), r.choice((1, 2, 3))
    sizes = ((n, c), (n, c, d), (n, c, d), (n, d))
    parts = [
        laid_out(numbers(r, math.prod(s), dtype, False).view(s).clamp(-3, 3), r, i)
        for i, s in enumerate(sizes)
    ]
    scale_by, reduction = r.choice(("exp", "softplus", "elu")), r.choice(("none", "mean", "sum"))
    floor = r.choice((0.0, 0.1))

    def by_formula(logits: Tensor, mean: Tensor, scale: Tensor, target: Tensor) -> Tensor:
        sigma = {
            "exp": torch.exp,
            "softplus": torch_functional.softplus,
            "elu": lambda s: torch_functional.elu(s) + 1,
        }[scale_by](scale) + floor
        normal = torch.distributions.Normal(mean, sigma, validate_args=False)
        density = normal.log_prob(target.unsqueeze(-2)).sum(-1)
        nll = -(logits.log_softmax(-1) + density).logsumexp(-1)
        return nll if reduction == "none" else nll.mean() if reduction == "mean" else nll.sum()

    compare(
        lambda *p: F.gaussian_mixture_nll_loss(
            *p, scale_by=scale_by, floor=floor, reduction=reduction
        ),
        by_formula,
        parts,
        None,
        dtype,
        slack=16384.0,
        rounded=True,  # the target's gradient is the sum of the means'
    )


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


# --- hooks that lie -------------------------------------------------------------------------------

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
        if r.random() < 0.5:
            result.grad_fn(hostile_tensor(r, 5))  # type: ignore[misc]
        else:
            result.backward(torch.ones_like(result))
    except REFUSALS as error:
        if "INTERNAL ASSERT" in str(error) and "activations_ext" in str(error):
            raise AssertionError(str(error)) from error


# --- all of them ----------------------------------------------------------------------------------

CHECKS: dict[str, Callable[[Random], None]] = {
    **{str(case): lambda r, case=case: check_activation(case, r) for case in CASES},
    "prelu": check_prelu,
    **{
        name: lambda r, name=name: check_softmax(name, r)
        for name in ("softmax", "softmin", "log_softmax", "logsumexp")
    },
    "cross_entropy": check_cross_entropy,
    "linear_cross_entropy": check_linear_cross_entropy,
    "binary_cross_entropy_with_logits": check_binary,
    "gaussian_mixture_nll_loss": check_mixture,
    **{name.replace("::", "."): lambda r, name=name: check_hostile(name, r) for name in OPERATORS},
    "hooks": check_lies,
}


def run(name: str, seed: int) -> None:
    CHECKS[name](Random(f"{name} {seed}"))


def _worker(name: str, first: int, calls: int, current: Any) -> None:
    faulthandler.enable()
    torch.set_num_threads(1)
    for seed in range(first, first + calls):
        current.value = seed
        run(name, seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="of CHECKS; all by default")
    parser.add_argument("--calls", type=int, default=100_000, help="of each")
    parser.add_argument("--seed", type=int, default=0, help="of the first call")
    options = parser.parse_args()
    failed = []
    for name in options.names or CHECKS:
        start, current = time.monotonic(), multiprocessing.get_context("fork").Value("q", -1)
        process = multiprocessing.get_context("fork").Process(
            target=_worker, args=(name, options.seed, options.calls, current)
        )
        process.start()
        process.join()
        seconds = time.monotonic() - start
        outcome = "ok" if process.exitcode == 0 else f"FAILED at --seed {current.value}"
        print(f"{name:45} {current.value + 1 - options.seed:8} calls {seconds:7.0f} s  {outcome}")
        sys.stdout.flush()
        if process.exitcode != 0:
            failed.append(name)
    print(f"{len(failed)} of {len(options.names or CHECKS)} failed")
    return min(len(failed), 1)


if __name__ == "__main__":
    raise SystemExit(main())

"""Random calls of every function, for fuzz.py: values and gradients against float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as torch_functional
from torch import Tensor

from activations_ext import functional as F
from fuzz_memory import Random, guarded, laid_out, numbers, tensor_of
from helpers import DTYPES, Case, rounding_unit


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
    # test_values.py tests the accuracy; here a wrong element would be far off.
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
    """Written a second time, as plainly as possible."""
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

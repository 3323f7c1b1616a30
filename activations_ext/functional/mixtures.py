"""The loss of mixture density networks: outputs that are a whole distribution of the target."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

import activations_ext._C as _C
from activations_ext._call import (
    DTYPES,
    has_kernel,
    is_wrapper,
    on_kernels_device,
    overridable,
)
from activations_ext.functional.row_statistics import ordered_sum

# In the order of ScaleBy in csrc/device/mixture_job.h.
SCALES = ("exp", "softplus", "elu", "identity")


@overridable
def gaussian_mixture_nll_loss(
    logits: Tensor,
    mean: Tensor,
    scale: Tensor,
    target: Tensor,
    *,
    scale_by: str = "identity",
    floor: float = 0.0,
    reduction: str = "mean",
    validate_args: bool | None = None,
) -> Tensor:
    """Minus the log-density of each target under a mixture of C Gaussians in D dimensions,

    ``−log Σ_c φ_c Π_d N(y_d; μ_cd, σ_cd)`` with ``φ = softmax(logits)``, ``σ = f(scale) + floor``.

    Finite where the densities themselves underflow, for weights of exactly 0 too (logits of −∞).
    One read of the arguments forward, one read and one write backward; 16-bit numbers are computed
    in float32. σ is never taken to be less than the smallest normal number, and an exponential not
    to be more than e⁸⁸ (float64: e⁷⁰⁹). NaN stays NaN. Differentiable any number of times, also
    in forward mode and under ``torch.func`` and ``torch.compile``.
    (Bishop 1994, Mixture density networks.)

    Args:
        logits: unnormalised log-weights, of shape (\\*, C).
        mean: of shape (\\*, C, D).
        scale: of shape (\\*, C, D): standard deviations, or what ``scale_by`` makes them of.
        target: of shape (\\*, D). The shapes (\\*) may differ, and are broadcast.
        scale_by: f, one of ``"exp"``, ``"softplus"``, ``"elu"`` (which is ELU + 1) and
            ``"identity"``.
        floor: what is added to every standard deviation, so that no component can collapse onto a
            single target.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        validate_args: look for standard deviations that are not positive and for NaN targets. None:
            on the CPU, where nothing has to wait for it, and outside of ``torch.compile`` and
            ``torch.func``.

    Returns:
        A number, or with ``"none"`` one for each target, of shape (\\*).

    Raises:
        ValueError: shapes that do not fit, no such ``scale_by`` or ``reduction``, a negative
            ``floor``, a standard deviation that is not positive, or a target that is NaN.
        NotImplementedError: tensors of integers.

    Example:
        >>> logits, mean = torch.zeros(1, 2), torch.tensor([[[-1.0], [1.0]]])
        >>> scale, target = torch.full((1, 2, 1), 0.5), torch.tensor([[1.0]])
        >>> F.gaussian_mixture_nll_loss(logits, mean, scale, target)
        tensor(0.9186)
    """
    _check(logits, mean, scale, target, scale_by, floor, reduction)
    if validates(mean) if validate_args is None else validate_args:
        _check_numbers(scale, target, scale_by, floor)
    parts = (logits, mean, scale, target)
    dtype = mean.dtype
    if not logits.dtype == scale.dtype == target.dtype == dtype:
        dtype = functools.reduce(torch.promote_types, (part.dtype for part in parts))
    sizes = [part.shape[:-own] for part, own in zip(parts, _OWN_DIMENSIONS, strict=True)]
    same = all(size == sizes[0] for size in sizes)
    batch = sizes[0] if same else torch.broadcast_shapes(*sizes)
    rows = (
        _rows(part, dtype, batch, own) for part, own in zip(parts, _OWN_DIMENSIONS, strict=True)
    )
    # DTensor, for one, has no rule for our operators.
    wrapped = any(map(is_wrapper, parts)) and not all(map(has_kernel, parts))
    by_formula = wrapped or not on_kernels_device(mean.device)
    density = _C.mixture_nll_by_formula if by_formula else torch.ops.activations_ext.mixture_nll
    losses: Tensor = density(*rows, SCALES.index(scale_by), float(floor))
    if reduction == "none":
        return losses.to(dtype).reshape(batch)
    total = ordered_sum(losses)
    return (total / losses.numel() if reduction == "mean" else total).to(dtype)


_OWN_DIMENSIONS = (1, 2, 2, 1)  # behind the batch's: components, or components and dimensions


def _rows(part: Tensor, dtype: torch.dtype, batch: tuple[int, ...], own: int) -> Tensor:
    """With one dimension for the batch. Each step takes its time where the tensors are small."""
    if part.dtype != dtype:
        part = part.to(dtype)
    if len(batch) == 1 and part.dim() == own + 1 and part.shape[0] == batch[0]:
        return part
    return part.expand(*batch, *part.shape[-own:]).reshape(-1, *part.shape[-own:])


def _check(
    logits: Tensor,
    mean: Tensor,
    scale: Tensor,
    target: Tensor,
    scale_by: str,
    floor: float,
    reduction: str,
) -> None:
    def fail(argument: str, expected: str, got: object) -> None:
        raise ValueError(
            f"gaussian_mixture_nll_loss(): expected argument '{argument}' to {expected}, "
            f"but got {got}"
        )

    for argument, value, choices in (
        ("scale_by", scale_by, SCALES),
        ("reduction", reduction, ("none", "mean", "sum")),
    ):
        if value not in choices:
            fail(argument, f"be one of {', '.join(choices)}", repr(value))
    largest = torch.finfo(torch.float64 if mean.dtype == torch.float64 else torch.float32).max
    if not 0 <= floor <= largest:
        fail("floor", f"be from 0 to {largest}", floor)
    if mean.dim() < 2 or 0 in mean.shape[-2:]:
        fail("mean", "have the shape (*, components, dimensions), neither 0", tuple(mean.shape))
    components, dimensions = mean.shape[-2:]
    for argument, tensor, trailing in (
        ("logits", logits, (components,)),
        ("scale", scale, (components, dimensions)),
        ("target", target, (dimensions,)),
    ):
        if tensor.shape[-len(trailing) :] != trailing:
            fail(argument, f"end in the sizes {trailing}, as 'mean' does", tuple(tensor.shape))
    named = (("logits", logits), ("mean", mean), ("scale", scale), ("target", target))
    for argument, tensor in named:
        if tensor.dtype not in DTYPES:
            raise NotImplementedError(
                f"gaussian_mixture_nll_loss(): expected argument '{argument}' to be a tensor of "
                f"float32, float64, bfloat16 or float16, but got {tensor.dtype}"
            )
        if tensor.device != mean.device:
            raise RuntimeError(
                f"gaussian_mixture_nll_loss(): expected argument '{argument}' to be on the device "
                f"of 'mean', {mean.device}, but got {tensor.device}"
            )


def validates(tensor: Tensor) -> bool:
    """Its numbers can be looked at: nothing has to wait for them, and nothing only traces."""
    return (
        not torch.compiler.is_compiling()
        and tensor.device.type == "cpu"
        and type(tensor) in (Tensor, torch.nn.Parameter)
        and not is_in_torch_dispatch_mode()
        and not torch._C._are_functorch_transforms_active()
    )


def _check_numbers(scale: Tensor, target: Tensor, scale_by: str, floor: float) -> None:
    """By minima and maxima, which are NaN where a number is: one read, and no writes."""
    if scale_by != "exp" and scale.numel() > 0:
        least, largest = (number.item() for number in scale.detach().aminmax())
        for wrong in [least + floor] * (scale_by == "identity" and not least + floor > 0) + [
            largest
        ] * (largest == math.inf):
            raise ValueError(
                "gaussian_mixture_nll_loss(): expected argument 'scale' to have positive and "
                f"finite standard deviations, but got {wrong}"
            )
    check_no_nan("gaussian_mixture_nll_loss", target)


def check_no_nan(function: str, target: Tensor) -> None:
    if target.numel() > 0 and target.detach().amin().isnan():
        place = tuple(target.isnan().nonzero()[0].tolist())
        raise ValueError(
            f"{function}(): expected argument 'target' to have numbers, but got NaN at position "
            f"{place}"
        )

"""The loss of yes-or-no questions, asked of every element."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.nn import _reduction

from activations_ext._call import has_kernel, overridable
from activations_ext._torchs import torchs
from activations_ext.compiled import holds_torchs
from activations_ext.functional.row_losses import check_gamma
from activations_ext.functional.row_statistics import ordered_sum, power_of_rest


@overridable
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
    *,
    focal_gamma: float = 0.0,
) -> Tensor:
    """Minus the log-probability of each target, where logits stand for probabilities ``σ(x)``.

    ``−w·(p·t·log σ(x) + (1 − t)·log σ(−x))`` with ``p`` the ``pos_weight``. Both logarithms keep
    their digits where σ saturates. Computed in float32 for 16-bit logits; the sum does not depend
    on the number of threads. NaN stays NaN; of an infinite logit the loss is NaN, as torch's.

    Args:
        input: logits of any shape; float32, float64, bfloat16 or float16. Where there is no kernel
            (another dtype, device or layout, dtypes that differ) torch's own function is called.
        target: probabilities of the shape of ``input``.
        weight: a factor for each loss, broadcastable to ``input``.
        size_average: deprecated, see torch.
        reduce: deprecated, see torch.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        pos_weight: the weight of the positive answers, broadcastable to ``input``.
        focal_gamma: γ of a factor ``(1 − p_t)^γ`` of each loss, ``p_t = t·σ(x) + (1 − t)·σ(−x)``
            (Lin et al., arXiv:1708.02002); 0 where p_t is 1. Its α is
            ``weight=α·t + (1 − α)·(1 − t)``.

    Raises:
        ValueError: ``target`` has another shape, there is no such ``reduction``, or ``focal_gamma``
            is negative or not finite.
        RuntimeError: a weight does not broadcast.

    Example:
        >>> logits, target = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.0])
        >>> F.binary_cross_entropy_with_logits(logits, target)
        tensor(0.2201)
    """
    if size_average is not None or reduce is not None:
        reduction = _reduction.legacy_get_string(size_average, reduce)
    if focal_gamma != 0:
        check_gamma("binary_cross_entropy_with_logits", focal_gamma)
    weights = [w for w in (weight, pos_weight) if w is not None]
    fits = (
        has_kernel(input)
        and target.shape == input.shape
        and all(t.dtype == input.dtype and t.device == input.device for t in (target, *weights))
        and all(_broadcasts(w, input) for w in weights)
        and not torch.is_autocast_enabled(input.device.type)
        and not (is_dynamo_compiling() and holds_torchs("binary_cross_entropy_with_logits", input))
    )
    if not fits and focal_gamma != 0:
        return _focal(input, target, weight, reduction, pos_weight, focal_gamma)
    if not fits:
        return torchs("binary_cross_entropy_with_logits")(
            input, target, weight, None, None, reduction, pos_weight
        )
    result: Tensor = torch.ops.activations_ext.binary_cross_entropy_with_logits(
        input, target, weight, pos_weight, _reduction.get_enum(reduction), focal_gamma
    )
    return result


def _focal(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    pos_weight: Tensor | None,
    gamma: float,
) -> Tensor:
    """Of torch's operators, where there is no kernel."""
    wide = torch.promote_types(input.dtype, torch.float32)
    x, t = input.to(wide), target.to(wide)
    weight = None if weight is None else weight.to(wide)
    pos_weight = None if pos_weight is None else pos_weight.to(wide)
    losses = torchs("binary_cross_entropy_with_logits")(
        x, t, weight, None, None, "none", pos_weight
    )
    rest = x.sigmoid() * (1 - t) + (-x).sigmoid() * t
    focused: Tensor = losses * power_of_rest(rest, gamma)
    return _reduced(focused, reduction).to(input.dtype)


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if reduction == "none":
        return losses
    total = ordered_sum(losses)
    return total / losses.numel() if reduction == "mean" else total


def _broadcasts(weight: Tensor, input: Tensor) -> bool:
    """Without making the result larger than ``input``."""
    sizes = zip(reversed(weight.shape), reversed(input.shape), strict=False)
    return weight.dim() <= input.dim() and all(w in (1, i) for w, i in sizes)

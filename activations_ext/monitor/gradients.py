"""The norms of the gradients that an optimizer sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def squared_norms(names: Mapping[torch.nn.Module, str]) -> dict[str, Tensor]:
    """Of each module's own parameters, in the model's order; a shared parameter counts where it
    comes first. Sharded gradients (DTensor) are added up over their mesh, by all of its processes
    together."""
    gradients: dict[int, tuple[str, Tensor]] = {}  # by parameter
    for module, name in names.items():
        for parameter in module._parameters.values():
            if parameter is not None and parameter.grad is not None:
                gradients.setdefault(id(parameter), (name or "(model)", parameter.grad))
    plain = [gradient for _, gradient in gradients.values() if _is_plain(gradient)]
    norms = iter(torch._foreach_norm(plain, 2, dtype=_wide(plain)) if plain else ())
    sums: dict[str, list[Tensor]] = {}
    for name, gradient in gradients.values():
        square = next(norms).square() if _is_plain(gradient) else _square(gradient)
        sums.setdefault(name, []).append(square)
    return {name: sum(squares[1:], squares[0]) for name, squares in sums.items()}


def _is_plain(gradient: Tensor) -> bool:
    return type(gradient) is Tensor and gradient.layout == torch.strided


def _wide(gradients: list[Tensor]) -> torch.dtype:
    """The dtype in which squares are summed: 16 bits would overflow."""
    is_double = any(gradient.dtype == torch.float64 for gradient in gradients)
    return torch.float64 if is_double else torch.float32


def _square(gradient: Tensor) -> Tensor:
    if gradient.is_sparse:
        gradient = gradient.coalesce().values()
    square = gradient.float().square().sum()
    whole = getattr(square, "full_tensor", None)
    return square if whole is None else whole()


def learns(model: torch.nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in model.parameters())


class Scale:
    """The factor by which a ``torch.amp.GradScaler`` has multiplied the gradients."""

    def __init__(self, scaler: Any) -> None:
        self._scaler = scaler
        self._updates = 0

    def before_forward(self) -> None:
        self._updates = self._updates_so_far()

    def now(self) -> Tensor | float:
        """1 from ``unscale_()`` or ``step()`` on, up to the next forward pass."""
        if self._scaler is None or not self._scaler.is_enabled():
            return 1.0
        if self._updates_so_far() != self._updates:
            return 1.0
        states = self._scaler._per_optimizer_states.values()
        if any(state["stage"].name != "READY" for state in states):
            return 1.0
        scale = self._scaler._scale
        return 1.0 if scale is None else scale

    def _updates_so_far(self) -> int:
        """How often ``update()`` was called; each call writes into the scale."""
        scale = getattr(self._scaler, "_scale", None)
        return 0 if scale is None else scale._version

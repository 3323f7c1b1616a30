"""The norms of the gradients that an optimizer sees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def squared_norms(names: dict[torch.nn.Module, str]) -> dict[str, Tensor]:
    """Of each module's own parameters, in the model's order; a shared parameter counts where it
    comes first. Sharded gradients (DTensor) are added up over their mesh, by all of its processes
    together."""
    seen: set[int] = set()
    norms = {}
    for module, name in names.items():
        squares = []
        for parameter in module.parameters(recurse=False):
            if parameter.grad is not None and id(parameter) not in seen:
                seen.add(id(parameter))
                squares.append(_square(parameter.grad))
        if squares:
            norms[name or "(model)"] = torch.stack(squares).sum()
    return norms


def _square(gradient: Tensor) -> Tensor:
    if gradient.is_sparse:
        gradient = gradient.coalesce().values()
    square = gradient.float().square().sum()
    whole = getattr(square, "full_tensor", None)
    return square if whole is None else whole()


def learns(model: torch.nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in model.parameters())


class Scale:
    """The factor in the gradients that a ``torch.amp.GradScaler`` has put there."""

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
        """How often ``update()`` was called: each time it writes into the scale."""
        scale = getattr(self._scaler, "_scale", None)
        return 0 if scale is None else scale._version

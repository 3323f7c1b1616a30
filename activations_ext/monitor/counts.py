"""The counts of one activation, on its device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks


def value_and_slope(function: Callable[[Tensor], Tensor], input: Tensor) -> tuple[Tensor, Tensor]:
    """Of each element, and without a gradient: by forward mode, or where a function has none, by
    backward."""
    with torch.inference_mode(False), torch.enable_grad():
        x = input.clone() if input.is_inference() else input.detach()
        try:
            with forward_ad.dual_level():
                result = function(forward_ad.make_dual(x, torch.ones_like(x)))
                value, slope = forward_ad.unpack_dual(result)
                if slope is not None:
                    return value.detach(), slope.detach()
        except (NotImplementedError, RuntimeError):
            pass
        # Our own hooks hide the model's, a checkpoint's for example, which count what is saved.
        with saved_tensors_hooks(_same, _same):
            x = x.clone().requires_grad_()
            value = function(x)
            (slope,) = torch.autograd.grad(value, x, torch.ones_like(value))
        return value.detach(), slope.detach()


def _same(tensor: Tensor) -> Tensor:
    return tensor


def in_several_processes() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


class Counts:
    """Sums over the batches of a window, for each unit, into which ``count`` values went."""

    def __init__(self, sums: Tensor, count: int) -> None:
        self.sums, self.count = sums, count

    @staticmethod
    def zeros(units: int, device: torch.device) -> Counts:
        # Sums of many batches lose their digits in float32; some devices have nothing better.
        wide = torch.float32 if device.type == "mps" else torch.float64
        return Counts(torch.zeros(4, units, dtype=wide, device=device), 0)

    @property
    def active(self) -> Tensor:
        return self.sums[0]

    @property
    def units(self) -> int:
        return self.sums.shape[1]

    def add(
        self, value: Tensor, slope: Tensor, dim: int, dead_below: float, saturated_below: float
    ) -> None:
        """``dim`` is the dimension of the units."""
        if value.dim() < 2:  # one unit
            value, slope, dim = value.reshape(-1, 1), slope.reshape(-1, 1), 1
        dim %= value.dim()
        others = [1 + d for d in range(value.dim()) if d != dim]
        terms = torch.empty(4, *value.shape, dtype=self.sums.dtype, device=value.device)
        active, saturated, values, squares = terms.unbind()
        size = slope.abs()
        torch.ge(size, dead_below, out=active)
        torch.lt(size, saturated_below, out=saturated)
        values.copy_(value)
        torch.square(values, out=squares)
        self.sums += terms.sum(others)
        self.count += value.numel() // max(1, value.shape[dim])

    def added_up(self) -> Counts:
        """The sums over all processes of the default group, if there are several."""
        if not in_several_processes():
            return self
        sums, count = self.sums.clone(), self.sums.new_tensor(self.count)
        torch.distributed.all_reduce(sums)
        torch.distributed.all_reduce(count)
        return Counts(sums, int(count))

    @property
    def dead(self) -> Tensor:
        """For each unit, whether it never let a gradient through."""
        return self.active == 0

    @property
    def saturation(self) -> Tensor:
        return self.sums[1] / self.count

    @property
    def mean(self) -> Tensor:
        return self.sums[2] / self.count

    @property
    def variance(self) -> Tensor:
        return (self.sums[3] / self.count - self.mean.square()).clamp_min(0)

    def shares(self) -> Tensor:
        """The shares of dead units and of saturated slopes in the layer."""
        return torch.stack([self.dead.to(self.sums.dtype).mean(), self.saturation.mean()])

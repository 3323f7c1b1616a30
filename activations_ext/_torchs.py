"""What runs where there is no kernel of ours: torch's function of that name, or, of what torch
lacks, the formula on torch's operators."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as reference
from torch import Tensor


def torchs(name: str) -> Callable[..., Tensor]:
    """A function of (input, *parameters), and of ``inplace`` where torch's has it."""
    return _OTHERS[name] if name in _OTHERS else getattr(reference, name)


def gelu_tanh(input: Tensor) -> Tensor:
    return reference.gelu(input, approximate="tanh")


def serlu(input: Tensor) -> Tensor:
    negative = input.clamp(max=0)  # e^x overflows on the other side, and its gradient with it
    return 1.07862 * torch.where(input >= 0, input, 2.90427 * negative * torch.exp(negative))


def squared_relu(input: Tensor) -> Tensor:
    return reference.relu(input).square()


def shift_dropout(input: Tensor, p: float, minimum: float, inplace: bool = False) -> Tensor:
    dropped = torch.empty_like(input, dtype=torch.float32).uniform_() < p
    kept = minimum + (input - minimum) / (1 - p) if p < 1 else input
    result = torch.where(dropped, minimum, kept)
    return input.copy_(result) if inplace else result


_OTHERS: dict[str, Callable[..., Tensor]] = {
    "exp": torch.exp,
    "gelu_tanh": gelu_tanh,
    "logsumexp": torch.logsumexp,
    "serlu": serlu,
    "shift_dropout": shift_dropout,
    "sigmoid": torch.sigmoid,
    "squared_relu": squared_relu,
    "tanh": torch.tanh,
}

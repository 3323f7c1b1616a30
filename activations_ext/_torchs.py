"""What runs where there is no kernel of ours: torch's function of that name, or, of what torch
lacks, the formula on torch's operators.

They are looked up here once, at import: ``torch.nn.functional.relu = F.relu`` would otherwise have
our functions call themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as torch_functional
from torch import Tensor

import activations_ext._C as _C

_CAPTURED: dict[str, Callable[..., Tensor]] = {
    **{name: f for name, f in vars(torch_functional).items() if callable(f)},
    "exp": torch.exp,
    "logsumexp": torch.logsumexp,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def torchs(name: str) -> Callable[..., Tensor]:
    """A function of (input, *parameters), and of ``inplace`` where torch's has it.

    Raises AttributeError if there is none.
    """
    if name not in _CAPTURED:
        raise AttributeError(f"torch.nn.functional has no {name!r}, and there is no formula")
    return _CAPTURED[name]


# By name, so that torch.jit.script compiles the formulas.
gelu, relu = torch_functional.gelu, torch_functional.relu


def gelu_tanh(input: Tensor) -> Tensor:
    return gelu(input, approximate="tanh")


# Constants as defaults: TorchScript sees no others.
def serlu(input: Tensor, alpha: float = _C.serlu_alpha, scale: float = _C.serlu_scale) -> Tensor:
    negative = input.clamp(max=0)  # e^x overflows on the other side, and its gradient with it
    return scale * torch.where(input >= 0, input, alpha * negative * torch.exp(negative))


def squared_relu(input: Tensor) -> Tensor:
    return relu(input).square()


def quick_gelu(input: Tensor) -> Tensor:
    return input * torch.sigmoid(1.702 * input)


def shift_dropout(
    input: Tensor, p: float, minimum: float, training: bool = True, inplace: bool = False
) -> Tensor:
    if not training:
        return input
    dropped = torch.empty_like(input, dtype=torch.float32).uniform_() < p
    kept = minimum + (input - minimum) / (1 - p) if p < 1 else input
    result = torch.where(dropped, minimum, kept)
    return input.copy_(result) if inplace else result


_CAPTURED |= {f.__name__: f for f in (gelu_tanh, serlu, squared_relu, quick_gelu, shift_dropout)}

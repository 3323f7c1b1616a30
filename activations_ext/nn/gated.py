"""Modules of gated linear units, and the feed-forward block that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from activations_ext import functional as F
from activations_ext.nn.form import OwnModule, TorchsType


class GLU(torch.nn.GLU, metaclass=TorchsType):
    """The first half times the sigmoid of the second: see ``activations_ext.functional.glu``.

    Example:
        >>> nn.GLU()(torch.tensor([1.0, -2.0, 3.0, 5.0]))
        tensor([ 0.9526, -1.9866])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)


class _Gated(OwnModule):
    def __init__(
        self, dim: int = -1, *, interleaved: bool = False, gate_first: bool = True
    ) -> None:
        super().__init__()
        self.dim, self.interleaved, self.gate_first = dim, interleaved, gate_first

    @property
    def split(self) -> dict[str, Any]:
        return {
            "dim": self.dim,
            "interleaved": self.interleaved,
            "gate_first": self.gate_first,
        }

    def extra_repr(self) -> str:
        parts = [f"dim={self.dim}"]
        parts += ["interleaved=True"] if self.interleaved else []
        parts += [] if self.gate_first else ["gate_first=False"]
        return ", ".join(parts)


class SwiGLU(_Gated):
    """The silu of a gate times the other half: see ``activations_ext.functional.swiglu``.

    Example:
        >>> nn.SwiGLU()(torch.tensor([1.0, -2.0, 3.0, 5.0]))
        tensor([ 2.1932, -1.1920])
    """

    def __init__(
        self,
        dim: int = -1,
        *,
        interleaved: bool = False,
        gate_first: bool = True,
        alpha: float = 1.0,
        limit: float | None = None,
        offset: float = 0.0,
    ) -> None:
        super().__init__(dim, interleaved=interleaved, gate_first=gate_first)
        self.alpha, self.limit, self.offset = alpha, limit, offset

    def forward(self, input: Tensor, up: Tensor | None = None) -> Tensor:
        return F.swiglu(
            input, up, alpha=self.alpha, limit=self.limit, offset=self.offset, **self.split
        )

    def extra_repr(self) -> str:
        if (self.alpha, self.limit, self.offset) == (1.0, None, 0.0):
            return super().extra_repr()
        numbers = f"alpha={self.alpha}, limit={self.limit}, offset={self.offset}"
        return f"{super().extra_repr()}, {numbers}"


class GEGLU(_Gated):
    """The gelu of a gate times the other half: see ``activations_ext.functional.geglu``.

    Example:
        >>> nn.GEGLU()(torch.tensor([1.0, -2.0, 3.0, 5.0]))
        tensor([ 2.5240, -0.2275])
    """

    def __init__(
        self,
        dim: int = -1,
        *,
        approximate: str = "none",
        interleaved: bool = False,
        gate_first: bool = True,
    ) -> None:
        super().__init__(dim, interleaved=interleaved, gate_first=gate_first)
        self.approximate = approximate

    def forward(self, input: Tensor, up: Tensor | None = None) -> Tensor:
        return F.geglu(input, up, approximate=self.approximate, **self.split)


class ReGLU(_Gated):
    """The relu of a gate times the other half: see ``activations_ext.functional.reglu``.

    Example:
        >>> nn.ReGLU()(torch.tensor([1.0, -2.0, 3.0, 5.0]))
        tensor([3., 0.])
    """

    def forward(self, input: Tensor, up: Tensor | None = None) -> Tensor:
        return F.reglu(input, up, **self.split)


class BilinearGLU(_Gated):
    """One half times the other: see ``activations_ext.functional.bilinear_glu``.

    Example:
        >>> nn.BilinearGLU()(torch.tensor([1.0, -2.0, 3.0, 5.0]))
        tensor([  3., -10.])
    """

    def forward(self, input: Tensor, up: Tensor | None = None) -> Tensor:
        return F.bilinear_glu(input, up, dim=self.dim, interleaved=self.interleaved)


class QuickGELU(OwnModule):
    """The input times the sigmoid of 1.702 of it: see ``activations_ext.functional.quick_gelu``.

    Example:
        >>> nn.QuickGELU()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.0643,  0.0000,  2.9819])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.quick_gelu(input)


_UNITS: dict[str, Callable[[], torch.nn.Module]] = {
    "silu": SwiGLU,
    "gelu": GEGLU,
    "gelu_tanh": lambda: GEGLU(approximate="tanh"),
    "relu": ReGLU,
    "sigmoid": GLU,
    "identity": BilinearGLU,
}


class GatedMLP(torch.nn.Module):
    """The feed-forward block of language models, ``down(f(gate)·up)`` with gate and up of one
    product: Shazeer, arXiv:2002.05202.

    Args:
        in_features: of the input's last dimension.
        hidden_features: of gate and up; None for 8/3 of ``in_features``, rounded up to 64, which
            has the parameters of an ungated block of four times the features.
        out_features: None for ``in_features``.
        activation: ``"silu"``, ``"gelu"``, ``"gelu_tanh"``, ``"relu"``, ``"sigmoid"`` (whose gate
            is the second half, as torch's GLU has it) or ``"identity"``.
        bias: of both linear layers.

    Raises:
        ValueError: another ``activation``.

    Example:
        >>> nn.GatedMLP(4, 6)(torch.zeros(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        *,
        activation: str = "silu",
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if activation not in _UNITS:
            raise ValueError(
                f"GatedMLP(): expected argument 'activation' to be one of {', '.join(_UNITS)}, "
                f"but got {activation!r}"
            )
        hidden = hidden_features or -(-8 * in_features // 3 // 64) * 64
        self.gate_up = torch.nn.Linear(
            in_features, 2 * hidden, bias=bias, device=device, dtype=dtype
        )
        self.activation = _UNITS[activation]()
        self.down = torch.nn.Linear(
            hidden, out_features or in_features, bias=bias, device=device, dtype=dtype
        )

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = self.down(self.activation(self.gate_up(input)))
        return result

"""Modules that make distributions over the classes of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from activations_ext import functional as F
from activations_ext.nn.form import TorchsType


class Softmax(torch.nn.Softmax, metaclass=TorchsType):
    """Exponentials divided by their sum: see ``activations_ext.functional.softmax``.

    Example:
        >>> nn.Softmax(dim=1)(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[0.0900, 0.2447, 0.6652]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim, _stacklevel=5)


class Softmin(torch.nn.Softmin, metaclass=TorchsType):
    """The softmax of the negative: see ``activations_ext.functional.softmin``.

    Example:
        >>> nn.Softmin(dim=1)(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[0.6652, 0.2447, 0.0900]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim, _stacklevel=5)


class LogSoftmax(torch.nn.LogSoftmax, metaclass=TorchsType):
    """The logarithm of the softmax: see ``activations_ext.functional.log_softmax``.

    Example:
        >>> nn.LogSoftmax(dim=1)(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[-2.4076, -1.4076, -0.4076]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim, _stacklevel=5)


class Softmax2d(torch.nn.Softmax2d, metaclass=TorchsType):
    """The softmax over the channels of (N, C, H, W) or (C, H, W).

    See ``activations_ext.functional.softmax``. Raises ValueError for other shapes, as torch's.

    Example:
        >>> nn.Softmax2d()(torch.zeros(1, 2, 1, 1)).flatten()
        tensor([0.5000, 0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4):
            raise ValueError(
                "Softmax2d: expected argument 'input' to have 3 or 4 dimensions, but got "
                f"{input.dim()}"
            )
        return F.softmax(input, -3, _stacklevel=5)

"""Modules that make distributions over the classes of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from activations_ext import functional as F
from activations_ext.nn.form import TorchsType


class Softmax(torch.nn.Softmax, metaclass=TorchsType):
    """Exponentials divided by their sum: see ``activations_ext.functional.softmax``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim, _stacklevel=5)


class Softmin(torch.nn.Softmin, metaclass=TorchsType):
    """The softmax of the negative: see ``activations_ext.functional.softmin``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim, _stacklevel=5)


class LogSoftmax(torch.nn.LogSoftmax, metaclass=TorchsType):
    """The logarithm of the softmax: see ``activations_ext.functional.log_softmax``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim, _stacklevel=5)


class Softmax2d(torch.nn.Softmax2d, metaclass=TorchsType):
    """The softmax over the channels of (N, C, H, W) or (C, H, W).

    See ``activations_ext.functional.softmax``. Raises ValueError for other shapes, as torch's.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4):
            raise ValueError(
                "Softmax2d: expected argument 'input' to have 3 or 4 dimensions, but got "
                f"{input.dim()}"
            )
        return F.softmax(input, -3, _stacklevel=5)

"""Modules that level off on both sides, and what is made of them."""

from __future__ import annotations

import torch
from torch import Tensor

from activations_ext import functional as F
from activations_ext.nn.form import TorchsType


class Sigmoid(torch.nn.Sigmoid, metaclass=TorchsType):
    """The logistic function: see ``activations_ext.functional.sigmoid``.

    Example:
        >>> nn.Sigmoid()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0.1192, 0.5000, 0.9526])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class Tanh(torch.nn.Tanh, metaclass=TorchsType):
    """The hyperbolic tangent: see ``activations_ext.functional.tanh``.

    Example:
        >>> nn.Tanh()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.9640,  0.0000,  0.9951])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class LogSigmoid(torch.nn.LogSigmoid, metaclass=TorchsType):
    """The logarithm of the logistic function: see ``activations_ext.functional.logsigmoid``.

    Example:
        >>> nn.LogSigmoid()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-2.1269, -0.6931, -0.0486])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Hardsigmoid(torch.nn.Hardsigmoid, metaclass=TorchsType):
    """A sigmoid of three straight lines: see ``activations_ext.functional.hardsigmoid``.

    Example:
        >>> nn.Hardsigmoid()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0.1667, 0.5000, 1.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)


class Softsign(torch.nn.Softsign, metaclass=TorchsType):
    """A sigmoid with slow tails: see ``activations_ext.functional.softsign``.

    Example:
        >>> nn.Softsign()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.6667,  0.0000,  0.7500])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class Tanhshrink(torch.nn.Tanhshrink, metaclass=TorchsType):
    """What the hyperbolic tangent takes away: see ``activations_ext.functional.tanhshrink``.

    Example:
        >>> nn.Tanhshrink()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-1.0360,  0.0000,  2.0049])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)

"""Modules that level off on both sides, and what is made of them."""

from __future__ import annotations

import torch
from torch import Tensor

from activations_ext import functional as F
from activations_ext.nn.form import TorchsType


class Sigmoid(torch.nn.Sigmoid, metaclass=TorchsType):
    """The logistic function: see ``activations_ext.functional.sigmoid``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class Tanh(torch.nn.Tanh, metaclass=TorchsType):
    """The hyperbolic tangent: see ``activations_ext.functional.tanh``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class LogSigmoid(torch.nn.LogSigmoid, metaclass=TorchsType):
    """The logarithm of the logistic function: see ``activations_ext.functional.logsigmoid``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Hardsigmoid(torch.nn.Hardsigmoid, metaclass=TorchsType):
    """A sigmoid of three straight lines: see ``activations_ext.functional.hardsigmoid``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)


class Softsign(torch.nn.Softsign, metaclass=TorchsType):
    """A sigmoid with slow tails: see ``activations_ext.functional.softsign``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class Tanhshrink(torch.nn.Tanhshrink, metaclass=TorchsType):
    """What the hyperbolic tangent takes away: see ``activations_ext.functional.tanhshrink``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)

"""Modules of the ReLU family."""

from __future__ import annotations

import torch
from torch import Tensor

from activations_ext import functional as F
from activations_ext.nn.form import OwnModule, TorchsType


class ReLU(torch.nn.ReLU, metaclass=TorchsType):
    """Rectified linear unit: see ``activations_ext.functional.relu``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)


class ReLU6(torch.nn.ReLU6, metaclass=TorchsType):
    """ReLU with a ceiling of 6: see ``activations_ext.functional.relu6``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(input, self.inplace)


class LeakyReLU(torch.nn.LeakyReLU, metaclass=TorchsType):
    """Leaky ReLU: see ``activations_ext.functional.leaky_relu``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class PReLU(torch.nn.PReLU, metaclass=TorchsType):
    """Leaky ReLU whose slope, one or one for each channel, is the parameter ``weight``.

    See ``activations_ext.functional.prelu``.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)


class RReLU(torch.nn.RReLU, metaclass=TorchsType):
    """Leaky ReLU whose slope is random in training: see ``activations_ext.functional.rrelu``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class ELU(torch.nn.ELU, metaclass=TorchsType):
    """Exponential linear unit: see ``activations_ext.functional.elu``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)


class SELU(torch.nn.SELU, metaclass=TorchsType):
    """Scaled ELU: see ``activations_ext.functional.selu``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)


class CELU(torch.nn.CELU, metaclass=TorchsType):
    """ELU without a kink: see ``activations_ext.functional.celu``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


class SERLU(OwnModule):
    """Scaled exponentially-regularized linear unit, which has no parameters.

    See ``activations_ext.functional.serlu``.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.serlu(input)


class SquaredReLU(OwnModule):
    """ReLU squared: see ``activations_ext.functional.squared_relu``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.squared_relu(input)


class Hardtanh(torch.nn.Hardtanh, metaclass=TorchsType):
    """The input clamped: see ``activations_ext.functional.hardtanh``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class Threshold(torch.nn.Threshold, metaclass=TorchsType):
    """The input where it is above a threshold, else a constant.

    See ``activations_ext.functional.threshold``.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

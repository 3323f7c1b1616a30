"""Modules of the ReLU family."""

from __future__ import annotations

import torch
from torch import Tensor

from activations_ext import functional as F
from activations_ext.nn.form import OwnModule, TorchsType


class ReLU(torch.nn.ReLU, metaclass=TorchsType):
    """Rectified linear unit: see ``activations_ext.functional.relu``.

    Example:
        >>> nn.ReLU()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0., 0., 3.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)


class ReLU6(torch.nn.ReLU6, metaclass=TorchsType):
    """ReLU with a ceiling of 6: see ``activations_ext.functional.relu6``.

    Example:
        >>> nn.ReLU6()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0., 0., 3.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(input, self.inplace)


class LeakyReLU(torch.nn.LeakyReLU, metaclass=TorchsType):
    """Leaky ReLU: see ``activations_ext.functional.leaky_relu``.

    Example:
        >>> nn.LeakyReLU()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.0200,  0.0000,  3.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class PReLU(torch.nn.PReLU, metaclass=TorchsType):
    """Leaky ReLU whose slope, one or one for each channel, is the parameter ``weight``.

    See ``activations_ext.functional.prelu``.

    Example:
        >>> nn.PReLU(init=0.5)(torch.tensor([-2.0, 0.0, 3.0])).tolist()
        [-1.0, 0.0, 3.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)


class RReLU(torch.nn.RReLU, metaclass=TorchsType):
    """Leaky ReLU whose slope is random in training: see ``activations_ext.functional.rrelu``.

    Example:
        >>> nn.RReLU().eval()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.4583,  0.0000,  3.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class ELU(torch.nn.ELU, metaclass=TorchsType):
    """Exponential linear unit: see ``activations_ext.functional.elu``.

    Example:
        >>> nn.ELU()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.8647,  0.0000,  3.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)


class SELU(torch.nn.SELU, metaclass=TorchsType):
    """Scaled ELU: see ``activations_ext.functional.selu``.

    Example:
        >>> nn.SELU()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-1.5202,  0.0000,  3.1521])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)


class CELU(torch.nn.CELU, metaclass=TorchsType):
    """ELU without a kink: see ``activations_ext.functional.celu``.

    Example:
        >>> nn.CELU()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.8647,  0.0000,  3.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


class SERLU(OwnModule):
    """Scaled exponentially-regularized linear unit, which has no parameters.

    See ``activations_ext.functional.serlu``.

    Example:
        >>> nn.SERLU()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.8479,  0.0000,  3.2359])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.serlu(input)


class SquaredReLU(OwnModule):
    """ReLU squared: see ``activations_ext.functional.squared_relu``.

    Example:
        >>> nn.SquaredReLU()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0., 0., 9.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.squared_relu(input)


class Hardtanh(torch.nn.Hardtanh, metaclass=TorchsType):
    """The input clamped: see ``activations_ext.functional.hardtanh``.

    Example:
        >>> nn.Hardtanh()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-1.,  0.,  1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class Threshold(torch.nn.Threshold, metaclass=TorchsType):
    """The input where it is above a threshold, else a constant.

    See ``activations_ext.functional.threshold``.

    Example:
        >>> nn.Threshold(1.0, -1.0)(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-1., -1.,  3.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

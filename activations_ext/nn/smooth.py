"""Modules of the smooth rectifiers, their piecewise relatives, shrinkages and the exponential."""

from __future__ import annotations

import torch
from torch import Tensor

from activations_ext import functional as F
from activations_ext.nn.form import OwnModule, TorchsType


class Softplus(torch.nn.Softplus, metaclass=TorchsType):
    """A smooth ReLU: see ``activations_ext.functional.softplus``.

    Example:
        >>> nn.Softplus()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0.1269, 0.6931, 3.0486])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)


class GELU(torch.nn.GELU, metaclass=TorchsType):
    """Gaussian error linear unit, exact or with ``approximate="tanh"``.

    See ``activations_ext.functional.gelu``.

    Example:
        >>> nn.GELU()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.0455,  0.0000,  2.9960])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, self.approximate)


class SiLU(torch.nn.SiLU, metaclass=TorchsType):
    """Sigmoid linear unit, also called swish: see ``activations_ext.functional.silu``.

    Example:
        >>> nn.SiLU()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.2384,  0.0000,  2.8577])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)


class Mish(torch.nn.Mish, metaclass=TorchsType):
    """The input times the tanh of its softplus: see ``activations_ext.functional.mish``.

    Example:
        >>> nn.Mish()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.2525,  0.0000,  2.9865])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)


class Hardswish(torch.nn.Hardswish, metaclass=TorchsType):
    """A SiLU of straight lines and a parabola: see ``activations_ext.functional.hardswish``.

    Example:
        >>> nn.Hardswish()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.3333,  0.0000,  3.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)


class Softshrink(torch.nn.Softshrink, metaclass=TorchsType):
    """The input moved towards 0: see ``activations_ext.functional.softshrink``.

    Example:
        >>> nn.Softshrink()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-1.5000,  0.0000,  2.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)


class Hardshrink(torch.nn.Hardshrink, metaclass=TorchsType):
    """The input, or 0 where it is small: see ``activations_ext.functional.hardshrink``.

    Example:
        >>> nn.Hardshrink()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-2.,  0.,  3.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)


class Exp(OwnModule):
    """The exponential function, for outputs that have to be positive.

    See ``activations_ext.functional.exp``.

    Example:
        >>> nn.Exp()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([ 0.1353,  1.0000, 20.0855])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.exp(input)

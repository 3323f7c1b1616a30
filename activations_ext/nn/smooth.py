"""Modules of the smooth rectifiers, their piecewise relatives, shrinkages and the exponential."""

from __future__ import annotations

import torch
from torch import Tensor

from activations_ext import functional as F
from activations_ext.nn.form import OwnModule, TorchsType


class Softplus(torch.nn.Softplus, metaclass=TorchsType):
    """A smooth ReLU: see ``activations_ext.functional.softplus``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)


class GELU(torch.nn.GELU, metaclass=TorchsType):
    """Gaussian error linear unit, exact or with ``approximate="tanh"``.

    See ``activations_ext.functional.gelu``.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, self.approximate)


class SiLU(torch.nn.SiLU, metaclass=TorchsType):
    """Sigmoid linear unit, also called swish: see ``activations_ext.functional.silu``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)


class Mish(torch.nn.Mish, metaclass=TorchsType):
    """The input times the tanh of its softplus: see ``activations_ext.functional.mish``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)


class Hardswish(torch.nn.Hardswish, metaclass=TorchsType):
    """A SiLU of straight lines and a parabola: see ``activations_ext.functional.hardswish``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)


class Softshrink(torch.nn.Softshrink, metaclass=TorchsType):
    """The input moved towards 0: see ``activations_ext.functional.softshrink``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)


class Hardshrink(torch.nn.Hardshrink, metaclass=TorchsType):
    """The input, or 0 where it is small: see ``activations_ext.functional.hardshrink``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)


class Exp(OwnModule):
    """The exponential function, for outputs that have to be positive.

    See ``activations_ext.functional.exp``.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.exp(input)

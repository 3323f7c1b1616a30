"""The activations as modules, each a subclass of torch.nn's where there is one.

Constructors, ``extra_repr`` and ``state_dict`` keys are inherited, so that checkpoints load both
ways and ``isinstance(module, torch.nn.ReLU)`` holds. Formulas, dtypes and errors are written at the
functions in ``activations_ext.functional``.
"""

from activations_ext.nn.distributions import LogSoftmax, Softmax, Softmax2d, Softmin
from activations_ext.nn.dropout import ShiftDropout
from activations_ext.nn.losses import BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from activations_ext.nn.rectified import (
    CELU,
    ELU,
    SELU,
    SERLU,
    Hardtanh,
    LeakyReLU,
    PReLU,
    ReLU,
    ReLU6,
    RReLU,
    SquaredReLU,
    Threshold,
)
from activations_ext.nn.sigmoidal import (
    Hardsigmoid,
    LogSigmoid,
    Sigmoid,
    Softsign,
    Tanh,
    Tanhshrink,
)
from activations_ext.nn.smooth import (
    GELU,
    Exp,
    Hardshrink,
    Hardswish,
    Mish,
    SiLU,
    Softplus,
    Softshrink,
)

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "SERLU",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Exp",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "NLLLoss",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "ShiftDropout",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "SquaredReLU",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]

"""The activations as modules, each a subclass of torch.nn's where there is one.

Constructors, ``extra_repr`` and ``state_dict`` keys are inherited, so that checkpoints load both
ways and ``isinstance(module, torch.nn.ReLU)`` holds. Formulas, dtypes and errors are written at the
functions in ``activations_ext.functional``.

Every other public name of ``torch.nn`` is found here, too; ``functional`` is
``activations_ext.functional``.
"""

from typing import TYPE_CHECKING, Any

import torch.nn

if TYPE_CHECKING:
    from torch.nn import *  # noqa: F403 — what is imported below takes its place

from activations_ext import functional  # type: ignore[no-redef]
from activations_ext.export import prepare_scriptable
from activations_ext.nn.distributions import LogSoftmax, Softmax, Softmax2d, Softmin
from activations_ext.nn.dropouts import ShiftDropout
from activations_ext.nn.losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    LinearCrossEntropyLoss,
    NLLLoss,
)
from activations_ext.nn.mixtures import MixtureDensityHead
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
    "LinearCrossEntropyLoss",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "MixtureDensityHead",
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
    "functional",
]

for _name in __all__:
    if isinstance(globals()[_name], type):
        setattr(globals()[_name], "__prepare_scriptable__", prepare_scriptable)  # noqa: B010


def __getattr__(name: str) -> Any:
    """What has no kernel here is torch's own."""
    if name.startswith("_") or not hasattr(torch.nn, name):
        raise AttributeError(f"module {__name__!r} and torch.nn have no {name!r}")
    return getattr(torch.nn, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(torch.nn)})

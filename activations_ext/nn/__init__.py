"""The activations as modules, each of torch.nn's own type where there is one (see ``nn.form``).

Constructors, ``extra_repr`` and ``state_dict`` keys are torch's, so that checkpoints load both
ways, tools that look up exact types know them, and both ``isinstance(module, torch.nn.ReLU)`` and
``isinstance(module, activations_ext.nn.ReLU)`` hold. Formulas, dtypes and errors are written at the
functions in ``activations_ext.functional``.

Every other public name of ``torch.nn`` is found here, too; ``functional`` is
``activations_ext.functional``.
"""

from typing import TYPE_CHECKING, Any

import torch.nn

from activations_ext._call import MYPY

# As in functional/__init__.py; but to mypy the activations are torch's classes, because it finds no
# common class of two that have a metaclass.
if TYPE_CHECKING and not MYPY:
    from torch.nn import *  # noqa: F403

from activations_ext.nn.losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    LinearCrossEntropyLoss,
    NLLLoss,
)

if MYPY:
    from torch.nn import *  # type: ignore[assignment]  # noqa: F403

from activations_ext import functional  # type: ignore[no-redef]
from activations_ext.nn import modules_of_torch
from activations_ext.nn.dropouts import ShiftDropout
from activations_ext.nn.gated import GEGLU, GLU, BilinearGLU, GatedMLP, QuickGELU, ReGLU, SwiGLU
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
from activations_ext.nn.softmaxes import LogSoftmax, Softmax, Softmax2d, Softmin

__all__ = [
    "CELU",
    "ELU",
    "GEGLU",
    "GELU",
    "GLU",
    "SELU",
    "SERLU",
    "BCEWithLogitsLoss",
    "BilinearGLU",
    "CrossEntropyLoss",
    "Exp",
    "GatedMLP",
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
    "QuickGELU",
    "RReLU",
    "ReGLU",
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
    "SwiGLU",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "functional",
]
OWN = tuple(__all__)
"""What is this package's own; the other public names are torch's."""

__all__ += [name for name in dir(torch.nn) if not name.startswith("_") and name not in OWN]


modules_of_torch.alias(__name__, "torch.nn", {"functional": functional})


def __getattr__(name: str) -> Any:
    """What has no kernel here is torch's own."""
    if name.startswith("_") or not hasattr(torch.nn, name):
        raise AttributeError(f"module {__name__!r} and torch.nn have no {name!r}")
    return getattr(torch.nn, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(torch.nn)})

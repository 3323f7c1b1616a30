"""The activations and losses as functions, with the signatures of ``torch.nn.functional``.

There are kernels for dense tensors of any shape and strides (0-d and empty included) on the CPU, in
float32, float64, bfloat16 and float16. Results have the same shape and dtype; the 16-bit dtypes are
computed in float32 and rounded once. Each function has a first and a second derivative, in reverse
and in forward mode. Whatever else torch's function of that name takes (another dtype, layout,
device or subclass) goes to that function, or, of what torch lacks, to the formula on torch's
operators.

``inplace=True`` writes the result over ``input`` and returns it; autograd refuses that on a leaf
that requires a gradient, as it does in torch. An underscore at a name's end says the same.

Every other public name of ``torch.nn.functional`` is found here, too.
"""

from typing import TYPE_CHECKING, Any

import torch.nn.functional

from activations_ext._call import MYPY

# To type checkers, torch's other names have torch's types. Of a name that is bound twice mypy takes
# the first type, others the last.
if TYPE_CHECKING and not MYPY:
    from torch.nn.functional import *  # noqa: F403

from activations_ext.export import script_as_torchs
from activations_ext.functional.binary import binary_cross_entropy_with_logits
from activations_ext.functional.divergences import (
    js_divergence,
    kl_divergence,
    top_k_kl_divergence,
)
from activations_ext.functional.dropouts import SERLU_MINIMUM, shift_dropout
from activations_ext.functional.gated import (
    bilinear_glu,
    geglu,
    glu,
    quick_gelu,
    reglu,
    swiglu,
)
from activations_ext.functional.linear_divergences import linear_jsd, linear_kl_div
from activations_ext.functional.linear_losses import linear_cross_entropy
from activations_ext.functional.losses import cross_entropy, nll_loss
from activations_ext.functional.mixtures import gaussian_mixture_nll_loss
from activations_ext.functional.rectified import (
    celu,
    celu_,
    elu,
    elu_,
    hardtanh,
    hardtanh_,
    leaky_relu,
    leaky_relu_,
    prelu,
    relu,
    relu6,
    relu_,
    rrelu,
    rrelu_,
    selu,
    selu_,
    serlu,
    squared_relu,
    threshold,
    threshold_,
)
from activations_ext.functional.sigmoidal import (
    hardsigmoid,
    logsigmoid,
    sigmoid,
    softsign,
    tanh,
    tanhshrink,
)
from activations_ext.functional.smooth import (
    exp,
    gelu,
    gelu_tanh,
    hardshrink,
    hardswish,
    mish,
    silu,
    softplus,
    softshrink,
)
from activations_ext.functional.softmaxes import log_softmax, logsumexp, softmax, softmin

if MYPY:
    from torch.nn.functional import *  # type: ignore[assignment, no-redef]  # noqa: F403

__all__ = [
    "SERLU_MINIMUM",
    "bilinear_glu",
    "binary_cross_entropy_with_logits",
    "celu",
    "celu_",
    "cross_entropy",
    "elu",
    "elu_",
    "exp",
    "gaussian_mixture_nll_loss",
    "geglu",
    "gelu",
    "gelu_tanh",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "js_divergence",
    "kl_divergence",
    "leaky_relu",
    "leaky_relu_",
    "linear_cross_entropy",
    "linear_jsd",
    "linear_kl_div",
    "log_softmax",
    "logsigmoid",
    "logsumexp",
    "mish",
    "nll_loss",
    "prelu",
    "quick_gelu",
    "reglu",
    "relu",
    "relu6",
    "relu_",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "serlu",
    "shift_dropout",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "squared_relu",
    "swiglu",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "top_k_kl_divergence",
]
OWN = tuple(__all__)
"""What is this package's own; the other public names are torch's."""

__all__ += [
    name for name in dir(torch.nn.functional) if not name.startswith("_") and name not in OWN
]

script_as_torchs(value for name in OWN if callable(value := globals()[name]))


def __getattr__(name: str) -> Any:
    """What has no kernel here is torch's own."""
    if name.startswith("_") or not hasattr(torch.nn.functional, name):
        raise AttributeError(f"module {__name__!r} and torch.nn.functional have no {name!r}")
    return getattr(torch.nn.functional, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(torch.nn.functional)})

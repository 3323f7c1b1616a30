"""The activations as functions, with the signatures of ``torch.nn.functional``.

All of them take a dense tensor of any shape and strides (0-d and empty included) in float32,
float64, bfloat16 or float16, and return one of the same shape and dtype. The 16-bit dtypes are
computed in float32 and rounded once. Each has a first and a second derivative, in reverse and in
forward mode.

``inplace=True`` writes the result over ``input`` and returns it; autograd refuses that on a leaf
that requires a gradient, as it does in torch. An underscore at a name's end says the same.
"""

from activations_ext.functional.binary import binary_cross_entropy_with_logits
from activations_ext.functional.distributions import log_softmax, logsumexp, softmax, softmin
from activations_ext.functional.dropout import SERLU_MINIMUM, shift_dropout
from activations_ext.functional.losses import cross_entropy, nll_loss
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

__all__ = [
    "SERLU_MINIMUM",
    "binary_cross_entropy_with_logits",
    "celu",
    "celu_",
    "cross_entropy",
    "elu",
    "elu_",
    "exp",
    "gelu",
    "gelu_tanh",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "log_softmax",
    "logsigmoid",
    "logsumexp",
    "mish",
    "nll_loss",
    "prelu",
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
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
]

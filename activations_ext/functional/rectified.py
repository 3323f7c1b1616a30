"""The ReLU family: functions that bend at one or two points."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.overrides import has_torch_function_unary

from activations_ext._call import (
    call,
    call_operator,
    check_number,
    draw_seed,
    has_kernel,
    overridable,
    overridden,
)
from activations_ext._torchs import torchs
from activations_ext.export import uses_torchs


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Rectified linear unit: ``max(x, 0)``.

    The gradient at 0 is 0. NaN stays NaN. (Nair and Hinton, ICML 2010.)

    Args:
        input: any shape.
        inplace: write the result over ``input``.

    Example:
        >>> F.relu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0., 0., 3.])
    """
    return call(relu, input, (), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """ReLU with a ceiling: ``min(max(x, 0), 6)``.

    The gradient is 0 at 0 and at 6. NaN stays NaN. (Krizhevsky, "Convolutional deep belief networks
    on CIFAR-10", 2010.)

    Args:
        input: any shape.
        inplace: write the result over ``input``.

    Example:
        >>> F.relu6(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0., 0., 3.])
    """
    return call(relu6, input, (), inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Leaky ReLU: ``x`` for ``x > 0``, ``negative_slope·x`` otherwise.

    The gradient at 0 is ``negative_slope``. NaN stays NaN. (Maas, Hannun and Ng, ICML 2013.)

    Args:
        input: any shape.
        negative_slope: any number.
        inplace: write the result over ``input``.

    Raises:
        TypeError: ``negative_slope`` is not a number.

    Example:
        >>> F.leaky_relu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.0200,  0.0000,  3.0000])
    """
    return call(leaky_relu, input, (negative_slope,), inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Leaky ReLU with a learned slope: ``x`` for ``x > 0``, ``weight·x`` otherwise.

    At 0 the gradient of the input is ``weight`` and that of the weight 0. NaN stays NaN. (He et
    al., arXiv:1502.01852.)

    Args:
        input: any shape.
        weight: one number, or one for each channel, which is dimension 1 of ``input`` (an input of
            fewer than two dimensions has one channel). Of the dtype of ``input``.

    Raises:
        RuntimeError: ``weight`` has another dtype than ``input``, more than one dimension, or
            neither 1 element nor one for each channel.

    Example:
        >>> F.prelu(torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([0.25]))
        tensor([-0.5000,  0.0000,  3.0000])
    """
    if is_dynamo_compiling():
        if not has_kernel(weight):
            return torch.prelu(input, weight)
    elif has_torch_function_unary(weight):
        return overridden(prelu, (input, weight), (input, weight), {})
    return call(prelu, input, (weight,))


@overridable
def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Leaky ReLU with a random slope: ``x`` for ``x > 0``, ``slope·x`` otherwise.

    In training each element draws its own slope, uniformly from [lower, upper]; otherwise it is
    ``(lower + upper)/2`` for all. The gradient at 0 is the slope. NaN stays NaN. Seeded by
    ``torch.manual_seed``; the numbers are not those that torch's rrelu draws, and they do not
    depend on the number of threads. (Xu et al., arXiv:1505.00853.)

    Args:
        input: any shape.
        lower: the least slope, finite.
        upper: the largest slope, finite.
        training: whether to draw slopes.
        inplace: write the result over ``input``.

    Raises:
        RuntimeError: ``lower`` is above ``upper``, or one of them is infinite or NaN.

    Example:
        >>> F.rrelu(torch.tensor([-2.0, 0.0, 3.0]))  # evaluation: the slope is (lower + upper)/2
        tensor([-0.4583,  0.0000,  3.0000])
    """
    check_number("rrelu", "lower", lower)
    check_number("rrelu", "upper", upper)
    # ONNX has no rrelu: what is exported for evaluation is the leaky ReLU below.
    exported = uses_torchs() and not training
    if isinstance(input, Tensor) and not has_kernel(input) and not exported:
        return torchs("rrelu")(input, lower, upper, training, inplace)
    if training:
        return call_operator("rrelu_with_seed", input, (draw_seed(input), lower, upper), inplace)
    if not (math.isfinite(lower) and math.isfinite(upper) and lower <= upper):
        raise RuntimeError(
            "rrelu(): expected arguments 'lower' and 'upper' to be finite with lower <= upper, "
            f"but got {lower} and {upper}"
        )
    return call_operator("leaky_relu", input, ((lower + upper) / 2,), inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Exponential linear unit: ``x`` for ``x > 0``, ``alpha·(eˣ − 1)`` otherwise.

    The gradient at 0 is ``alpha``. NaN stays NaN. (Clevert, Unterthiner and Hochreiter,
    arXiv:1511.07289.)

    Args:
        input: any shape.
        alpha: any number; −alpha is the limit at −∞.
        inplace: write the result over ``input``.

    Raises:
        TypeError: ``alpha`` is not a number.

    Example:
        >>> F.elu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.8647,  0.0000,  3.0000])
    """
    return call(elu, input, (alpha,), inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Scaled ELU: ``λx`` for ``x > 0``, ``λα(eˣ − 1)`` otherwise, α ≈ 1.6733 and λ ≈ 1.0507.

    Layers of it draw mean 0 and variance 1 towards themselves. The gradient at 0 is ``λα``. NaN
    stays NaN. (Klambauer et al., arXiv:1706.02515.)

    Args:
        input: any shape.
        inplace: write the result over ``input``.

    Example:
        >>> F.selu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-1.5202,  0.0000,  3.1521])
    """
    return call(selu, input, (), inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """ELU without a kink: ``x`` for ``x > 0``, ``alpha·(e^(x/alpha) − 1)`` otherwise.

    The gradient at 0 is 1 for every ``alpha``. NaN stays NaN. (Barron, arXiv:1704.07483.)

    Args:
        input: any shape.
        alpha: any number but 0.
        inplace: write the result over ``input``.

    Raises:
        RuntimeError: ``alpha`` is 0.

    Example:
        >>> F.celu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.8647,  0.0000,  3.0000])
    """
    return call(celu, input, (alpha,), inplace)


def serlu(input: Tensor) -> Tensor:
    """Scaled exponentially-regularized linear unit: ``λx`` for ``x ≥ 0``, ``λα·x·eˣ`` otherwise.

    With α = 2.90427 and λ = 1.07862 standard normal inputs give mean 0 and second moment 1. Unlike
    SELU it comes back to 0 at −∞; the minimum, ``SERLU_MINIMUM`` = −λα/e, is at −1. The gradient at
    0 is ``λ``. NaN stays NaN, and −∞ gives NaN, as the product of its factors. (Zhang and Li,
    arXiv:1807.10117.)

    Args:
        input: any shape.

    Example:
        >>> F.serlu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.8479,  0.0000,  3.2359])
    """
    return call(serlu, input)


def squared_relu(input: Tensor) -> Tensor:
    """ReLU squared: ``max(x, 0)²``.

    The gradient at 0 is 0. NaN stays NaN. (So et al., "Primer", arXiv:2109.08668.)

    Args:
        input: any shape.

    Example:
        >>> F.squared_relu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0., 0., 9.])
    """
    return call(squared_relu, input)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """``x`` clamped to [min_val, max_val].

    The gradient is 0 at both ends. NaN stays NaN. (Collobert, thesis, 2004.)

    Args:
        input: any shape.
        min_val: the lower end.
        max_val: the upper end, not below ``min_val``.
        inplace: write the result over ``input``.

    Raises:
        ValueError: ``min_val`` is above ``max_val``.

    Example:
        >>> F.hardtanh(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-1.,  0.,  1.])
    """
    return call(hardtanh, input, (min_val, max_val), inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """``x`` where it is above ``threshold``, else ``value``.

    The gradient at the threshold is 0. NaN stays NaN.

    Args:
        input: any shape.
        threshold: any number.
        value: any number, in place of what does not pass.
        inplace: write the result over ``input``.

    Raises:
        TypeError: ``threshold`` or ``value`` is not a number.

    Example:
        >>> F.threshold(torch.tensor([-2.0, 0.0, 3.0]), threshold=1.0, value=-1.0)
        tensor([-1., -1.,  3.])
    """
    return call(_threshold, input, (threshold, value), inplace)


_threshold = threshold  # which its own parameter hides


def relu_(input: Tensor) -> Tensor:
    """``relu(input, inplace=True)``"""
    return relu(input, inplace=True)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """``leaky_relu(input, negative_slope, inplace=True)``"""
    return leaky_relu(input, negative_slope, inplace=True)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """``rrelu(input, lower, upper, training, inplace=True)``"""
    return rrelu(input, lower, upper, training, inplace=True)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``elu(input, alpha, inplace=True)``"""
    return elu(input, alpha, inplace=True)


def selu_(input: Tensor) -> Tensor:
    """``selu(input, inplace=True)``"""
    return selu(input, inplace=True)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``celu(input, alpha, inplace=True)``"""
    return celu(input, alpha, inplace=True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``hardtanh(input, min_val, max_val, inplace=True)``"""
    return hardtanh(input, min_val, max_val, inplace=True)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """``threshold(input, threshold, value, inplace=True)``"""
    return _threshold(input, threshold, value, inplace=True)

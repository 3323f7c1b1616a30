"""The functions that level off on both sides, and what is made of them."""

from __future__ import annotations

from torch import Tensor

from activations_ext._call import call
from activations_ext._torchs import torchs


def sigmoid(input: Tensor) -> Tensor:
    """The logistic function: ``σ(x) = 1/(1 + e⁻ˣ)``.

    0 at −∞ and 1 at ∞. NaN stays NaN.

    Args:
        input: any shape.

    Example:
        >>> F.sigmoid(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0.1192, 0.5000, 0.9526])
    """
    return call(sigmoid, input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent: ``(eˣ − e⁻ˣ)/(eˣ + e⁻ˣ)``.

    −1 at −∞ and 1 at ∞. NaN stays NaN.

    Args:
        input: any shape.

    Example:
        >>> F.tanh(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.9640,  0.0000,  0.9951])
    """
    return call(tanh, input)


def logsigmoid(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The logarithm of the logistic function: ``log σ(x) = −log(1 + e⁻ˣ)``.

    Neither side overflows or loses its digits: it is near ``x`` for large negative ``x`` and near
    ``−e⁻ˣ`` for large positive. NaN stays NaN.

    Args:
        input: any shape.
        out: a tensor for the result, written by torch's own function without a gradient.

    Example:
        >>> F.logsigmoid(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-2.1269, -0.6931, -0.0486])
    """
    if out is not None:
        return torchs("logsigmoid")(input, out=out)
    return call(logsigmoid, input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """A sigmoid of three straight lines: ``(x + 3)/6`` clamped to [0, 1].

    The gradient is 0 at −3 and at 3. NaN stays NaN. (Courbariaux, Bengio and David,
    arXiv:1511.00363, with another slope; this one from Howard et al., arXiv:1905.02244.)

    Args:
        input: any shape.
        inplace: write the result over ``input``.

    Example:
        >>> F.hardsigmoid(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0.1667, 0.5000, 1.0000])
    """
    return call(hardsigmoid, input, (), inplace)


def softsign(input: Tensor) -> Tensor:
    """A sigmoid with slow tails: ``x/(1 + |x|)``.

    The gradient at 0 is 1. NaN stays NaN, and ±∞ give NaN, as the quotient does in torch. (Turian,
    Bergstra and Bengio, NAACL 2009.)

    Args:
        input: any shape.

    Example:
        >>> F.softsign(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.6667,  0.0000,  0.7500])
    """
    return call(softsign, input)


def tanhshrink(input: Tensor) -> Tensor:
    """What the hyperbolic tangent takes away: ``x − tanh(x)``.

    About ``x³/3`` near 0, where the difference itself would lose every digit. NaN stays NaN.

    Args:
        input: any shape.

    Example:
        >>> F.tanhshrink(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-1.0360,  0.0000,  2.0049])
    """
    return call(tanhshrink, input)

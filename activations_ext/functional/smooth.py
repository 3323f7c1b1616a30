"""Smooth rectifiers, their piecewise relatives, the shrinkages and the exponential."""

from __future__ import annotations

from torch import Tensor

from activations_ext._call import call, overridable
from activations_ext._torchs import torchs


def softplus(
    input: Tensor, beta: float = 1.0, threshold: float = 20.0, *, out: Tensor | None = None
) -> Tensor:
    """A smooth ReLU: ``log(1 + e^(beta·x))/beta``, and ``x`` itself where ``beta·x > threshold``.

    Where ``beta·x`` equals the threshold the formula holds. The gradient is ``σ(beta·x)`` up to
    there and 1 beyond. NaN stays NaN. (Dugas et al., NIPS 2000.)

    Args:
        input: any shape.
        beta: the larger, the nearer to ReLU; negative, it is reflected, and 0 gives ∞.
        threshold: any number.
        out: a tensor for the result, written by torch's own function without a gradient.

    Raises:
        TypeError: ``beta`` or ``threshold`` is not a number.

    Example:
        >>> F.softplus(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0.1269, 0.6931, 3.0486])
    """
    if out is not None:
        return torchs("softplus")(input, beta, threshold, out=out)
    return call(softplus, input, (beta, threshold))


@overridable
def gelu(input: Tensor, approximate: str = "none", *, out: Tensor | None = None) -> Tensor:
    """Gaussian error linear unit: ``x·Φ(x)``, Φ the standard normal distribution function.

    NaN stays NaN, and −∞ gives NaN, as the product does in torch. (Hendrycks and Gimpel,
    arXiv:1606.08415.)

    Args:
        input: any shape.
        approximate: ``"tanh"`` for ``gelu_tanh`` instead.
        out: a tensor for the result, written by torch's own function without a gradient.

    Raises:
        RuntimeError: ``approximate`` is neither ``"none"`` nor ``"tanh"``.

    Example:
        >>> F.gelu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.0455,  0.0000,  2.9960])
    """
    if out is not None:
        return torchs("gelu")(input, approximate=approximate, out=out)
    if approximate not in ("none", "tanh"):
        raise RuntimeError(
            "gelu(): expected argument 'approximate' to be 'none' or 'tanh', "
            f"but got {approximate!r}"
        )
    return call(gelu_tanh if approximate == "tanh" else gelu, input)


def gelu_tanh(input: Tensor) -> Tensor:
    """GELU by a hyperbolic tangent: ``x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))``.

    The same as ``gelu(input, approximate="tanh")``. NaN stays NaN, and −∞ gives NaN. (Hendrycks and
    Gimpel, arXiv:1606.08415.)

    Args:
        input: any shape.

    Example:
        >>> F.gelu_tanh(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.0454,  0.0000,  2.9964])
    """
    return call(gelu_tanh, input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Sigmoid linear unit, also called swish: ``x·σ(x)``.

    NaN stays NaN, and −∞ gives NaN, as the product does in torch. (Elfwing, Uchibe and Doya,
    arXiv:1702.03118; Ramachandran, Zoph and Le, arXiv:1710.05941.)

    Args:
        input: any shape.
        inplace: write the result over ``input``.

    Example:
        >>> F.silu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.2384,  0.0000,  2.8577])
    """
    return call(silu, input, (), inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x·tanh(log(1 + eˣ))``

    NaN stays NaN, and −∞ gives NaN, as the product does in torch. (Misra, arXiv:1908.08681.)

    Args:
        input: any shape.
        inplace: write the result over ``input``.

    Example:
        >>> F.mish(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.2525,  0.0000,  2.9865])
    """
    return call(mish, input, (), inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """A SiLU of straight lines and a parabola: ``x·hardsigmoid(x)``.

    0 up to −3 and ``x`` from 3 on. The gradient is 0 at −3 and 1 at 3. NaN stays NaN, and −∞ gives
    NaN, as the product does in torch. (Howard et al., arXiv:1905.02244.)

    Args:
        input: any shape.
        inplace: write the result over ``input``.

    Example:
        >>> F.hardswish(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.3333,  0.0000,  3.0000])
    """
    return call(hardswish, input, (), inplace)


def softshrink(input: Tensor, lambd: float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """``x`` moved towards 0 by ``lambd``: ``x − lambd``, ``x + lambd``, or 0 where ``|x| ≤ lambd``.

    The gradient is 0 at ±lambd. NaN stays NaN. (Donoho, "De-noising by soft-thresholding", 1995.)

    Args:
        input: any shape.
        lambd: a finite number of at least 0.
        out: a tensor for the result, written by torch's own function without a gradient.

    Raises:
        RuntimeError: ``lambd`` is negative, infinite or NaN, or too large for the dtype.

    Example:
        >>> F.softshrink(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-1.5000,  0.0000,  2.5000])
    """
    if out is not None:
        return torchs("softshrink")(input, lambd, out=out)
    return call(softshrink, input, (lambd,))


def hardshrink(input: Tensor, lambd: float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """``x``, or 0 where ``|x| ≤ lambd``.

    At ±lambd it is 0, and so is the gradient. NaN stays NaN. (Donoho and Johnstone, "Ideal spatial
    adaptation by wavelet shrinkage", 1994.)

    Args:
        input: any shape.
        lambd: any number; a negative one lets everything pass.
        out: a tensor for the result, written by torch's own function without a gradient.

    Raises:
        TypeError: ``lambd`` is not a number.

    Example:
        >>> F.hardshrink(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-2.,  0.,  3.])
    """
    if out is not None:
        return torchs("hardshrink")(input, lambd, out=out)
    return call(hardshrink, input, (lambd,))


def exp(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The exponential function ``eˣ``, for outputs that have to be positive.

    0 at −∞; ∞ at ∞ and wherever the result is too large for its dtype. NaN stays NaN.

    Args:
        input: any shape.
        out: a tensor for the result, written by torch's own function without a gradient.

    Example:
        >>> F.exp(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([ 0.1353,  1.0000, 20.0855])
    """
    if out is not None:
        return torchs("exp")(input, out=out)
    return call(exp, input)

"""The operators that are declared by csrc/ops/operator.h, differentiated in every way: their
kernels must agree with torch's functions, or with the formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import activations_ext._C as _C
import pytest
import torch
import torch._dynamo
from torch import Tensor, func
from torch.nn import functional as torchs

from activations_ext import functional as F

OPERATORS = torch.ops.activations_ext


class Pair(NamedTuple):
    """A function of one tensor, twice, and where they are compared."""

    ours: Callable[[Tensor], Tensor]
    reference: Callable[[Tensor], Tensor]
    at: Tensor


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def total(function: Callable[..., Tensor], *arguments: object) -> Callable[[Tensor], Tensor]:
    """The sum of its squares, as a function of the argument that is None."""

    def of(x: Tensor) -> Tensor:
        return function(*(x if a is None else a for a in arguments)).square().sum()

    return of


X, CLASSES, WEIGHT = numbers(4, 5), torch.tensor([1, -100, 3, 0]), numbers(5, seed=1).exp()
SHARES = numbers(4, 5, seed=2).softmax(1)
LOGITS, MEAN, TARGET = numbers(4, 3), numbers(4, 3, 2, seed=3), numbers(4, 2, seed=4)
SCALE = numbers(4, 3, 2, seed=5)


def mixture(*arguments: Tensor | None) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    rest = (0, 1e-6)  # the scale's exponential, and its floor
    return total(OPERATORS.mixture_nll, *arguments, *rest), total(
        _C.mixture_nll_by_formula, *arguments, *rest
    )


def both(name: str, *arguments: object) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    return total(getattr(F, name), *arguments), total(getattr(torchs, name), *arguments)


PAIRS = {
    "cross_entropy": Pair(*both("cross_entropy", None, CLASSES, WEIGHT), X),
    "cross_entropy, probabilities": Pair(*both("cross_entropy", None, SHARES), X),
    "bce": Pair(*both("binary_cross_entropy_with_logits", None, SHARES, WEIGHT), X),
    "bce, target": Pair(*both("binary_cross_entropy_with_logits", X, None), SHARES),
    "softmax": Pair(*both("softmax", None, 1), X),
    "log_softmax": Pair(*both("log_softmax", None, 0), X),
    "prelu": Pair(*both("prelu", None, WEIGHT), X),
    "prelu, weight": Pair(*both("prelu", X, None), WEIGHT),
    "mixture, logits": Pair(*mixture(None, MEAN, SCALE, TARGET), LOGITS),
    "mixture, scale": Pair(*mixture(LOGITS, MEAN, None, TARGET), SCALE),
    "mixture, target": Pair(*mixture(LOGITS, MEAN, SCALE, None), TARGET),
}

DERIVATIVES: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]] = {
    "grad": lambda f, x: func.grad(f)(x),
    "jvp": lambda f, x: func.jvp(f, (x,), (x.cos(),))[1],
    "vmap of grad": lambda f, x: func.vmap(func.grad(f))(torch.stack([x, x / 2])),
    "grad of grad": lambda f, x: func.grad(lambda y: (func.grad(f)(y) * x.cos()).sum())(x),
    "jvp of grad": lambda f, x: func.jvp(func.grad(f), (x,), (x.cos(),))[1],
    "hessian": lambda f, x: func.hessian(f)(x),
    "jacrev of jacrev": lambda f, x: func.jacrev(func.jacrev(f))(x),
}


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("name", PAIRS)
def test_torch_func(name: str, derivative: str) -> None:
    ours, reference, x = PAIRS[name]
    compute = DERIVATIVES[derivative]
    torch.testing.assert_close(compute(ours, x), compute(reference, x))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.compiler
def test_compiled_autograd(name: str) -> None:
    """Two graphs of the same nodes: the second time the recorded call is replayed."""
    ours, reference, x = PAIRS[name]
    for factor in (1.0, 0.5):
        y, z = ((factor * x).requires_grad_() for _ in range(2))
        with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
            ours(y).backward()
        reference(z).backward()
        torch.testing.assert_close(y.grad, z.grad)

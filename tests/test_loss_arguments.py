"""What each argument of the losses means, and that its derivative is right or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from activations_ext import functional as F
from helpers import drawn

N, C, H = 9, 6, 4
target = torch.tensor([0, 5, -100, 2, 3, 3, -100, 1, 0])
kept = target != -100
x = drawn(lambda g: torch.randn(N, C, dtype=torch.float64, generator=g), 1)
hidden = drawn(lambda g: torch.randn(N, H, dtype=torch.float64, generator=g), 2)
matrix = drawn(lambda g: torch.randn(C, H, dtype=torch.float64, generator=g), 3)
weight = drawn(lambda g: torch.rand(C, dtype=torch.float64, generator=g), 4) + 0.1
tokens = drawn(lambda g: torch.rand(N, dtype=torch.float64, generator=g), 5)
probabilities = torch.softmax(x.flip(0), 1)

Loss = Callable[..., Any]


def cross_entropy(*args: Any, **options: Any) -> Any:
    return F.cross_entropy(hidden @ matrix.t(), *args, **options)


def linear_cross_entropy(*args: Any, **options: Any) -> Any:
    return F.linear_cross_entropy(hidden, matrix, *args, memory_budget=2 * C * 8, **options)


LOSSES = {f.__name__: f for f in (cross_entropy, linear_cross_entropy)}
both = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def rows(z_loss: float = 0.0, of_class: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """−w_t·log p_t and λ·lse² of each row, 0 where it is ignored."""
    logits = hidden @ matrix.t()
    losses = torch.nn.functional.cross_entropy(logits, target, of_class, reduction="none")
    return losses, torch.where(kept, z_loss * logits.logsumexp(1).square(), 0.0)


@both
def test_num_items_divides_the_mean_and_the_sum(loss: Loss) -> None:
    losses, _ = rows()
    for number in (5, 5.0, torch.tensor(5), torch.tensor([5.0])):
        for reduction in ("mean", "sum"):
            result = loss(target, reduction=reduction, num_items=number)
            assert result.shape == ()
            torch.testing.assert_close(result, losses.sum() / 5)
    with pytest.raises(ValueError, match=r"'num_items'.*one number.*\[2\]"):
        loss(target, num_items=torch.ones(2))
    with pytest.raises(ValueError, match=r"'num_items'.*'none'"):
        loss(target, reduction="none", num_items=5)


@both
@pytest.mark.parametrize("with_tokens", [False, True])
@pytest.mark.parametrize("with_weight", [False, True])
def test_the_z_loss_is_divided_by_the_number_of_rows(
    loss: Loss, with_weight: bool, with_tokens: bool
) -> None:
    """Class weights say nothing about the normaliser."""
    of_class = weight if with_weight else None
    losses, z = rows(0.3, of_class)
    of_row = tokens if with_tokens else torch.ones_like(tokens)
    weights = (weight[target.clamp_min(0)] if with_weight else 1) * kept * of_row
    mean = (losses * of_row).sum() / weights.sum() + (z * of_row).sum() / (kept * of_row).sum()
    options = {
        "weight": of_class,
        "z_loss": 0.3,
        "token_weight": tokens if with_tokens else None,
    }
    torch.testing.assert_close(loss(target, **options), mean)
    total = ((losses + z) * of_row).sum()
    torch.testing.assert_close(loss(target, reduction="sum", **options), total)
    torch.testing.assert_close(loss(target, num_items=7, **options), total / 7)
    torch.testing.assert_close(loss(target, reduction="none", **options), (losses + z) * of_row)
    assert loss(torch.full_like(target, -100), **options).isnan()
    assert loss(torch.full_like(target, -100), **options, zero_if_empty=True) == 0


@both
def test_token_weights_have_the_shape_of_the_rows(loss: Loss) -> None:
    for wrong in (tokens[:, None], tokens[:1], tokens[0], tokens[None], tokens[:-1]):
        with pytest.raises(RuntimeError, match=r"'token_weight'.*row.*\[9\]"):
            loss(target, token_weight=wrong)
    square = torch.zeros(3, 3, dtype=torch.int64)
    with pytest.raises(RuntimeError, match=r"'token_weight'.*\[3, 3\].*\[3\]"):
        F.cross_entropy(torch.randn(3, C, 3), square, token_weight=torch.ones(3))


@pytest.mark.parametrize("options", [{}, {"z_loss": 0.1}, {"token_weight": tokens}], ids=str)
def test_ignored_classes_among_probabilities_are_refused(options: dict[str, Any]) -> None:
    for ignore_index in (0, 1, np.int64(2)):
        with pytest.raises(RuntimeError, match="ignore_index"):
            F.cross_entropy(x, probabilities, ignore_index=ignore_index, **options)
    with pytest.raises(RuntimeError, match="ignore_index"):
        F.linear_cross_entropy(hidden, matrix, probabilities, ignore_index=1)


@both
def test_ignore_index_is_an_integer(loss: Loss) -> None:
    torch.testing.assert_close(loss(target, ignore_index=np.int64(-100)), loss(target))
    for wrong in (1.0, "1", [1]):
        with pytest.raises(TypeError, match=r"'ignore_index'.*integer|ignore_index.*int"):
            loss(target, ignore_index=wrong)
    with pytest.raises(TypeError, match=r"'ignore_index'.*integer.*NoneType"):
        F.cross_entropy(x, target, ignore_index=None)  # type: ignore[call-overload]


@pytest.mark.parametrize("wrong", [100.0, float("nan"), "1"])
def test_memory_budgets_are_whole_numbers(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"'memory_budget'.*integer"):
        F.linear_cross_entropy(hidden, matrix, target, memory_budget=wrong)
    with pytest.raises(ValueError, match=r"'memory_budget'.*positive"):
        F.linear_cross_entropy(hidden, matrix, target, memory_budget=0)


@both
@pytest.mark.parametrize("softcap", [1e309, float("nan"), 1e-320, -1.0])
def test_softcaps_beyond_the_type(loss: Loss, softcap: float) -> None:
    with pytest.raises(ValueError, match="'softcap'"):
        loss(target, softcap=softcap)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_softcaps_beyond_float32(dtype: torch.dtype) -> None:
    logits = x.to(dtype).requires_grad_()
    for softcap in (1e39, 1e-39):
        with pytest.raises(ValueError, match="'softcap'"):
            F.cross_entropy(logits, target, softcap=softcap)
    large = F.cross_entropy(logits, target, softcap=1e30)
    torch.testing.assert_close(large, F.cross_entropy(logits, target))
    small = F.cross_entropy(logits, target, softcap=1e-30)
    torch.testing.assert_close(small.double(), torch.tensor(C).log().double(), rtol=1e-2, atol=0)


@both
@pytest.mark.parametrize("z_loss", [float("inf"), float("nan"), 1e400])
def test_z_losses_beyond_the_type(loss: Loss, z_loss: float) -> None:
    with pytest.raises(ValueError, match="'z_loss'"):
        loss(target, z_loss=z_loss)


ARGUMENTS: dict[str, tuple[Tensor, dict[str, Any]]] = {
    "token_weight": (tokens, {}),
    "token_weight with all else": (tokens, {"label_smoothing": 0.2, "z_loss": 0.1}),
    "num_items": (torch.tensor(4.0, dtype=torch.float64), {}),
    "weight": (weight, {}),
    "weight with all else": (weight, {"label_smoothing": 0.2, "z_loss": 0.1}),
}


@both
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_derivatives_by_every_argument(loss: Loss, reduction: str, name: str) -> None:
    """They were None, silently, where the logits are made in chunks."""
    value, options = ARGUMENTS[name]
    argument = name.split()[0]

    def function(v: Tensor) -> Tensor:
        result: Tensor = loss(target, reduction=reduction, **{argument: v}, **options)
        return result

    leaf = value.clone().requires_grad_()
    assert torch.autograd.gradcheck(function, leaf, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, leaf)


@both
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_derivatives_by_probabilities(
    loss: Loss, reduction: str, smoothing: float, weighted: bool
) -> None:
    leaves = [probabilities, *([weight] if weighted else [])]

    def function(q: Tensor, *weights: Tensor) -> Tensor:
        options = {"reduction": reduction, "label_smoothing": smoothing}
        return loss(q, weight=weights[0] if weights else None, **options)

    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(function, leaves, check_forward_ad=True)


def test_hidden_states_and_token_weights_at_once() -> None:
    leaves = [t.clone().requires_grad_() for t in (hidden, matrix, tokens)]

    def function(h: Tensor, w: Tensor, v: Tensor) -> Tensor:
        result: Tensor = F.linear_cross_entropy(h, w, target, token_weight=v, memory_budget=100)
        return result

    assert torch.autograd.gradcheck(function, leaves)


class Wrapper(Tensor):
    """Dispatches every operator to what it holds, and wraps the results."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Wrapper:
        self = Tensor._make_wrapper_subclass(
            cls, inner.shape, dtype=inner.dtype, device=inner.device
        )
        self.inner = inner
        return self  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        def unwrapped(value: Any) -> Any:
            return value.inner if isinstance(value, Wrapper) else value

        tree_map = torch.utils._pytree.tree_map
        result = function(*tree_map(unwrapped, args), **tree_map(unwrapped, kwargs or {}))
        return tree_map(lambda r: Wrapper(r) if isinstance(r, Tensor) else r, result)


def unwrapped(tensor: Tensor) -> Tensor:
    return tensor.inner if isinstance(tensor, Wrapper) else tensor


@pytest.mark.parametrize("argument", ["weight", "token_weight"])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_a_subclass_around_one_argument_only(argument: str, reduction: str) -> None:
    """The hidden states' gradient was 0, or twice the right one."""
    value = {"weight": weight, "token_weight": tokens}[argument]
    grads = []
    for wrap in (Wrapper, torch.clone):
        h = hidden.clone().requires_grad_()
        options = {"reduction": reduction, argument: wrap(value)}
        loss = F.linear_cross_entropy(h, matrix, target, **options)
        (grad,) = torch.autograd.grad(loss.sum(), h)
        grads.append(unwrapped(grad))
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_a_subclass_around_the_incoming_gradient_only(reduction: str) -> None:
    grads = []
    for wrap in (Wrapper, torch.clone):
        h, w = hidden.clone().requires_grad_(), matrix.clone().requires_grad_()
        loss = F.linear_cross_entropy(h, w, target, reduction=reduction)
        incoming = torch.linspace(0.5, 2, loss.numel(), dtype=loss.dtype).reshape(loss.shape)
        grads.append([unwrapped(g) for g in torch.autograd.grad(loss, (h, w), wrap(incoming))])
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_batches_of_gradients(reduction: str) -> None:
    h, w = hidden.clone().requires_grad_(), matrix.clone().requires_grad_()
    loss = F.linear_cross_entropy(h, w, target, reduction=reduction)
    incoming = torch.randn(3, *loss.shape, dtype=loss.dtype)
    batch = torch.autograd.grad(loss, (h, w), incoming, is_grads_batched=True, retain_graph=True)
    for i in range(3):
        alone = torch.autograd.grad(loss, (h, w), incoming[i], retain_graph=True)
        torch.testing.assert_close([part[i] for part in batch], list(alone))


def test_vectorised_jacobians() -> None:
    for reduction in ("none", "mean"):
        jacobians = [
            torch.autograd.functional.jacobian(
                lambda h, r=reduction: F.linear_cross_entropy(h, matrix, target, reduction=r),
                hidden,
                vectorize=vectorize,
            )
            for vectorize in (False, True)
        ]
        torch.testing.assert_close(*jacobians)


def never_differentiated(value: Tensor) -> Tensor:
    """A node whose backward has nothing to say."""

    class Silent(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Tensor) -> Tensor:
            return value.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> None:
            return None

    result: Tensor = Silent.apply(value)
    return result


WITHOUT_GRADIENT: dict[str, Callable[[Tensor], Tensor]] = {
    "cross_entropy": lambda v: F.cross_entropy(v, target),
    "cross_entropy, none": lambda v: F.cross_entropy(v, target, reduction="none"),
    "cross_entropy, smoothed": lambda v: F.cross_entropy(v, target, label_smoothing=0.1),
    "cross_entropy, entropy": lambda v: F.cross_entropy(v, target, return_entropy=True)[1],
    "cross_entropy, probabilities": lambda v: F.cross_entropy(v, probabilities),
    "linear_cross_entropy": lambda v: F.linear_cross_entropy(v, matrix.repeat(1, 2)[:, :C], target),
    "linear_cross_entropy, none": lambda v: F.linear_cross_entropy(
        v, matrix.repeat(1, 2)[:, :C], target, reduction="none"
    ),
    "logsumexp": lambda v: F.logsumexp(v, 1),
    "softmax": lambda v: F.softmax(v, 1),
    "binary": lambda v: F.binary_cross_entropy_with_logits(v, probabilities),
    "binary, none": lambda v: F.binary_cross_entropy_with_logits(
        v, probabilities, reduction="none"
    ),
    "mixture": lambda v: F.gaussian_mixture_nll_loss(
        v, x[:, :, None], x[:, :, None].exp(), x[:, :1]
    ),
    "mixture, none": lambda v: F.gaussian_mixture_nll_loss(
        v, x[:, :, None], x[:, :, None].exp(), x[:, :1], reduction="none"
    ),
    "elu": lambda v: F.elu(v),
    "prelu": lambda v: F.prelu(v, weight),
}


@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
def test_no_gradient_is_not_a_gradient_of_zeros(name: str) -> None:
    """Weight decay moves a parameter whose ``grad`` is 0, and none whose ``grad`` is None."""
    leaf = x.clone().requires_grad_()
    result = never_differentiated(WITHOUT_GRADIENT[name](leaf))
    result.backward(torch.ones_like(result))
    assert leaf.grad is None

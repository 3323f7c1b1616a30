"""Derivatives of every order and kind, and the machinery around them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils.checkpoint import checkpoint

from helpers import (
    CASES,
    DEFAULT_CASES,
    INPLACE_CASES,
    Case,
    assert_same_bits,
    away_from_kinks,
    case_of,
    sample,
)

pytestmark = pytest.mark.each_capability

every_case = pytest.mark.parametrize("case", CASES, ids=str)
default_case = pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
inplace_case = pytest.mark.parametrize("case", INPLACE_CASES, ids=str)


def close(result: Any, expected: Any) -> None:
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)


@every_case
def test_first_derivative(case: Case) -> None:
    """Backward, forward mode, and both under vmap, against finite differences."""
    assert gradcheck(
        case,
        away_from_kinks(case),
        check_forward_ad=True,
        check_backward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        check_undefined_grad=True,
    )


@every_case
def test_second_derivative(case: Case) -> None:
    """Reverse over reverse, forward over reverse, and batched."""
    assert gradgradcheck(
        case,
        away_from_kinks(case),
        check_fwd_over_rev=True,
        check_rev_over_rev=True,
        check_batched_grad=True,
    )


@inplace_case
def test_derivatives_of_the_in_place_form(case: Case) -> None:
    """First and second, through a copy, and through a slice of one."""
    input = away_from_kinks(case, (4, 3))

    def whole(x: Tensor) -> Tensor:
        return case(x.clone(), inplace=True)

    def part(x: Tensor) -> Tensor:
        copy = x.clone()
        case(copy[1:3], inplace=True)
        return copy * copy

    for function in (whole, part):
        assert gradcheck(function, input, check_forward_ad=True)
        assert gradgradcheck(function, input, check_fwd_over_rev=True)


@inplace_case
def test_both_ways_to_the_node_of_a_view_written_in_place(case: Case) -> None:
    """torch's CopySlices and the gradient's own graph lead to it, in whatever order the engine
    takes them."""
    input = away_from_kinks(case, (4, 3)).detach().requires_grad_()
    copy = input.clone()
    case(copy[1:3], inplace=True)
    (grad,) = torch.autograd.grad(copy, input, torch.ones_like(copy), create_graph=True)
    expected = grad.detach().clone()
    if grad.requires_grad:
        torch.autograd.grad(grad.sum(), input, allow_unused=True)
    (again,) = torch.autograd.grad(copy, input, torch.ones_like(copy))
    torch.testing.assert_close(again, expected)


@every_case
def test_third_derivative(case: Case) -> None:
    """Of sums of sin(f(x)), so that the chain rule is at work in every order."""

    def third(function: Callable[[Tensor], Tensor]) -> Tensor:
        x = away_from_kinks(case).detach().requires_grad_()
        value = torch.sin(function(x)).sum()
        for _ in range(3):
            (x_grad,) = torch.autograd.grad(value, x, create_graph=True)
            value = x_grad.sum()
        return x_grad.detach()

    close(third(case), third(case.differentiable_reference))


@default_case
def test_functional_transforms(case: Case, no_vmap_fallback: None) -> None:
    """torch.func's grad, vjp, jvp, jacobians, hessian and vmap of grad."""
    x, v = away_from_kinks(case, (5,)).detach(), sample(5, torch.float64)

    def both(transform: Callable[[Callable[[Tensor], Tensor]], Any]) -> None:
        close(transform(case), transform(case.differentiable_reference))

    both(lambda f: torch.func.grad(lambda y: f(y).sum())(x))
    both(lambda f: torch.func.vjp(f, x)[1](v))
    both(lambda f: torch.func.jvp(f, (x,), (v,)))
    both(lambda f: torch.func.jacrev(f)(x))
    both(lambda f: torch.func.jacfwd(f)(x))
    both(lambda f: torch.func.hessian(lambda y: f(y).sum())(x))
    both(lambda f: torch.func.vmap(torch.func.grad(f))(x))
    both(lambda f: torch.func.vmap(torch.func.grad(torch.func.grad(f)))(x))
    both(lambda f: torch.func.jvp(torch.func.grad(lambda y: f(y).sum()), (x,), (v,)))
    both(lambda f: torch.func.grad(lambda y: (torch.func.jvp(f, (y,), (v,))[1] * v).sum())(x))


@every_case
def test_vmap_dimensions(case: Case, no_vmap_fallback: None) -> None:
    """in_dims, out_dims and nesting, of the values and of the gradients."""
    x = sample(2 * 3 * 4 * 5, torch.float64).view(2, 3, 4, 5)
    expected = case(x)
    for in_dim in range(-4, 4):
        for out_dim in (0, 2, -1):
            result = torch.func.vmap(case, in_dims=in_dim, out_dims=out_dim)(x)
            close(result, expected.movedim(in_dim, out_dim))
    nested = torch.func.vmap(torch.func.vmap(case, in_dims=1, out_dims=1), in_dims=2, out_dims=2)
    close(nested(x), expected)
    slopes = torch.func.vmap(torch.func.vmap(torch.func.grad(lambda y: case(y).sum()), 1, 1))(x)
    y = x.clone().requires_grad_()
    case(y).sum().backward()
    close(slopes, y.grad)


@default_case
def test_vmap_of_one_operand(case: Case, no_vmap_fallback: None) -> None:
    """backward and curvature with a batch of gradients, of saved tensors, or of both, at different
    dimensions and levels."""
    grads, saved = sample(12, torch.float64).view(3, 4), sample(4, torch.float64, seed=1)
    many = sample(12, torch.float64, seed=2).view(4, 3)
    for suffix in ("_backward", "_curvature"):

        def operator(g: Tensor, s: Tensor, suffix: str = suffix) -> Tensor:
            result: Tensor = case.operator(suffix)(g, s, *case.parameters)
            return result

        vmap = torch.func.vmap
        rows = torch.stack([operator(g, saved) for g in grads])
        close(vmap(operator, (0, None))(grads, saved), rows)
        columns = torch.stack([operator(saved, many[:, i]) for i in range(3)])
        close(vmap(operator, (None, 1))(saved, many), columns)
        both = torch.stack([operator(grads[i], many[:, i]) for i in range(3)])
        close(vmap(operator, (0, 1))(grads, many), both)
        table = torch.stack([torch.stack([operator(g, s) for s in many.t()]) for g in grads])
        close(vmap(vmap(operator, (None, 0)), (0, None))(grads, many.t()), table)


@default_case
def test_batched_jacobian(case: Case, no_vmap_fallback: None) -> None:
    input = away_from_kinks(case, (4,))
    result = case(input)
    basis = torch.eye(4, dtype=torch.float64)
    (rows,) = torch.autograd.grad(result, input, basis, retain_graph=True, is_grads_batched=True)
    (diagonal,) = torch.autograd.grad(result, input, torch.ones_like(result))
    close(rows, torch.diag(diagonal))


@every_case
def test_a_gradient_that_is_not_uniform(case: Case) -> None:
    """Each element is multiplied by its own grad_output, in the second order too."""
    x = away_from_kinks(case, (50,))
    grad_output = sample(50, torch.float64, seed=1)
    for function in (lambda y: y.double() * 1, lambda y: y.flip(0)):
        results = []
        for activation in (case, case.differentiable_reference):
            (first,) = torch.autograd.grad(
                function(activation(x)), x, grad_output, create_graph=True
            )
            second = torch.zeros_like(first)
            if first.requires_grad:
                (g,) = torch.autograd.grad(first, x, grad_output.cos(), allow_unused=True)
                second = second if g is None else g
            results.append((first.detach(), second))
        close(*results)


@default_case
def test_double_backward_does_not_overwrite(case: Case) -> None:
    """A gradient penalty: the first gradient is used again after the second was taken."""
    x = away_from_kinks(case, (6,))
    results: list[Tensor | None] = []
    for function in (case, case.differentiable_reference):
        (grad,) = torch.autograd.grad(function(x * 1).square().sum(), x, create_graph=True)
        before = grad.detach().clone()
        penalty, x.grad = (grad - 1).square().sum(), None
        penalty.backward()
        assert torch.equal(grad, before)
        results.append(x.grad)
    close(*results)


@every_case
def test_modifying_what_was_saved_is_an_error(case: Case) -> None:
    x = sample(10).requires_grad_()
    inner = x * 1
    result = case(inner)
    (result if case.saves_result else inner).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


@every_case
def test_modifying_what_was_not_saved_is_not(case: Case) -> None:
    x = sample(10).requires_grad_()
    inner = x * 1
    result = case(inner)
    (inner if case.saves_result else result).add_(1)
    result.sum().backward()
    expected = sample(10).requires_grad_()
    case(expected).sum().backward()
    assert x.grad is not None
    assert expected.grad is not None
    assert_same_bits(x.grad, expected.grad)


@default_case
def test_retain_graph(case: Case) -> None:
    """Backward any number of times while the graph is kept, and once more after."""
    x = sample(20).requires_grad_()
    result = case(x)
    grads = [
        torch.autograd.grad(result, x, torch.ones(20), retain_graph=keep)[0]
        for keep in (True, True, False)
    ]
    assert_same_bits(grads[0], grads[1])
    assert_same_bits(grads[0], grads[2])
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(result, x, torch.ones(20))


@default_case
def test_no_grad_and_inference_mode(case: Case) -> None:
    x = sample(20).requires_grad_()
    with torch.no_grad():
        result = case(x)
        assert not result.requires_grad
    assert_same_bits(result, case(sample(20)))
    with torch.inference_mode():
        result = case(x)
        assert result.is_inference()
        assert not result.requires_grad
        made_here = sample(20)
        assert_same_bits(case(made_here), result)
        if case.activation.inplace:
            assert case(made_here, inplace=True) is made_here
            assert_same_bits(made_here, result)


@default_case
def test_saved_tensor_hooks(case: Case) -> None:
    """What the hook gives back is what backward reads."""
    x = sample(20).requires_grad_()
    packed: list[Tensor] = []

    def pack(tensor: Tensor) -> int:
        packed.append(tensor.detach().clone())
        return len(packed) - 1

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda index: packed[index]):
        result = case(x)
    (grad,) = torch.autograd.grad(result, x, torch.ones(20))
    saved = case(x.detach()) if case.saves_result else x.detach()
    assert_same_bits(packed[0], saved)
    with torch.autograd.graph.save_on_cpu():
        (again,) = torch.autograd.grad(case(x), x, torch.ones(20))
    assert_same_bits(again, grad)
    assert_same_bits(grad, case.operator("_backward")(torch.ones(20), saved, *case.parameters))


@default_case
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activation_checkpointing(case: Case, use_reentrant: bool) -> None:
    x = sample(20).requires_grad_()
    result = checkpoint(lambda y: case(case(y)), x, use_reentrant=use_reentrant)
    result.sum().backward()
    expected = sample(20).requires_grad_()
    case(case(expected)).sum().backward()
    assert x.grad is not None
    assert expected.grad is not None
    assert_same_bits(x.grad, expected.grad)


@default_case
def test_anomaly_mode_and_undefined_gradients(case: Case) -> None:
    """Anomaly mode sees the node by its name; a branch without gradient gives none."""
    x = torch.tensor([-1.0, 0.5, 2.0], requires_grad=True)
    with torch.autograd.detect_anomaly(check_nan=True):
        case(x).sum().backward()
    name = case.name.replace("_", "").capitalize() + "Backward"
    assert case(x).grad_fn.name().lower() == name.lower()  # type: ignore[union-attr]
    a, b = case(x), case(x)
    (grad,) = torch.autograd.grad(a.sum() + 0 * b.detach().sum(), x)
    assert grad is not None
    assert torch.autograd.grad(a.sum(), b, allow_unused=True)[0] is None


def test_forward_mode_by_hand() -> None:
    """A tangent on a result that is saved too, and on a tensor written in place."""
    x, v = torch.tensor([-0.5, 0.5], dtype=torch.float64), torch.tensor([1.0, 3.0]).double()
    for case in (case_of("elu"), case_of("silu"), case_of("relu")):
        expected = torch.func.jvp(case.reference, (x,), (v,))
        with forward_ad.dual_level():
            for requires_grad in (False, True):
                dual = forward_ad.make_dual(x.clone().requires_grad_(requires_grad), v)
                result = forward_ad.unpack_dual(case(dual))
                close((result.primal.detach(), result.tangent.detach()), expected)
            dual = forward_ad.make_dual(x.clone(), v)
            if case.activation.inplace:
                written = forward_ad.unpack_dual(case(dual, inplace=True))
                close((written.primal, written.tangent), expected)


def test_two_threads_run_backward_at_once() -> None:
    """The nodes lock what they release: threads that share a graph get the same gradient."""
    x = sample(100_000).requires_grad_()
    result = case_of("elu")(x)
    grads: list[Tensor] = []

    def run() -> None:
        for _ in range(20):
            grads.append(torch.autograd.grad(result, x, torch.ones_like(x), retain_graph=True)[0])

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(grads) == 60
    assert all(torch.equal(grad, grads[0]) for grad in grads)

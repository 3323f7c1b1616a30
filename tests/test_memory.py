"""What backward keeps and what it overwrites."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import activations_ext
from helpers import CASES, DEFAULT_CASES, Case, assert_same_bits, case_of, sample

# One that saves its result, one that saves its input, a piecewise linear one.
reusing = pytest.mark.parametrize("case", [case_of(n) for n in ("elu", "silu", "relu")], ids=str)

SIZE = 1000
LARGE = 2**23  # elements: a gradient of 32 MiB, against which the process's other memory is small


linux_only = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux's /proc")


def status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def gradients_at_once(function: Callable[[Tensor], Tensor], layers: int = 1) -> int:
    """The most gradients, each of 32 MiB, that were alive at one time of the backward pass.

    Python would hold a gradient by looking at its address, so memory itself has to tell."""
    clear = Path("/proc/self/clear_refs")
    if not os.access(clear, os.W_OK):
        pytest.skip("needs Linux's /proc/self/clear_refs")
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("needs glibc's malloc")
    input, weight = torch.randn(LARGE).requires_grad_(), torch.ones(LARGE)
    results = [input]
    for _ in range(layers):
        results.append(function(results[-1]))
    loss = (results[-1] * weight).sum()  # what is saved stays alive in `results` and `weight`
    # Free memory that is still resident would be taken without a trace.
    activations_ext.empty_cache()
    ctypes.CDLL(None).malloc_trim(0)
    clear.write_text("5")  # sets the peak to what is resident now
    before = status("VmRSS")
    torch.autograd.grad(loss, input)
    return round((status("VmHWM") - before) / (4 * LARGE))


class Probe(torch.autograd.Function):
    """The identity; its backward sends on whatever ``make`` makes."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, make: Callable[[], Tensor]) -> Tensor:
        ctx.make = make
        return input.view_as(input)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return ctx.make(), None


def send_ones(result: Tensor) -> Tensor:
    """A loss whose gradient at ``result`` is ones, in new memory that only the graph holds."""
    loss: Tensor = (result * torch.ones_like(result)).sum()
    return loss


def slopes(case: Case, input: Tensor) -> Tensor:
    saved = case(input) if case.saves_result else input
    return case.operator("_backward")(torch.ones_like(input), saved, *case.parameters)


@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
def test_a_gradient_that_nobody_holds_is_overwritten(case: Case) -> None:
    """One gradient is alive at a time, through one activation and through three."""
    assert gradients_at_once(case) == 1
    assert gradients_at_once(case, layers=3) == 1


def test_the_measure_of_memory_sees_a_second_gradient() -> None:
    """torch's own activation allocates its gradient while the incoming one is alive."""
    assert gradients_at_once(torch.nn.functional.silu) == 2


@reusing
def test_a_chain_gives_the_product_of_its_steps(case: Case) -> None:
    input = sample(SIZE).requires_grad_()
    (grad,) = torch.autograd.grad(send_ones(case(case(case(input)))), input)
    first = case(input.detach())
    product = torch.ones(SIZE)
    for point in (case(first), first, input.detach()):
        saved = case(point) if case.saves_result else point
        product = case.operator("_backward")(product, saved, *case.parameters)
    assert_same_bits(grad, product)


@reusing
@pytest.mark.parametrize(
    "keep",
    [
        lambda gradient: gradient,
        lambda gradient: gradient.detach(),
        lambda gradient: gradient.view(10, 100)[3],
        lambda gradient: gradient.numpy(),
        lambda gradient: memoryview(gradient.numpy()),
        lambda gradient: torch.utils.dlpack.from_dlpack(gradient),
    ],
    ids=["tensor", "detached", "view", "numpy", "memoryview", "dlpack"],
)
def test_never_if_somebody_holds_it(case: Case, keep: Callable[[Tensor], Any]) -> None:
    """Whether the gradient was made by torch and seen by a hook, or made in Python."""
    kept = []

    def make() -> Tensor:
        made = torch.ones(SIZE)
        kept.append(keep(made))
        return made

    input = sample(SIZE).requires_grad_()
    result = case(input)
    result.register_hook(lambda gradient: kept.append(keep(gradient)))
    for loss in (send_ones(result), Probe.apply(result, make).sum()):
        (grad,) = torch.autograd.grad(loss, input, retain_graph=True)
        assert_same_bits(grad, slopes(case, input.detach()))
    assert len(kept) == 3
    assert all((np.asarray(one) == 1).all() for one in kept)


@reusing
def test_never_if_the_graph_is_built(case: Case) -> None:
    """The incoming gradient is part of the graph of the second derivative."""
    input, weight = sample(SIZE).requires_grad_(), torch.ones(SIZE, requires_grad=True)
    (grad,) = torch.autograd.grad((case(input) * weight).sum(), input, create_graph=True)
    expected = slopes(case, input.detach())
    assert_same_bits(grad.detach(), expected)
    (second,) = torch.autograd.grad(grad.sum(), weight)
    assert_same_bits(second, expected)


@reusing
def test_never_if_a_tensor_hook_keeps_it(case: Case) -> None:
    input = sample(SIZE).requires_grad_()
    held: list[Tensor] = []
    result = case(input)
    result.register_hook(held.append)
    send_ones(result).backward()
    assert (held[0] == 1).all()
    assert_same_bits(input.grad, slopes(case, input.detach()))


@reusing
@pytest.mark.parametrize("kind", ["pre", "post"])
def test_never_if_a_node_hook_keeps_it(case: Case, kind: str) -> None:
    input = sample(SIZE).requires_grad_()
    held: list[Tensor] = []
    result = case(input)
    assert result.grad_fn is not None
    if kind == "pre":
        result.grad_fn.register_prehook(lambda outputs: held.append(outputs[0]))
    else:
        result.grad_fn.register_hook(lambda inputs, outputs: held.append(outputs[0]))
    send_ones(result).backward()
    assert (held[0] == 1).all()
    assert_same_bits(input.grad, slopes(case, input.detach()))


@reusing
def test_never_if_it_is_retained_or_captured(case: Case) -> None:
    input = sample(SIZE).requires_grad_()
    result = case(input)
    result.retain_grad()
    send_ones(result).backward()
    assert_same_bits(result.grad, torch.ones(SIZE))
    result = case(input)
    grads = torch.autograd.grad(send_ones(result), (result, input))
    assert (grads[0] == 1).all()
    assert_same_bits(grads[1], slopes(case, input.detach()))


@reusing
def test_never_if_another_branch_has_it(case: Case) -> None:
    """Addition sends one gradient to both sides: to a leaf, and to a second activation."""
    input, leaf = sample(SIZE).requires_grad_(), torch.zeros(SIZE, requires_grad=True)
    send_ones(case(input) + leaf).backward()
    assert_same_bits(leaf.grad, torch.ones(SIZE))
    assert_same_bits(input.grad, slopes(case, input.detach()))

    first, second = sample(SIZE).requires_grad_(), sample(SIZE, seed=1).requires_grad_()
    other = case_of("mish")
    send_ones(case(first) + other(second)).backward()
    assert_same_bits(first.grad, slopes(case, first.detach()))
    assert_same_bits(second.grad, slopes(other, second.detach()))


@reusing
def test_never_the_callers_grad_output(case: Case) -> None:
    input, grad_output = sample(SIZE).requires_grad_(), torch.ones(SIZE)
    result = case(input)
    for _ in range(2):
        (grad,) = torch.autograd.grad(result, input, grad_output, retain_graph=True)
        assert (grad_output == 1).all()
        assert_same_bits(grad, slopes(case, input.detach()))
    result.backward(grad_output)
    assert (grad_output == 1).all()


@reusing
def test_never_memory_of_numpy(case: Case) -> None:
    array = np.ones(SIZE, dtype=np.float32)
    input = sample(SIZE).requires_grad_()
    Probe.apply(case(input), lambda: torch.from_numpy(array)).sum().backward()
    assert (array == 1).all()
    assert_same_bits(input.grad, slopes(case, input.detach()))


@reusing
def test_never_an_expanded_gradient(case: Case) -> None:
    """sum().backward() sends one number expanded to all: every element needs its own memory."""
    input = sample(SIZE).requires_grad_()
    case(input).sum().backward()
    assert_same_bits(input.grad, slopes(case, input.detach()))


@reusing
def test_accumulated_gradients_are_not_reused(case: Case) -> None:
    """A second backward adds to the .grad of the first; both went through the same memory."""
    input = sample(SIZE).requires_grad_()
    result = case(input)
    for _ in range(2):
        send_ones(result).backward(retain_graph=True)
    assert_same_bits(input.grad, 2 * slopes(case, input.detach()))


@reusing
def test_the_gradient_may_be_the_saved_tensor(case: Case) -> None:
    """y·y sends 2·y: neither y nor x may change while they are read."""
    input = sample(SIZE).requires_grad_()
    result = case(input)
    before = result.detach().clone()
    (result * result).sum().backward(retain_graph=True)
    first, input.grad = input.grad, None
    (result * result).sum().backward()
    assert_same_bits(result, before)
    assert_same_bits(input.grad, first)
    (grad,) = torch.autograd.grad(case(input), input, before)
    assert_same_bits(before, result)
    assert grad.data_ptr() != before.data_ptr()


@reusing
def test_slices_of_one_gradient(case: Case) -> None:
    """cat sends slices of one memory, the last of which is held by nobody else."""
    inputs = [sample(100 + i, seed=i).requires_grad_() for i in range(4)]
    grads = torch.autograd.grad(send_ones(torch.cat([case(x) for x in inputs])), inputs)
    for input, grad in zip(inputs, grads, strict=True):
        assert_same_bits(grad, slopes(case, input.detach()))


def saved_by(function: Callable[[Tensor], Tensor], input: Tensor) -> tuple[Tensor, list[Tensor]]:
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        return function(input), saved


@pytest.mark.parametrize("case", CASES, ids=str)
def test_saves_what_the_registry_says(case: Case) -> None:
    """The result or the input, that one alone, and no copy of it."""
    input = sample(SIZE).requires_grad_()
    result, saved = saved_by(case, input)
    assert len(saved) == 1
    assert saved[0].data_ptr() == (result if case.saves_result else input).data_ptr()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_is_saved_without_a_gradient(case: Case) -> None:
    assert saved_by(case, sample(SIZE))[1] == []
    with torch.no_grad():
        assert saved_by(case, sample(SIZE).requires_grad_())[1] == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_saved_tensors_are_released_by_backward(case: Case) -> None:
    input = sample(SIZE).requires_grad_()
    result = case(input * 1)
    result.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        result.sum().backward()

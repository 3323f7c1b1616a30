"""What surrounds the losses: memory, saved tensors, autocast, checkpointing, compile, devices."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as torch_functional
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import activations_ext
from activations_ext import functional as F
from helpers import assert_same_bits, device_type, sample
from test_memory import status

Loss = Callable[..., Tensor]


def rows(count: int, classes: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    x = sample(count * classes, dtype).reshape(count, classes).clamp(-20, 20)
    return x, torch.arange(count) * 7 % classes


def peak(compute: Callable[[], Any]) -> int:
    """The bytes that were alive at one time of ``compute`` more than before it."""
    clear = Path("/proc/self/clear_refs")
    if not os.access(clear, os.W_OK) or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("needs Linux's /proc/self/clear_refs and glibc's malloc")
    gc.collect()
    activations_ext.empty_cache()
    ctypes.CDLL(None).malloc_trim(0)
    clear.write_text("5")
    before = status("VmRSS")
    compute()
    return status("VmHWM") - before


@pytest.mark.parametrize(
    ("options", "inplace_backward"),
    [
        ({}, False),
        ({}, True),
        ({"label_smoothing": 0.1, "weight": torch.ones(8192)}, False),
        ({"label_smoothing": 0.1, "z_loss": 0.1, "softcap": 30.0}, True),
        ({"reduction": "none", "return_entropy": True}, True),
    ],
    ids=str,
)
@pytest.mark.slow
def test_peak_memory(options: dict[str, Any], inplace_backward: bool) -> None:
    """Forward and backward: one gradient of the logits' size, or with inplace_backward none."""
    x, t = torch.randn(1024, 8192), torch.arange(1024)
    leaf = x.requires_grad_()
    hidden = leaf.view(-1)[:0].sum() + leaf  # no leaf, and nothing saved

    def both() -> None:
        result = F.cross_entropy(hidden, t, inplace_backward=inplace_backward, **options)
        loss = result[0] if isinstance(result, tuple) else result
        torch.autograd.grad(loss.sum(), hidden)

    F.cross_entropy(x.detach()[:2], t[:2])  # what is only loaded once
    size = 4 * x.numel()
    extra = peak(both)
    allowed = (0 if inplace_backward else size) + size // 8
    assert extra <= allowed, f"{extra / size:.2f} of the logits"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.slow
def test_peak_memory_of_probabilities(smoothing: float, weighted: bool) -> None:
    """One gradient of the logits' size, and nothing else: the kernels change the targets."""
    x, t = torch.randn(1024, 8192, requires_grad=True), torch.rand(1024, 8192)
    options = {"label_smoothing": smoothing, "weight": torch.ones(8192) if weighted else None}

    def both() -> None:
        torch.autograd.grad(F.cross_entropy(x, t, **options), x)

    F.cross_entropy(x.detach()[:2], t[:2], **options)  # what is only loaded once
    size = 4 * x.numel()
    extra = peak(both)
    assert extra <= size + size // 8, f"{extra / size:.2f} of the logits"


def test_the_measure_of_memory_sees_torchs_log_probabilities() -> None:
    x, t = torch.randn(1024, 8192), torch.arange(1024)
    assert peak(lambda: torch_functional.cross_entropy(x, t)) > 0.9 * 4 * x.numel()


def test_what_is_saved_is_the_logits_themselves() -> None:
    x, t = rows(6, 300)
    leaf = x.requires_grad_()
    packed: list[Tensor] = []

    def pack(saved: Tensor) -> Tensor:
        packed.append(saved)
        return saved

    for options in ({}, {"label_smoothing": 0.1}):
        packed.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
            F.cross_entropy(leaf, t, **options).backward()
        large = [saved for saved in packed if saved.numel() >= x.numel()]
        assert {saved.data_ptr() for saved in large} == {x.data_ptr()}


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}], ids=str)
def test_logits_changed_in_place_are_noticed(options: dict[str, Any]) -> None:
    x, t = rows(6, 300)
    leaf = x.requires_grad_()
    hidden = leaf * 1
    loss = F.cross_entropy(hidden, t, **options)
    hidden.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    # Logits that are themselves a write into something else.
    results = []
    for function in (F.cross_entropy, torch_functional.cross_entropy):
        base = leaf * 2
        base[:, ::2].mul_(3)
        loss = function(base[1:, ::2], t[1:] % 150, **options)
        results.append(torch.autograd.grad(loss, leaf)[0])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str
)
def test_liger_1283_autocast(dtype: torch.dtype, low: torch.dtype) -> None:
    """The loss has torch's dtype, and the gradient the logits'."""
    for options in ({}, {"label_smoothing": 0.1}, {"reduction": "none"}):
        results = []
        for function in (F.cross_entropy, torch_functional.cross_entropy):
            x, t = rows(6, 40, dtype)
            leaf = x.requires_grad_()
            with torch.autocast(device_type(), low):
                loss = function(leaf, t, **options)
            loss.sum().backward()
            results.append((loss.detach(), leaf.grad))
        for ours, torchs in zip(*results, strict=True):
            assert ours is not None
            assert torchs is not None
            assert ours.dtype == torchs.dtype
            eps = torch.finfo(dtype).eps
            torch.testing.assert_close(ours, torchs, rtol=8 * eps, atol=eps)


def test_grad_scaler_infinite_grad_output() -> None:
    """An infinite loss scale gives what torch gives: ignored rows have no gradient."""
    x, t = rows(6, 40)
    t[2] = -100
    grads = []
    for function in (F.cross_entropy, torch_functional.cross_entropy):
        leaf = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(function(leaf, t), leaf, torch.tensor(float("inf")))
        grads.append(grad)
    assert torch.equal(grads[0][2], grads[1][2])
    assert torch.equal(grads[0].isfinite(), grads[1].isfinite())


@pytest.mark.parametrize("options", [{}, {"z_loss": 0.1, "return_lse": True}], ids=str)
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing(options: dict[str, Any], use_reentrant: bool) -> None:
    x, t = rows(6, 300)

    def loss(hidden: Tensor) -> Tensor:
        result = F.cross_entropy(hidden * 2, t, **options)
        return result[0] + result[1].sum() if isinstance(result, tuple) else result

    grads = []
    for function in (loss, lambda h: checkpoint(loss, h, use_reentrant=use_reentrant)):
        leaf = x.clone().requires_grad_()
        function(leaf).backward()
        grads.append(leaf.grad)
    assert_same_bits(*grads)


def test_liger_968_every_row_has_its_own_grad_output() -> None:
    x, t = rows(50, 30)
    grad_output = sample(50, seed=3)
    for target in (t, x.flip(0).softmax(1)):
        leaves = [x.clone().requires_grad_() for _ in range(2)]
        functions = (F.cross_entropy, torch_functional.cross_entropy)
        for leaf, function in zip(leaves, functions, strict=True):
            function(leaf, target, reduction="none").backward(grad_output)
        torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=1e-4, atol=1e-5)
        # An expanded one, as sum().backward() makes it, and one with a stride.
        for strange in (torch.ones(()).expand(50), sample(100)[::2]):
            grads = []
            for function in functions:
                leaf = x.clone().requires_grad_()
                function(leaf, target, reduction="none").backward(strange)
                grads.append(leaf.grad)
            torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


def test_liger_1338_every_row_is_written() -> None:
    """Memory that was poisoned before is what the results are written into."""
    x, t = rows(4096, 10)
    t[::3] = -100
    expected = torch_functional.cross_entropy(x, t, reduction="none")
    for _ in range(5):
        poison = [torch.full((4096,), float("nan")) for _ in range(8)]
        del poison
        torch.testing.assert_close(F.cross_entropy(x, t, reduction="none"), expected)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.compiler
def test_compile_with_every_option(backend: str) -> None:
    """One graph, with ignored rows and numbers beside the loss."""
    torch._dynamo.reset()

    def loss(x: Tensor, t: Tensor, w: Tensor) -> Tensor:
        value, lse, log_prob = F.cross_entropy(
            x,
            t,
            token_weight=w,
            z_loss=0.1,
            label_smoothing=0.1,
            zero_if_empty=True,
            return_lse=True,
            return_log_prob=True,
            inplace_backward=True,
        )
        return value + lse.sum() + log_prob.sum()

    compiled = torch.compile(loss, fullgraph=True, backend=backend, dynamic=True)
    for count in (6, 9):
        x, t = rows(count, 200)
        t[::2] = -100
        w = torch.linspace(0.5, 2, count)
        grads = []
        for function in (loss, compiled):
            leaf = x.clone().requires_grad_()
            function(leaf * 1, t, w).backward()
            grads.append(leaf.grad)
        torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-6)


@pytest.mark.compiler
def test_compiled_autograd() -> None:
    x, t = rows(6, 300)
    expected = x.clone().requires_grad_()
    F.cross_entropy(expected, t).backward()
    leaf = x.clone().requires_grad_()
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
        F.cross_entropy(leaf, t).backward()
    assert_same_bits(leaf.grad, expected.grad)


def test_other_devices_and_modes() -> None:
    meta = torch.empty(2**40, 7, device="meta", requires_grad=True)
    target = torch.empty(2**40, dtype=torch.int64, device="meta")
    loss = F.cross_entropy(meta, target, label_smoothing=0.1, reduction="none")
    assert loss.shape == target.shape
    x, t = rows(6, 30)
    expected = F.cross_entropy(x, t)
    with torch.inference_mode():
        torch.testing.assert_close(F.cross_entropy(x, t), expected)
        torch.testing.assert_close(F.cross_entropy(x * 1, t), expected)
    with torch.profiler.profile() as profile:
        F.cross_entropy(x, t)
    assert any("activations_ext" in event.key for event in profile.key_averages())


def test_empty_batches_and_positions() -> None:
    for shape in ((0, 5), (0, 200), (2, 5, 0)):
        x = torch.empty(shape).requires_grad_()
        t = torch.empty(shape[:1] + shape[2:], dtype=torch.int64)
        assert F.cross_entropy(x, t).isnan()
        assert F.cross_entropy(x, t, reduction="sum") == 0
        assert F.cross_entropy(x, t, reduction="none").shape == t.shape
        F.cross_entropy(x, t, reduction="sum").backward()
        assert x.grad is not None
        assert x.grad.shape == shape

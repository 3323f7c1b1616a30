"""Programs that work with torch's functions, on rarely taken paths."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as torch_functional
from torch import Tensor

import activations_ext
from activations_ext import functional as F
from activations_ext.compiled import in_compiled_graphs
from activations_ext.export import keep_operators, uses_torchs
from helpers import DEFAULT_CASES, Case, assert_same_bits, gradient, run_python, sample

# --- names ----------------------------------------------------------------------------------------


def nodes(tensor: Tensor) -> list[Any]:
    found, todo = [], [tensor.grad_fn]
    while todo:
        node = todo.pop()
        found.append(node)
        todo += [n for n, _ in node.next_functions if n is not None]  # type: ignore[union-attr]
    return found


x = torch.randn(3, 4, requires_grad=True)
NAMES: dict[str, Callable[[], Tensor]] = {
    "EluBackward": lambda: F.elu(x),
    "LeakyReluBackward": lambda: F.leaky_relu(x),
    "EluBackwardBackward": lambda: torch.autograd.grad(F.elu(x).sum(), x, create_graph=True)[0],
    "PreluBackward": lambda: F.prelu(x, torch.ones(4)),
    "RreluBackward": lambda: F.rrelu(x, training=True),
    "ShiftDropoutBackward": lambda: F.shift_dropout(x),
    "SoftmaxBackward": lambda: F.softmax(x, 1),
    "LogSoftmaxBackward": lambda: F.log_softmax(x, 1),
    "CrossEntropyLossBackward": lambda: F.cross_entropy(x, torch.arange(3)),
    "RowStatisticsBackward": lambda: F.logsumexp(x, 1),
    "BinaryCrossEntropyWithLogitsBackward": lambda: F.binary_cross_entropy_with_logits(x, x > 0.0),
    "GaussianMixtureNllLossBackward": lambda: F.gaussian_mixture_nll_loss(
        x, x[:, :, None], x[:, :, None], x[:, :1], scale_by="exp"
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_nodes_have_names(name: str) -> None:
    """All were called CppFunction."""
    if name.startswith("Binary"):
        result = F.binary_cross_entropy_with_logits(x, torch.ones_like(x))
    else:
        result = NAMES[name]()
    node = next(n for n in nodes(result) if type(n).__name__ == name)
    assert repr(node).startswith(f"<{name} object at")
    with pytest.raises(TypeError, match="cannot be made in Python"):
        type(node)()


def test_anomaly_mode_and_the_profiler_say_what_ran() -> None:
    with torch.profiler.profile() as profile:
        F.elu(x).sum().backward()
    assert "EluBackward" in {event.name for event in profile.events()}
    leaf = torch.tensor([0.0], requires_grad=True)
    with (
        torch.autograd.detect_anomaly(check_nan=True),
        pytest.warns(UserWarning, match="EluBackward"),
        pytest.raises(RuntimeError, match="EluBackward"),
    ):
        F.elu(leaf).backward(torch.tensor([torch.nan]))


# --- gradients and memory -------------------------------------------------------------------------


@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
def test_sparse_gradients(case: Case) -> None:
    leaf = sample(20).view(4, 5).requires_grad_()
    sparse = torch.eye(4, 5).to_sparse()
    (grad,) = torch.autograd.grad(case(leaf), leaf, sparse)
    expected = gradient(case, leaf, sparse.to_dense())
    torch.testing.assert_close(grad.to_dense(), expected, equal_nan=True)


def test_large_results_are_cloned_lazily() -> None:
    large = F.relu(torch.full((9_000_000,), -1.0))
    clone = torch._lazy_clone(large)
    assert torch._C._is_cow_tensor(clone)
    assert torch._C._data_address(clone) == torch._C._data_address(large)
    clone += 1
    assert (large == 0).all()
    assert (clone == 1).all()
    del large
    other = torch._lazy_clone(clone)
    del clone
    assert (other == 1).all()
    del other
    activations_ext.empty_cache()


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", [(2, 5, 3, 0), (0, 5, 3, 2), (2, 5, 0, 3, 4), (0, 5), (2, 5, 0)])
def test_no_rows(shape: tuple[int, ...], reduction: str) -> None:
    """It was an INTERNAL ASSERT."""
    logits = torch.empty(shape, requires_grad=True)
    target = torch.empty(shape[:1] + shape[2:], dtype=torch.int64)
    for options in ({}, {"label_smoothing": 0.1}):
        ours = F.cross_entropy(logits, target, reduction=reduction, **options)
        torchs = torch_functional.cross_entropy(logits, target, reduction=reduction, **options)
        torch.testing.assert_close(ours, torchs, equal_nan=True)
        (grad,) = torch.autograd.grad(ours.sum(), logits)
        assert grad.shape == shape
    torch.testing.assert_close(
        F.cross_entropy(logits, torch.empty(shape)),
        torch_functional.cross_entropy(logits, torch.empty(shape)),
        equal_nan=True,
    )
    for dim in range(len(shape)):
        assert F.softmax(logits, dim).shape == shape


@pytest.mark.parametrize("dim", [np.int64(0), (np.int64(1), 0), [np.int32(-1)]])
def test_logsumexp_takes_whatever_is_an_integer(dim: Any) -> None:
    values = sample(12).view(3, 4)
    torch.testing.assert_close(F.logsumexp(values, dim), torch.logsumexp(values, dim))


@pytest.mark.parametrize("dim", [1.0, None, "a", True, [0.5], [], [0, 0], 2])
def test_logsumexp_raises_what_torch_raises(dim: Any) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011 — whatever it is
        torch.logsumexp(torch.ones(2, 3), dim)
    with pytest.raises(theirs.type):
        F.logsumexp(torch.ones(2, 3), dim)


def test_out() -> None:
    values, out = sample(12).view(3, 4), torch.empty(3, 4)
    assert F.exp(values, out=out) is out
    assert_same_bits(out, torch.exp(values))
    row = torch.empty(3)
    assert F.logsumexp(values, 1, out=row) is row
    assert_same_bits(row, torch.logsumexp(values, 1))


def test_threshold_in_place_on_expanded_memory_is_refused() -> None:
    """torch writes the one element several times."""
    for inplace in (F.threshold_, lambda *a: F.threshold(*a, inplace=True)):
        with pytest.raises(RuntimeError, match="single memory location"):
            inplace(torch.zeros(1).expand(3), 0.1, 2.0)


# --- vmap -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("function", [F.rrelu, F.shift_dropout], ids=["rrelu", "shift_dropout"])
def test_vmap_over_an_empty_batch(function: Callable[..., Tensor], training: bool) -> None:
    for shape in ((0, 3), (0,), (0, 2, 0)):
        run = torch.vmap(lambda v: function(v, training=training), randomness="different")
        assert run(torch.empty(shape)).shape == shape


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_vmap_of_binary_cross_entropy_is_no_loop(reduction: str, no_vmap_fallback: None) -> None:
    random = torch.Generator().manual_seed(0)
    logits = (torch.randn(4, 5, generator=random) * 20).double()
    targets = torch.rand(4, 5, generator=random).double()
    weight = torch.rand(5, generator=random).double()

    def loss(x: Tensor, t: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            x, t, weight, reduction=reduction, pos_weight=weight + 1
        )

    batch = torch.vmap(loss)(logits, targets)
    alone = [loss(x, t) for x, t in zip(logits, targets, strict=True)]
    torch.testing.assert_close(batch, torch.stack(alone))
    if reduction != "none":
        grads = torch.vmap(torch.func.grad(loss))(logits, targets)
        expected = [
            gradient(lambda v, t=t: loss(v, t), x, torch.tensor(1.0).double())
            for x, t in zip(logits, targets, strict=True)
        ]
        torch.testing.assert_close(grads, torch.stack(expected))


# --- compiled graphs ------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamic", [True, None])
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.compiler
def test_one_graph_for_all_lengths_of_linear_cross_entropy(
    reduction: str, dynamic: bool | None
) -> None:
    """The loop over chunks was unrolled, another graph for each length."""
    torch.compiler.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()

    def loss_of(h: Tensor, w: Tensor, t: Tensor) -> Tensor:
        result: Tensor = F.linear_cross_entropy(
            h, w, t, reduction=reduction, memory_budget=50 * 30 * 4, label_smoothing=0.1
        )
        return result

    compiled = torch.compile(loss_of, backend="aot_eager", dynamic=dynamic, fullgraph=True)
    weight = torch.randn(30, 8)
    for rows in (100, 37, 250, 64, 1000):
        leaves = [torch.randn(rows, 8), weight]
        target = torch.randint(30, (rows,))
        results = []
        for function in (compiled, loss_of):
            of = [leaf.clone().requires_grad_() for leaf in leaves]
            loss = function(*of, target)
            results.append((loss, *torch.autograd.grad(loss.sum(), of)))
        torch.testing.assert_close(*results)
    assert counters["stats"]["unique_graphs"] == (1 if dynamic else 2)


def test_a_choice_is_one_threads() -> None:
    """Two overlapping threads left it set permanently."""
    inside, leave = threading.Barrier(2), threading.Event()
    seen: list[tuple[bool, str]] = []

    def other() -> None:
        with keep_operators(), in_compiled_graphs("torchs"):
            inside.wait()
            leave.wait()
        seen.append(states())

    def states() -> tuple[bool, str]:
        from activations_ext import compiled, export

        return export._switch.keep, compiled._switch.choice

    before = states()
    thread = threading.Thread(target=other)
    thread.start()
    with keep_operators(), in_compiled_graphs("ours"):
        inside.wait()
        assert states() == (True, "ours")
        leave.set()
        thread.join()
    assert states() == before
    assert seen == [before]
    assert not uses_torchs()


@pytest.mark.slow
def test_inductor_without_implicit_fallbacks() -> None:
    code = """
import torch
import torch._inductor.config as config
from activations_ext import functional as F
config.implicit_fallbacks = False
x = torch.randn(7, 7, requires_grad=True)
t = torch.arange(7)
def f(v):
    y = F.mish(v * 2) + F.logsigmoid(v) + F.elu(v)
    loss = F.cross_entropy(y, t, label_smoothing=0.1) + F.linear_cross_entropy(y, y, t)
    z = y[:, :, None]
    return loss + F.gaussian_mixture_nll_loss(y, z, z, y[:, :1], scale_by='exp')
y = torch.compile(f)(x)
torch.testing.assert_close(y, f(x))
y.backward()
"""
    run_python(code, ACTIVATIONS_EXT_COMPILED="ours")


# --- distributed tensors --------------------------------------------------------------------------


@pytest.mark.slow
def test_distributed_tensors_and_what_torch_lacks() -> None:
    """There was no sharding strategy."""
    code = """
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor, init_device_mesh
from activations_ext import functional as F

store = dist.HashStore()
dist.init_process_group("gloo", store=store, rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))
torch.manual_seed(0)
x, t, q = torch.randn(4, 6), torch.tensor([0, 5, -100, 2]), torch.rand(4, 6)
w = torch.rand(4)
cases = [
    ({}, t), ({"z_loss": 0.1}, t), ({"softcap": 2.0}, t),
    ({"label_smoothing": 0.1, "z_loss": 0.1}, t),
    ({"token_weight": w}, t), ({"return_entropy": True}, t), ({"z_loss": 0.1}, q),
    ({"reduction": "none", "z_loss": 0.1}, t), ({"num_items": 3, "zero_if_empty": True}, t),
]
for options, target in cases:
    results = []
    for place in (lambda v: v, lambda v: distribute_tensor(v, mesh, [Shard(0)])):
        leaf = place(x.clone()).requires_grad_()
        wide = {k: place(v) if isinstance(v, torch.Tensor) else v for k, v in options.items()}
        loss = F.cross_entropy(leaf, place(target), **wide)
        loss = loss[0] + loss[1].sum() if isinstance(loss, tuple) else loss
        loss.sum().backward()
        results.append((loss, leaf.grad))
    (a, g), (b, h) = results
    assert isinstance(b, DTensor) and isinstance(h, DTensor), options
    torch.testing.assert_close(b.full_tensor(), a)
    torch.testing.assert_close(h.full_tensor(), g)

parts = [torch.randn(4, 3), torch.randn(4, 3, 2), torch.randn(4, 3, 2), torch.randn(4, 2)]
for reduction in ("none", "mean", "sum"):
    results = []
    for place in (lambda v: v, lambda v: distribute_tensor(v, mesh, [Shard(0)])):
        leaves = [place(p.clone()).requires_grad_() for p in parts]
        loss = F.gaussian_mixture_nll_loss(*leaves, scale_by="softplus", reduction=reduction)
        loss.sum().backward()
        results.append((loss, [leaf.grad for leaf in leaves]))
    (a, g), (b, h) = results
    torch.testing.assert_close(b.full_tensor(), a)
    for one, other in zip(g, h):
        torch.testing.assert_close(other.full_tensor(), one)
dist.destroy_process_group()
print("done")
"""
    assert run_python(code).endswith("done\n")

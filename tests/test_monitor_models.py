"""The monitor sees every call in models of all kinds, changes nothing, and leaves no trace."""

from __future__ import annotations

import copy
import os
import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch import nn as torch_nn

from activations_ext import functional as F
from activations_ext import nn
from activations_ext.monitor import ActivationMonitor
from test_monitor import Fixed, learn


class Tower(torch_nn.Module):
    """Functional calls, a module used twice, an activation of its own, and a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch_nn.Linear(4, 6), torch_nn.Linear(6, 8)
        self.act = torch_nn.ReLU(inplace=True)
        self.inner = Inner()

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        x = self.act(self.first(x))
        x = F.elu(x, 0.5)
        x = self.act(self.second(x))
        return F.elu(self.inner(input=x)), 3


class Inner(torch_nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = torch_nn.Parameter(torch.tensor([0.1]))
        self.last = nn.Sigmoid()

    def forward(self, input: Tensor) -> Tensor:
        return self.last(
            input=F.prelu(F.rrelu(F.threshold(input, 0.0, 0.0), training=True), self.slope)
        )


LAYERS = {
    "act": ("ReLU", 6),
    "elu": ("elu", 6),
    "act#2": ("ReLU", 8),
    "inner.threshold": ("threshold", 8),
    "inner.rrelu": ("rrelu", 8),
    "inner.prelu": ("prelu", 8),
    "inner.last": ("Sigmoid", 8),
    "elu#2": ("elu", 8),
}


def seen(monitor: ActivationMonitor) -> dict[str, tuple[str, int]]:
    return {n: (layer.function, len(layer.units)) for n, layer in monitor.compute().layers.items()}


def test_every_call_is_a_layer() -> None:
    torch.manual_seed(0)
    model = Tower()
    with ActivationMonitor(model, every=1, window=2) as monitor:
        learn(model, monitor, [torch.randn(5, 4) for _ in range(4)])
        assert seen(monitor) == LAYERS


def test_nothing_changes() -> None:
    """Neither outputs nor gradients nor random numbers."""
    x = torch.randn(5, 4)
    results = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = Tower()
        if watched:
            monitor = ActivationMonitor(model)
        y = model(x)[0]
        y.sum().backward()
        results.append([y, torch.rand(3), *(p.grad for p in model.parameters())])
    monitor.close()
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_close_leaves_no_trace() -> None:
    model = Tower()
    before = {
        name: (dict(m._forward_hooks), dict(m._forward_pre_hooks), set(vars(m)))
        for name, m in model.named_modules()
    }
    hooks = torch.nn.modules.module
    monitor = ActivationMonitor(model)
    assert hooks._global_forward_hooks
    learn(model, monitor, [torch.randn(5, 4)])
    layers = seen(monitor)
    monitor.close()
    monitor.close()
    after = {
        name: (dict(m._forward_hooks), dict(m._forward_pre_hooks), set(vars(m)))
        for name, m in model.named_modules()
    }
    assert after == before
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())
    assert not hooks._global_forward_hooks
    assert not hooks._global_forward_pre_hooks
    learn(model, monitor, [torch.randn(5, 4)])
    assert seen(monitor) == layers == LAYERS  # what was counted stays


def test_a_copy_is_another_model() -> None:
    """As averaged copies of a model that learns, which are made while it is watched."""
    model = Tower()
    with ActivationMonitor(model) as monitor:
        copy.deepcopy(model)(torch.randn(5, 4))
        assert not seen(monitor)
        model(torch.randn(5, 4))
        assert seen(monitor) == LAYERS


def test_nothing_waits_for_the_device() -> None:
    """Tensors without numbers can be counted, because nobody reads them before ``compute``."""
    with torch.device("meta"):
        model = Tower()
        x = torch.empty(5, 4)
    with ActivationMonitor(model, every=1, window=2) as monitor:
        learn(model, monitor, [x] * 5)
        assert len(monitor.history) == 2
        with pytest.raises(NotImplementedError):
            monitor.compute()


def test_evaluation_is_not_looked_at() -> None:
    model = Tower().eval()
    with ActivationMonitor(model) as monitor:
        model(torch.randn(5, 4))
        assert not seen(monitor)
        model.train()
        model.inner.eval()  # a part that is frozen
        model(torch.randn(5, 4))
        assert seen(monitor) == {n: of for n, of in LAYERS.items() if not n.startswith("inner")}


def test_a_model_that_fails_and_one_without_activations() -> None:
    model = Tower()
    with ActivationMonitor(model, every=1) as monitor:
        with pytest.raises(RuntimeError):
            model(torch.randn(5, 3))
        learn(model, monitor, [torch.randn(5, 4)])
        assert seen(monitor) == LAYERS
    model = torch_nn.Linear(2, 2)
    with ActivationMonitor(model) as monitor:
        learn(model, monitor, [torch.randn(4, 2)])
        assert "activations: none was seen" in monitor.summary()
        assert "Nothing is wrong." not in monitor.summary()


def test_an_activation_alone() -> None:
    model = nn.Mish()
    with ActivationMonitor(model) as monitor:
        model(torch.randn(4, 3))
        assert list(monitor.compute().layers) == [""]


def test_two_monitors() -> None:
    one, other = Tower(), Tower()
    with ActivationMonitor(one) as first, ActivationMonitor(other) as second:
        learn(one, first, [torch.randn(5, 4)])
        assert seen(first) == LAYERS
        assert not seen(second)


def test_a_sparse_gradient() -> None:
    model = torch_nn.Sequential(torch_nn.Embedding(5, 3, sparse=True), nn.Tanh())
    with ActivationMonitor(model) as monitor:
        model(torch.tensor([1, 1, 2])).sum().backward()
        monitor.update()
        assert monitor.compute().gradient_norms["0"] > 0


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.compiler
def test_compiled_models(outside: bool) -> None:
    """The same layers and numbers as without compiling, and nothing is compiled again and again."""
    reports = []
    for compile in (False, True):
        torch._dynamo.reset()
        torch.manual_seed(0)
        model = Tower()
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True) if compile else model
        monitor = ActivationMonitor(compiled if outside else model, every=2, window=3)
        torch.manual_seed(1)
        inputs = [torch.randn(5, 4) for _ in range(12)]
        with torch._dynamo.config.patch(error_on_recompile=False, recompile_limit=4):
            torch.manual_seed(2)
            learn(compiled, monitor, inputs)
        assert seen(monitor) == LAYERS
        reports.append(monitor.compute())
        monitor.close()
    for name, layer in reports[0].layers.items():
        if name not in ("inner.prelu", "inner.last", "elu#2"):  # behind random numbers
            assert reports[1].layers[name].mean == pytest.approx(layer.mean, rel=1e-5)
            assert reports[1].layers[name].saturated == pytest.approx(layer.saturated)
    assert reports[1].gradient_norms.keys() == reports[0].gradient_norms.keys()


def _one_of_two(rank: int, port: int, path: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = torch_nn.Sequential(Fixed([0.0, 0.0]), nn.ReLU())
    parallel = torch_nn.parallel.DistributedDataParallel(model)
    monitor = ActivationMonitor(parallel, every=1, window=2)
    # The first unit is on in one process only, the second in none.
    x = torch.tensor([[1.0 if rank == 1 else -1.0, -1.0]])
    learn(parallel, monitor, [x, x])
    torch.save(monitor.compute(), f"{path}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)  # gloo's threads abort some processes that end otherwise


@pytest.mark.slow
def test_distributed_data_parallel(tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("torch was built without torch.distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_one_of_two, (port, str(tmp_path)), nprocs=2)
    reports = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in (0, 1)]
    for report in reports:
        layer = report.layers["1"]
        assert layer.units.dead.tolist() == [False, True]
        assert layer.mean == 0.25
        assert report.gradient_norms["0"] > 0
    assert reports[0].gradient_norms == reports[1].gradient_norms

"""The monitor's gradient norms are those of the gradients that the optimizer uses."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from activations_ext.monitor import ActivationMonitor


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def norms_of(model: nn.Module) -> dict[str, float]:
    """Of each module's own parameters, now."""
    return {
        name: sum(p.grad.square().sum().item() for p in parameters) ** 0.5
        for name, module in model.named_modules()
        if (parameters := [p for p in module.parameters(recurse=False) if p.grad is not None])
    }


@pytest.mark.parametrize("batches", [4, 16])
@pytest.mark.parametrize("before", [True, False])
def test_accumulation(batches: int, before: bool) -> None:
    model, wanted = network(), {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ActivationMonitor(model, every=1, window=1) as monitor:
        optimizer.zero_grad()
        for seed in range(batches):
            x = torch.randn(5, 6, generator=torch.Generator().manual_seed(seed))
            (model(x).square().mean() / batches).backward()
        wanted = norms_of(model)
        if before:
            monitor.update()
        optimizer.step()
        if not before:
            monitor.update()
        report = monitor.compute()
    assert report.gradient_norms == pytest.approx(wanted, rel=1e-5)
    assert report.layers["1"].values == 5 * batches


@pytest.mark.parametrize("order", ["before unscale_", "after unscale_", "after step", "at the end"])
def test_grad_scaler(order: str) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    monitor = ActivationMonitor(model, every=1, window=2, scaler=scaler)
    x = torch.randn(5, 6)
    for _ in range(4):
        optimizer.zero_grad()
        scaler.scale(model(x).square().mean()).backward()
        for moment in ("before unscale_", "after unscale_", "after step", "at the end"):
            if moment == "after unscale_":
                scaler.unscale_(optimizer)
            elif moment == "after step":
                scaler.step(optimizer)
            elif moment == "at the end":
                scaler.update()
            if moment == order:
                monitor.update()
    wanted = norms_of(model)
    report = monitor.compute()
    assert report.gradient_norms == pytest.approx(wanted, rel=1e-5)
    assert report.overflows == 0


def test_overflow_is_skipped_and_counted() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    scaler = torch.amp.GradScaler("cpu")
    monitor = ActivationMonitor(model, every=1, window=4, scaler=scaler)
    x = torch.randn(5, 6)
    for factor in (1.0, float("inf"), 1.0, 1.0):
        optimizer.zero_grad()
        scaler.scale(factor * model(x).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
        monitor.update()
    report = monitor.compute()
    assert report.overflows == 1
    assert report.gradient_norms == pytest.approx(norms_of(model), rel=1e-5)
    assert "clip" not in str(report)
    assert "1 steps overflowed" in str(report)


def test_reentrant_checkpoints_with_shared_weights() -> None:
    layer = nn.Linear(6, 6)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.act = layer, nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(2):
                x = checkpoint(lambda y: self.act(self.layer(y)), x, use_reentrant=True)
            return x

    model = Twice()
    with ActivationMonitor(model, every=1, window=1) as monitor:
        model(torch.randn(5, 6, requires_grad=True)).square().sum().backward()
        monitor.update()
        report = monitor.compute()
    assert report.gradient_norms == pytest.approx(norms_of(model))
    assert list(report.layers) == ["act", "act#2"]  # and not again as they are computed again
    assert report.layers["act"].values == 5


def test_an_optimizer_in_backward_and_early_zero_grad() -> None:
    model = network()
    for parameter in model.parameters():
        optimizer = torch.optim.SGD([parameter], lr=0.1)

        def step(p: Tensor, optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.step()
            optimizer.zero_grad()

        parameter.register_post_accumulate_grad_hook(step)
    with ActivationMonitor(model, every=1, window=1) as monitor:
        model(torch.randn(5, 6)).sum().backward()
        monitor.update()
        assert monitor.compute().misses_gradients
        assert "update() found none" in monitor.summary()
    other = network()
    with ActivationMonitor(other, every=1, window=1) as monitor:
        other(torch.randn(5, 6)).sum().backward()
        other.zero_grad(set_to_none=False)
        monitor.update()
        assert "all gradients are zero" in monitor.summary()
    frozen = network().requires_grad_(requires_grad=False)
    with ActivationMonitor(frozen, every=1, window=1) as monitor:
        frozen(torch.randn(5, 6))
        monitor.update()
        assert not monitor.compute().misses_gradients


def _one_of_two(rank: int, port: int, path: str) -> None:
    from torch.distributed.fsdp import fully_shard

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    inputs = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1))
    reports = {}
    parallel, sharded = nn.parallel.DistributedDataParallel(network()), network()
    mesh = torch.distributed.init_device_mesh("cpu", (2,))
    for layer in (sharded[0], sharded[2], sharded):
        fully_shard(layer, mesh=mesh)
    for name, model in (("ddp", parallel), ("fsdp2", sharded)):
        monitor = ActivationMonitor(model, every=1, window=1)
        model(inputs[rank]).square().mean().backward()
        monitor.update()
        reports[name] = monitor.compute().to_dict()
    torch.save(reports, f"{path}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)  # gloo's threads abort some processes that end otherwise


@pytest.mark.slow
def test_in_two_processes(tmp_path: Path) -> None:
    """The norms are those of the whole batch, on each process."""
    if not torch.distributed.is_available():
        pytest.skip("torch was built without torch.distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_one_of_two, (port, str(tmp_path)), nprocs=2)
    model = network()
    inputs = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1))
    model(inputs.view(10, 6)).square().mean().backward()
    wanted = norms_of(model)
    for rank in (0, 1):
        for name, report in torch.load(tmp_path / f"{rank}.pt").items():
            assert report["gradient_norms"] == pytest.approx(wanted, rel=1e-5), name
            assert report["layers"]["1"]["values"] == 10

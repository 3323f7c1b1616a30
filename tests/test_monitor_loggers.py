"""The monitor's numbers in the loggers' own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from activations_ext.monitor import ActivationMonitor


@pytest.fixture
def monitor() -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))
    with ActivationMonitor(model, every=1, window=2) as watching:
        for _ in range(4):
            model(torch.randn(8, 4)).square().mean().backward()
            watching.update()
        yield watching


def test_to_dict_is_plain(monitor: ActivationMonitor) -> None:
    report = json.loads(json.dumps(monitor.compute().to_dict()))
    assert report["layers"]["1"]["function"] == "ReLU"
    assert report["layers"]["1"]["values"] == 16
    assert report["layers"]["1"]["dead_below"] == pytest.approx(1 - 0.05 ** (1 / 16))
    assert set(report["gradient_norms"]) == {"0", "2"}
    assert (report["step"], report["overflows"], report["skipped"]) == (3, 0, {})


def scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(directory))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard(monitor: ActivationMonitor, tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        numbers = monitor.log(writer)
    found = scalars(tmp_path)
    assert set(found) == set(numbers)
    for name, [(step, value)] in found.items():
        assert step == 3
        assert value == pytest.approx(numbers[name])


@pytest.mark.slow
def test_weights_and_biases(
    monitor: ActivationMonitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=str(tmp_path), project="tests") as run:
        numbers = monitor.log(run)
        summary = {name: run.summary[name] for name in numbers}
    assert summary == pytest.approx(numbers)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_lightning(tmp_path: Path, accumulate: int) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    from activations_ext.integrations.lightning import MonitorActivations

    class Learner(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))

        def training_step(self, batch: tuple[Tensor], _: int) -> Tensor:
            return self.net(batch[0]).square().mean()  # type: ignore[no-any-return]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    logger = lightning.loggers.TensorBoardLogger(str(tmp_path), name="run", version=0)
    callback = MonitorActivations(every=1, window=2)
    trainer = lightning.Trainer(
        max_steps=6,
        accumulate_grad_batches=accumulate,
        callbacks=[callback],
        logger=logger,
        accelerator="cpu",
        **dict.fromkeys(
            ("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
        ),
    )
    data = torch.utils.data.TensorDataset(torch.randn(120, 4))
    trainer.fit(Learner(), torch.utils.data.DataLoader(data, batch_size=4))
    assert callback.monitor is not None
    report = callback.monitor.compute()
    assert report.layers["net.1"].values == 2 * 4 * accumulate
    assert set(report.gradient_norms) == {"net.0", "net.2"}
    found = scalars(tmp_path / "run/version_0")
    assert len(found["net.1/dead"]) == 3
    assert len(found["net.0/gradient_norm"]) == 3

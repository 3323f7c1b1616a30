"""The monitor counts correctly and shows what it counted. Models of all kinds:
test_monitor_models.py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import nn as torch_nn

from activations_ext import nn
from activations_ext.monitor import ActivationMonitor
from activations_ext.monitor.diagnosis import of_gradients


def learn(
    model: torch.nn.Module, monitor: ActivationMonitor, inputs: list[Tensor], rate: float = 0.0
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for x in inputs:
        optimizer.zero_grad()
        result = model(x)
        (result if isinstance(result, Tensor) else result[0]).square().mean().backward()
        optimizer.step()
        monitor.update()


class Fixed(torch_nn.Module):
    """Adds a row of numbers, so that its outputs are known."""

    def __init__(self, shift: list[float]) -> None:
        super().__init__()
        self.shift = torch_nn.Parameter(torch.tensor(shift))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


@pytest.mark.parametrize("library", [nn, torch_nn], ids=["ours", "torch"])
@pytest.mark.parametrize("inplace", [False, True])
def test_dead_units_are_those_that_never_let_a_gradient_through(
    library: Any, inplace: bool
) -> None:
    model = torch_nn.Sequential(Fixed([-100.0, 0.0, 100.0]), library.ReLU(inplace))
    monitor = ActivationMonitor(model, every=1, window=4)
    torch.manual_seed(0)
    learn(model, monitor, [torch.randn(32, 3) for _ in range(4)])
    layer = monitor.compute().layers["1"]
    assert (layer.function, len(layer.units)) == ("ReLU", 3)
    assert layer.units.dead.tolist() == [True, False, False]
    assert layer.dead == pytest.approx(1 / 3)
    assert layer.saturated == pytest.approx(0.5, abs=0.1)  # all, half, none
    monitor.close()


def test_a_window_and_not_one_batch() -> None:
    """A unit that is on for one example in four batches is not dead."""
    model = torch_nn.Sequential(Fixed([0.0]), nn.ReLU())
    with ActivationMonitor(model, every=1, window=4) as monitor:
        batches = [-torch.ones(8, 1) for _ in range(4)]
        batches[2][5] = 1.0
        learn(model, monitor, batches[:2])
        assert monitor.compute().layers["1"].dead == 1  # so far
        learn(model, monitor, batches[2:])
        assert monitor.compute().layers["1"].dead == 0


def test_revived_units() -> None:
    model = torch_nn.Sequential(Fixed([0.0, 0.0]), nn.ReLU())
    with ActivationMonitor(model, every=1, window=2) as monitor:
        off, on = torch.tensor([[-1.0, 1.0]]), torch.tensor([[1.0, -1.0]])
        learn(model, monitor, [off, off])
        assert monitor.compute().layers["1"].revived == 0
        learn(model, monitor, [on, on])
        layer = monitor.compute().layers["1"]
        assert (layer.revived, layer.units.dead.tolist()) == (1, [False, True])
        assert layer.units.revived.tolist() == [True, False]
        assert len(monitor.history) == 2


def test_saturation_mean_and_variance() -> None:
    torch.manual_seed(0)
    inputs = [3 * torch.randn(50, 7, dtype=torch.float64) for _ in range(5)]
    model = torch_nn.Sequential(torch_nn.Identity(), nn.Tanh())
    with ActivationMonitor(model, every=1, window=5, saturated_below=0.1) as monitor:
        for x in inputs:
            model(x)
            monitor.update()
        layer = monitor.compute().layers["1"]
    y = torch.tanh(torch.cat(inputs))
    assert layer.saturated == pytest.approx(((1 - y.square()) < 0.1).double().mean().item())
    assert layer.mean == pytest.approx(y.mean().item(), rel=1e-4)
    assert layer.variance == pytest.approx(y.var(correction=0).item(), rel=1e-4)
    flat = ((1 - y.square()) < 0.1).double().mean(0)
    torch.testing.assert_close(layer.units.saturated, flat)
    torch.testing.assert_close(layer.units.mean, y.mean(0), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(layer.units.variance, y.var(0, correction=0), atol=1e-6, rtol=1e-4)


def test_the_variance_does_not_drown_in_the_mean() -> None:
    model = torch_nn.Sequential(torch_nn.Identity(), nn.ReLU())
    x = 1000 + 1e-2 * torch.arange(64.0).reshape(32, 2)
    with ActivationMonitor(model, every=1, window=1) as monitor:
        model(x)
        monitor.update()
        assert monitor.compute().layers["1"].variance == pytest.approx(
            x.var(correction=0).item(), rel=1e-2
        )


@pytest.mark.parametrize(
    ("shape", "unit_dims", "units"),
    [
        ((4, 5, 6, 7), {}, 5),
        ((4, 5, 2, 6, 7), {}, 5),
        ((4, 6), {}, 6),
        ((4, 6, 8), {}, 8),
        ((4, 6, 8), {"0": 1}, 6),
        ((4,), {}, 1),
        ((), {}, 1),
    ],
)
def test_units(shape: tuple[int, ...], unit_dims: dict[str, int], units: int) -> None:
    model = torch_nn.Sequential(nn.ReLU())
    with ActivationMonitor(model, unit_dims=unit_dims) as monitor:
        model(torch.ones(shape))
        layer = monitor.compute().layers["0"]
    assert (len(layer.units), layer.dead, layer.mean, layer.variance) == (units, 0, 1, 0)


def test_every_so_many_steps() -> None:
    model = torch_nn.Sequential(Fixed([0.0]), nn.ReLU())
    with ActivationMonitor(model, every=3, window=2) as monitor:
        # Steps 0 and 3 are looked at.
        learn(model, monitor, [torch.full((1, 1), float(n)) for n in (1, 10, 10, 2, 10)])
        report = monitor.compute()
    assert report.layers["1"].mean == pytest.approx(1.5)
    assert report.step == 3


def test_gradient_norms() -> None:
    torch.manual_seed(0)
    model = torch_nn.Sequential(torch_nn.Linear(3, 4), nn.Tanh(), torch_nn.Linear(4, 2))
    inputs = [torch.randn(5, 3) for _ in range(3)]
    squares: dict[str, float] = {"0": 0.0, "2": 0.0}
    with ActivationMonitor(model, every=1, window=3) as monitor:
        for x in inputs:
            model.zero_grad()
            model(x).square().mean().backward()
            for name in squares:
                squares[name] += sum(
                    p.grad.square().sum().item() for p in model[int(name)].parameters()
                )
            monitor.update()
        norms = monitor.compute().gradient_norms
    assert list(norms) == ["0", "2"]
    assert norms == pytest.approx({name: math.sqrt(s / 3) for name, s in squares.items()})


# --- what is shown --------------------------------------------------------------------------------


def test_summary_says_what_is_wrong() -> None:
    model = torch_nn.Sequential(Fixed([-100.0, 1.0]), nn.ReLU(), Fixed([50.0, -50.0]), nn.Sigmoid())
    with ActivationMonitor(model) as monitor:
        learn(model, monitor, [torch.randn(8, 2)])
        text = monitor.summary()
    assert "1: 50% of the units let no gradient through (less often than 31.2%): lower the" in text
    assert "3: 100% of the slopes are flat" in text
    assert "1" in text.splitlines()[1].split()[0]


def test_gradients_that_vanish_explode_and_are_not_finite() -> None:
    assert of_gradients({"a": 1.0, "b": 2.0}) is None
    assert of_gradients({"a": 1.0}) is None
    vanishing = of_gradients({"a": 1e-9, "b": 1e-3, "c": 1.0})
    assert vanishing is not None
    assert vanishing.startswith(
        "vanishing: the gradient of a is 1.0e+09 times smaller than that of c"
    )
    assert "infinitely" in (of_gradients({"a": 0.0, "b": 1.0}) or "")
    assert (of_gradients({"a": 1e4, "b": 1.0}) or "").startswith("exploding")
    assert "b is not finite" in (of_gradients({"a": 1.0, "b": math.nan}) or "")


def test_log() -> None:
    class TensorBoard:
        def __init__(self) -> None:
            self.scalars: list[tuple[str, float, int]] = []

        def add_scalar(self, name: str, number: float, step: int) -> None:
            self.scalars.append((name, number, step))

    class Run:
        def log(self, numbers: dict[str, float]) -> None:
            self.numbers = numbers

    model = torch_nn.Sequential(Fixed([-100.0, 1.0]), nn.ReLU())
    with ActivationMonitor(model) as monitor:
        learn(model, monitor, [torch.randn(8, 2)])
        numbers = monitor.log()
        assert numbers["1/dead"] == 0.5
        assert set(numbers) == {
            *(f"1/{what}" for what in ("dead", "revived", "saturated", "mean", "variance")),
            "0/gradient_norm",
        }
        board, run, plain = TensorBoard(), Run(), {}
        monitor.log(board)
        monitor.log(run)
        monitor.log(plain.update)
    assert {name: number for name, number, _ in board.scalars} == numbers == run.numbers == plain


@pytest.mark.slow
def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    model = torch_nn.Sequential(Fixed([-100.0, 1.0]), nn.ReLU(), nn.Tanh())
    with ActivationMonitor(model, every=1, window=2) as monitor:
        with pytest.raises(ValueError, match="at least one complete window"):
            monitor.plot()
        learn(model, monitor, [torch.randn(5, 2) for _ in range(6)], rate=0.1)
        figure = monitor.plot(tmp_path / "maps.png")
    assert (tmp_path / "maps.png").stat().st_size > 1000
    dead = figure.axes[0]
    assert [label.get_text() for label in dead.get_yticklabels()] == ["1", "2"]
    assert dead.images[0].get_array().tolist() == [[0.5] * 3, [0.0] * 3]


def test_reset() -> None:
    model = torch_nn.Sequential(Fixed([0.0]), nn.ReLU())
    with ActivationMonitor(model, every=1, window=1) as monitor:
        learn(model, monitor, [torch.ones(1, 1)])
        monitor.reset()
        assert not monitor.history
        learn(model, monitor, [torch.full((1, 1), 5.0)])
        assert monitor.compute().layers["1"].mean == 5


@pytest.mark.parametrize("argument", ["every", "window"])
def test_errors(argument: str) -> None:
    with pytest.raises(ValueError, match=f"'{argument}' to be at least 1, but got 0"):
        ActivationMonitor(nn.ReLU(), **{argument: 0})

"""A model that runs without the monitor runs with it, with the same results, and keeps nothing."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jacrev, jvp, vmap
from torch.nn.modules import module as hooks
from torch.utils.checkpoint import checkpoint

from activations_ext import functional as F
from activations_ext.monitor import ActivationMonitor


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Tanh())


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in model.named_parameters()}


def _vmap_of_grad(model: nn.Module, x: Tensor) -> Tensor:
    def loss(weights: dict[str, Tensor], row: Tensor) -> Tensor:
        return functional_call(model, weights, (row,)).sum()  # type: ignore[no-any-return]

    return vmap(grad(loss), (None, 0))(parameters_of(model), x)["0.weight"]  # type: ignore[no-any-return]


def _dual(model: nn.Module, x: Tensor) -> Tensor:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(model(forward_ad.make_dual(x, x.cos()))).tangent  # type: ignore[return-value]


def _inference(model: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(x.clone()).clone()  # type: ignore[no-any-return]


def _checkpointed(model: nn.Module, x: Tensor) -> Tensor:
    return checkpoint(model, x.clone().requires_grad_(), use_reentrant=False)  # type: ignore[no-any-return]


RUNS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "vmap": lambda model, x: vmap(model)(x),
    "vmap of grad": _vmap_of_grad,
    "jacrev": lambda model, x: jacrev(model)(x),
    "jvp": lambda model, x: jvp(model, (x,), (x.cos(),))[1],
    "dual numbers": _dual,
    "inference mode": _inference,
    "empty": lambda model, x: model(x[:0]),
    "checkpoint": _checkpointed,
    "no grad": torch.no_grad()(lambda model, x: model(x)),
    "float64": lambda model, x: model.double()(x.double()),
    "bfloat16 autocast": lambda model, x: torch.autocast("cpu", torch.bfloat16)(model)(x),
}


@pytest.mark.parametrize("run", RUNS)
def test_the_same_results(run: str) -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    wanted = RUNS[run](network(), x)
    model = network()
    with ActivationMonitor(model, every=1, window=1) as monitor:
        result = RUNS[run](model, x)
        if result.requires_grad:
            result.sum().backward()
        monitor.update()
        monitor.summary()
    torch.testing.assert_close(result, wanted, rtol=0, atol=0)


class Anything(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def test_inputs_of_all_kinds_are_said_to_be_skipped() -> None:
    model = Anything(torch.relu)
    jagged = torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(4, 3)], layout=torch.jagged)
    with ActivationMonitor(model, every=1, window=1) as monitor:
        model(torch.arange(-3, 4))
        model(jagged)
        vmap(model)(torch.randn(2, 3))
        model(torch.randn(0, 3))
        monitor.update()
        report = monitor.compute()
    assert not report.layers
    assert sum(report.skipped.values()) == 4
    assert "1 calls were not looked at: nested and sparse inputs" in str(report)


def test_a_changed_last_dimension() -> None:
    model = Anything(torch.relu)
    with ActivationMonitor(model, every=1, window=1) as monitor:
        for width in (3, 5, 3):
            assert model(torch.ones(2, width)).shape == (2, width)
        monitor.update()
        report = monitor.compute()
    assert len(report.layers[""].units) == 3
    assert report.layers[""].values == 4
    assert any("unit_dims" in reason for reason in report.skipped)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_errors_in_forward(error: type[BaseException]) -> None:
    model = network()
    fails = True

    def sometimes(*_: Any) -> None:
        if fails:
            raise error

    model[2].register_forward_pre_hook(sometimes)
    with ActivationMonitor(model, every=1, window=1) as monitor:
        with pytest.raises(error):
            model(torch.randn(5, 4))
        fails = False
        if error is KeyboardInterrupt:  # no hook is told; the next pass, or the end, makes it good
            assert torch.overrides._get_current_function_mode_stack()
        model(torch.randn(5, 4))
        monitor.update()
        assert list(monitor.compute().layers) == ["1", "3"]
    assert not torch.overrides._get_current_function_mode_stack()
    other = ActivationMonitor(model, every=1, window=1)
    fails = True
    with pytest.raises(error):
        model(torch.randn(5, 4))
    other.close()
    assert not torch.overrides._get_current_function_mode_stack()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.compiler
def test_compiled(when: str) -> None:
    torch._dynamo.reset()
    model = network()
    compiled = torch.compile(model, backend="aot_eager")
    x = torch.randn(5, 4)
    if when == "before":
        compiled(x)
    with ActivationMonitor(model, every=2, window=1) as monitor:
        for _ in range(5):
            torch.testing.assert_close(compiled(x), model(x))
            monitor.update()
        assert list(monitor.compute().layers) == ["1", "3"]
    assert torch._dynamo.eval_frame._stance.stance == "default"


@pytest.mark.compiler
def test_two_monitors_of_compiled_models() -> None:
    torch._dynamo.reset()
    model = network()
    compiled = torch.compile(model, backend="aot_eager")
    compiled(torch.randn(5, 4))
    first, second = (ActivationMonitor(model, every=every) for every in (2, 3))
    for _ in range(7):
        compiled(torch.randn(5, 4))
        first.update()
        second.update()
    first.close()
    second.close()
    assert list(second.compute().layers) == ["1", "3"]
    assert torch._dynamo.eval_frame._stance.stance == "default"


def test_script_modules() -> None:
    model = torch.jit.script(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))
    with ActivationMonitor(model, every=1) as monitor:
        model(torch.randn(2, 4)).sum().backward()
        monitor.update()
        assert "none was seen" in monitor.summary()


def test_files_and_copies_hold_no_trace() -> None:
    model = network()
    before = pickle.dumps(model)
    with ActivationMonitor(model, every=1) as monitor:
        model(torch.randn(2, 4))
        assert pickle.dumps(model) == before
        file = io.BytesIO()
        torch.save(model, file)
        assert b"activations_ext" not in file.getvalue()
        copied = copy.deepcopy(model)
        assert vars(copied).keys() == vars(model).keys()
        monitor.update()


def test_del_is_enough() -> None:
    references: list[Any] = []
    gc.disable()
    try:
        for _ in range(50):
            model = network()
            monitor = ActivationMonitor(model, every=1, window=2)
            for _ in range(3):
                model(torch.randn(2, 4)).sum().backward()
                monitor.update()
            references += [weakref.ref(monitor), weakref.ref(monitor._watch), weakref.ref(model)]
            del monitor, model
            assert not hooks._global_forward_hooks
    finally:
        gc.enable()
    assert not any(reference() for reference in references)


@pytest.mark.slow
def test_the_monitor_outlives_its_model() -> None:
    monitor = ActivationMonitor(network(), every=1)
    gc.collect()
    monitor.update()
    assert "none was seen" in monitor.summary()
    monitor.close()


def test_threads() -> None:
    """Each monitor sees its own model, on the thread that runs it, and nobody raises."""
    errors: list[BaseException] = []
    reports: dict[int, Any] = {}
    start = threading.Barrier(3)

    def train(number: int) -> None:
        try:
            torch.manual_seed(number)
            model = nn.Sequential(nn.Linear(4, number + 5), nn.Mish(), nn.Linear(number + 5, 1))
            monitor = ActivationMonitor(model, every=2, window=3)
            start.wait()
            for _ in range(40):
                model.zero_grad()
                model(torch.randn(8, 4)).sum().backward()
                monitor.update()
            reports[number] = monitor.compute()
            monitor.close()
        except BaseException as error:
            errors.append(error)

    def foreign() -> None:
        start.wait()
        for _ in range(400):
            F.mish(torch.randn(3, 3))

    threads = [threading.Thread(target=train, args=(n,)) for n in range(2)]
    threads.append(threading.Thread(target=foreign))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for number, report in reports.items():
        assert {name: len(layer.units) for name, layer in report.layers.items()} == {
            "1": number + 5
        }
        assert not report.skipped


@pytest.mark.slow
def test_the_history_is_bounded() -> None:
    model = network()
    x = torch.randn(2, 4)
    with ActivationMonitor(model, every=1, window=1) as monitor:
        for _ in range(1200):
            model(x)
            monitor.update()
        steps = [moment.step for moment in monitor.history]
    assert len(steps) <= 512
    assert monitor.history.stride == 4
    assert steps == list(range(0, 1200, 4))

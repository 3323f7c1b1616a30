"""The monitor: which calls are counted, when, and what becomes of the counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from activations_ext.monitor.counts import Counts, in_several_processes, value_and_slope
from activations_ext.monitor.report import LayerReport, Moment, Report, Units
from activations_ext.monitor.watch import Watch

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class _Window:
    """What was counted, still on the device."""

    counts: dict[str, Counts]
    squared_norms: dict[str, Tensor]
    samples: int
    step: int


class ActivationMonitor:
    """Watches the activations of ``model`` while it learns.

    Every activation module of torch and of this package is seen, and every call of this package's
    functions; a module or function that is called more than once in a step has a layer for each
    call (``"act"``, ``"act#2"``). What is counted are slopes |σ'(x)| and outputs, for each unit: a
    channel (dimension 1) of inputs with four dimensions or more, else a place in the last one.

    The order of calls is torchmetrics': a training step, ``update()``, and now and then
    ``compute()``::

        monitor = ActivationMonitor(model)
        for input, target in batches:
            loss(model(input), target).backward()
            optimizer.step()
            monitor.update()
        print(monitor.summary())
        monitor.close()

    One step in ``every`` is looked at, and ``window`` of them make a window; nothing is read back
    from the device before ``compute()``. Steps in evaluation mode are not looked at. It works in
    compiled models, if made before their first call. In distributed training each process has its
    own, and ``compute()``, which all have to call, adds up their counts.

    Args:
        model: any module; DistributedDataParallel and compiled ones too.
        every: steps from one look to the next.
        window: looks that are judged together.
        saturated_below: slopes smaller than that count as saturated.
        dead_below: a unit whose slopes were all smaller than that is dead.
        unit_dims: the dimension of the units of layers for which the rule above is wrong.

    Raises:
        ValueError: ``every`` or ``window`` is not positive.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        every: int = 50,
        window: int = 4,
        saturated_below: float = 0.05,
        dead_below: float = 1e-6,
        unit_dims: Mapping[str, int] | None = None,
    ) -> None:
        for name, value in (("every", every), ("window", window)):
            if value < 1:
                raise ValueError(
                    f"ActivationMonitor(): expected argument '{name}' to be at least 1, but got "
                    f"{value}"
                )
        self.every, self.window = every, window
        self.saturated_below, self.dead_below = saturated_below, dead_below
        self.unit_dims = dict(unit_dims or {})
        self.step = 0
        self.history: list[Moment] = []
        self._samples = 0
        self._counts: dict[str, Counts] = {}
        self._functions: dict[str, str] = {}
        self._squared_norms: dict[str, Tensor] = {}
        self._windows: list[_Window] = []  # the last two that are complete
        self._watch = Watch(model, self._count, self._add_gradient)

    def _count(
        self, layer: str, function: str, of: Callable[[Tensor], Tensor], input: Tensor
    ) -> None:
        dim = self.unit_dims.get(layer, 1 if input.dim() >= 4 else -1)
        counts = self._counts.get(layer)
        if counts is None:
            counts = Counts.zeros(input.shape[dim] if input.dim() >= 2 else 1, input.device)
            self._counts[layer] = counts
            self._functions[layer] = function
        with torch.no_grad():
            value, slope = value_and_slope(of, input)
            counts.add(value, slope, dim, self.dead_below, self.saturated_below)

    @torch.no_grad()
    def _add_gradient(self, owner: str, gradient: Tensor) -> None:
        if gradient.is_sparse:
            gradient = gradient.coalesce().values()
        square = gradient.float().square().sum()
        if owner in self._squared_norms:
            self._squared_norms[owner] += square
        else:
            self._squared_norms[owner] = square

    # --- torchmetrics' convention ---------------------------------------------------------------

    def update(self) -> None:
        """To be called after every training step."""
        if self._watch.on and (self._counts or self._squared_norms):
            self._samples += 1
            if self._samples >= self.window:
                self._close_window()
        self.step += 1
        self._watch.on = self.step % self.every == 0
        self._watch.new_step()

    def compute(self) -> Report:
        """What the last complete window has shown; before there is one, what was seen so far.

        Waits for the device, and in distributed training for the other processes.
        """
        if self._windows:
            now, before = self._windows[-1], self._windows[-2] if len(self._windows) > 1 else None
        else:
            now, before = self._as_window(self._counts, self._squared_norms), None
        layers = {}
        for name, local in now.counts.items():
            counts = local.added_up()
            revived = torch.zeros_like(counts.dead)
            if before is not None and name in before.counts:
                revived = before.counts[name].added_up().dead & ~counts.dead
            units = (counts.dead, revived, counts.saturation, counts.mean, counts.variance)
            layers[name] = LayerReport(self._functions[name], Units(*(u.cpu() for u in units)))
        norms = {
            name: (_mean_over_processes(square).item() / max(1, now.samples)) ** 0.5
            for name in self._watch.owners
            if (square := now.squared_norms.get(name)) is not None
        }
        return Report(layers, norms, now.step)

    def reset(self) -> None:
        """Forgets what was counted; the next step is looked at."""
        for counts in self._counts.values():
            counts.take()
        self._squared_norms.clear()
        self._windows.clear()
        self.history.clear()
        self._samples = self.step = 0
        self._watch.on = True
        self._watch.new_step()

    def close(self) -> None:
        """Takes all hooks away. What was counted stays."""
        self._watch.close()

    def __enter__(self) -> ActivationMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _as_window(self, counts: dict[str, Counts], squared_norms: dict[str, Tensor]) -> _Window:
        return _Window(counts, squared_norms, self._samples, self.step)

    def _close_window(self) -> None:
        counts = {name: of_layer.take() for name, of_layer in self._counts.items()}
        window = self._as_window(counts, dict(self._squared_norms))
        self._squared_norms.clear()
        self._windows = [*self._windows[-1:], window]
        norms = {name: (s / self._samples).sqrt() for name, s in window.squared_norms.items()}
        shares = {name: of_layer.shares() for name, of_layer in counts.items()}
        self.history.append(Moment(self.step, shares, norms))
        self._samples = 0

    # --- what is shown --------------------------------------------------------------------------

    def summary(self) -> str:
        """``compute()`` as a table, with what it means and what helps."""
        return str(self.compute())

    def log(self, writer: Any = None) -> dict[str, float]:
        """``compute()`` as a plain dict, which ``writer`` gets too: TensorBoard's SummaryWriter (or
        what else has ``add_scalar``), something with a ``log``, or a function."""
        report = self.compute()
        numbers = report.as_dict()
        if hasattr(writer, "add_scalar"):
            for name, number in numbers.items():
                writer.add_scalar(name, number, report.step)
        elif hasattr(writer, "log"):
            writer.log(numbers)
        elif writer is not None:
            writer(numbers)
        return numbers

    def plot(self, path: Path | str | None = None) -> Figure:
        """Heat maps, layer by window: dead units, saturation and gradients. Needs matplotlib."""
        from activations_ext.monitor.heat_maps import draw

        figure = draw(self.history)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


def _mean_over_processes(number: Tensor) -> Tensor:
    if not in_several_processes():
        return number
    total = number.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()

"""The monitor: which calls are counted, when, and what the counts are used for."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from activations_ext.monitor.counts import Counts, in_several_processes, value_and_slope
from activations_ext.monitor.gradients import Scale, learns, squared_norms
from activations_ext.monitor.history import History, Moment
from activations_ext.monitor.report import LayerReport, Report, Units
from activations_ext.monitor.watch import Call, Watch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKED_AT = 2**14
"""How many elements of a call are examined; larger inputs are sampled by example."""


@dataclass
class _Window:
    """What was counted, still on the device."""

    counts: dict[str, Counts] = field(default_factory=dict)
    squared_norms: dict[str, Tensor] = field(default_factory=dict)
    samples: int = 0
    overflows: Tensor | int = 0
    """Samples whose gradients a GradScaler has discarded."""
    step: int = 0

    def norms(self) -> dict[str, Tensor]:
        samples = (self.samples - self.overflows) if self.samples else 1
        return {name: (square / samples).sqrt() for name, square in self.squared_norms.items()}


class ActivationMonitor:
    """Watches the activations of ``model`` while it learns.

    Every activation is seen that the model's forward pass calls in training mode: modules, torch's
    functions and tensors' methods, this package's, and modules without parameters that make one of
    several functions. A module or function that is called more than once in a step has a layer for
    each call (``"act"``, ``"act#2"``); a function is named after the module that calls it
    (``"encoder.gelu"``). It counts slopes ``|σ'(x)|`` and outputs, for each unit: a channel
    behind convolutions and their normalisation, else a place in the last dimension (of inputs with
    four dimensions or more, a channel, where no module before it tells).

    The order of calls is torchmetrics': a training step, ``update()``, and now and then
    ``compute()``::

        monitor = ActivationMonitor(model)
        for input, target in batches:
            loss(model(input), target).backward()
            optimizer.step()
            monitor.update()
        print(monitor.summary())
        monitor.close()

    ``update()`` reads the gradients: call it after ``backward()`` (of the last micro-batch), before
    or after the optimizer's step, and before ``zero_grad()``. One step in ``every`` is looked at,
    and ``window`` of them make a window; nothing is read back from the device before ``compute()``.
    The steps between cost nothing: there are no hooks then, and never any in the model. A step that
    is looked at runs uncompiled. In distributed training each process has its own monitor, and
    ``compute()``, which all have to call, adds up their counts.

    It is one thread's: calls in other threads, DataParallel's replicas too, are not seen. Nor is
    what runs in TorchScript or was exported.

    Args:
        model: any module; DistributedDataParallel and compiled ones too. It is referred to weakly.
        every: the number of steps from one sample to the next.
        window: looks that are judged together.
        saturated_below: slopes smaller than that count as saturated.
        dead_below: a unit whose slopes were all smaller than that is dead.
        unit_dims: the dimension of the units of layers for which the rule above is wrong.
        scaler: the ``torch.amp.GradScaler`` in use: gradients are read without its factor, and the
            steps that it skips are left out and counted.

    Raises:
        ValueError: ``every`` or ``window`` is not positive.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> monitor = activations_ext.monitor.ActivationMonitor(model, every=1)
        >>> model(torch.randn(16, 4)).sum().backward()
        >>> monitor.update()
        >>> list(monitor.compute().layers)
        ['1']
        >>> monitor.close()
    """

    def __init__(
        self,
        model: torch.nn.Module,
        every: int = 100,
        window: int = 4,
        saturated_below: float = 0.05,
        dead_below: float = 1e-6,
        unit_dims: Mapping[str, int] | None = None,
        scaler: Any = None,
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
        self.windows = 0
        """The number of complete windows."""
        self.history = History()
        self._functions: dict[str, str] = {}
        self._now = _Window()
        self._complete: list[_Window] = []  # the last two
        self._scale = Scale(scaler)
        self._has_scaler = scaler is not None
        self._misses_gradients = False
        # The watch, which the hooks find, knows the monitor weakly: `del monitor` ends all.
        count, forward = weakref.WeakMethod(self._count), weakref.WeakMethod(self._before_forward)
        self._watch = Watch(model, _if_alive(count), _if_alive(forward))
        self._watch.start()

    def _before_forward(self) -> None:
        self._scale.before_forward()

    def _count(self, call: Call) -> None:
        input = call.input
        first_dim = 1 if input.dim() >= 3 and self._is_channels_first(call) else -1
        dim = self.unit_dims.get(call.layer, first_dim)
        units = input.shape[dim] if input.dim() >= 2 else 1
        counts = self._now.counts.get(call.layer)
        if counts is not None and counts.units != units:
            raise ValueError(
                f"{call.layer} has {units} units now, and had {counts.units}: give its dimension "
                "of units in unit_dims"
            )
        with torch.no_grad():
            value, slope = value_and_slope(call.of, _part(input, dim))
            if counts is None:
                counts = self._now.counts[call.layer] = Counts.zeros(units, input.device)
                self._functions[call.layer] = call.function
            counts.add(value, slope, dim, self.dead_below, self.saturated_below)

    @staticmethod
    def _is_channels_first(call: Call) -> bool:
        return call.input.dim() >= 4 if call.channels_first is None else call.channels_first

    # --- torchmetrics' convention ---------------------------------------------------------------

    def update(self) -> None:
        """To be called after every training step, before the gradients are cleared."""
        if self._watch.on:
            self._read_gradients()
            if self._now.counts or self._now.squared_norms:
                self._now.samples += 1
                if self._now.samples >= self.window:
                    self._close_window()
        self.step += 1
        if self.step % self.every == 0:
            self._watch.start()
        else:
            self._watch.stop()

    @torch.no_grad()
    def _read_gradients(self) -> None:
        model = self._watch.root()
        if model is None:
            return
        squares = squared_norms(self._watch.names())
        self._misses_gradients = not squares and learns(model)
        if not squares:
            return
        scale = self._scale.now()
        first = next(iter(squares.values()))  # the others may lie on other devices
        numbers = torch.stack([square.to(first.device) for square in squares.values()])
        numbers /= scale * scale
        if self._has_scaler:
            is_finite = numbers.sum().isfinite()
            numbers = torch.where(is_finite, numbers, 0.0)
            self._now.overflows = self._now.overflows + (~is_finite).long()
        for name, square in zip(squares, numbers, strict=True):
            before = self._now.squared_norms.get(name)
            self._now.squared_norms[name] = square if before is None else before + square

    def compute(self) -> Report:
        """The last complete window; before the first, everything so far.

        Waits for the device, and in distributed training for the other processes.
        """
        now, before = (self._complete or [self._now])[-1], None
        if len(self._complete) > 1:
            before = self._complete[-2]
        layers = {}
        for name, local in now.counts.items():
            counts = local.added_up()
            revived = torch.zeros_like(counts.dead)
            if before is not None and name in before.counts:
                revived = before.counts[name].added_up().dead & ~counts.dead
            units = (counts.dead, revived, counts.saturation, counts.mean, counts.variance)
            layers[name] = LayerReport(
                self._functions[name], Units(*(u.cpu() for u in units)), counts.count
            )
        norms = {name: _mean_over_processes(norm.square()) for name, norm in now.norms().items()}
        return Report(
            layers,
            {name: square.item() ** 0.5 for name, square in norms.items()},
            now.step if self._complete else self.step,
            overflows=int(now.overflows),
            misses_gradients=self._misses_gradients,
            skipped=dict(self._watch.skipped),
        )

    def reset(self) -> None:
        """Discards all counts; the next step is sampled."""
        self._now = _Window()
        self._complete.clear()
        self.history.clear()
        self._watch.skipped.clear()
        self.step = self.windows = 0
        self._watch.start()

    def close(self) -> None:
        """Stops watching. The counts remain."""
        self._watch.close()

    def __enter__(self) -> ActivationMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _close_window(self) -> None:
        window, self._now = self._now, _Window()
        window.step = self.step
        self.windows += 1
        self._complete = [*self._complete[-1:], window]
        shares = {name: counts.shares() for name, counts in window.counts.items()}
        self.history.append(Moment(self.step, shares, window.norms()))

    # --- what is shown --------------------------------------------------------------------------

    def summary(self) -> str:
        """``compute()`` as a table, with diagnoses and advice."""
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

        figure = draw(list(self.history))
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


def _if_alive(method: weakref.WeakMethod[Any]) -> Callable[..., None]:
    def call(*args: Any) -> None:
        if (bound := method()) is not None:
            bound(*args)

    return call


def _part(input: Tensor, units_dim: int) -> Tensor:
    """At most ``LOOKED_AT`` elements, if one example has no more: examples in the first
    dimension."""
    if input.dim() < 2 or units_dim % input.dim() == 0 or input.numel() <= LOOKED_AT:
        return input
    examples = len(input)
    wanted = max(1, LOOKED_AT * examples // input.numel())
    return input[:: -(-examples // wanted)]


def _mean_over_processes(number: Tensor) -> Tensor:
    if not in_several_processes():
        return number
    total = number.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()

"""The monitor as a callback of Lightning: ``Trainer(callbacks=[MonitorActivations()])``."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from activations_ext.monitor import ActivationMonitor


class MonitorActivations(Callback):
    """Watches the model while it is fitted, and logs each complete window to the trainer's loggers.

    Its step is the optimizer's: with ``accumulate_grad_batches`` several batches. The gradients are
    those before clipping.

    Args:
        **options: those of ``ActivationMonitor``.

    Attributes:
        monitor: the ``ActivationMonitor``, from the beginning of the fit on.
    """

    def __init__(self, **options: Any) -> None:
        self.monitor: ActivationMonitor | None = None
        self._options = options
        self._logged = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.monitor = ActivationMonitor(pl_module, **self._options)
        self._logged = 0

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        assert self.monitor is not None
        self.monitor.update()
        if self.monitor.windows > self._logged:
            self._logged = self.monitor.windows
            numbers = self.monitor.log()
            for logger in trainer.loggers:
                logger.log_metrics(numbers, step=trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor is not None:
            self.monitor.close()

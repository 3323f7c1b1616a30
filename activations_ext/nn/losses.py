"""Losses for classification as modules."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from activations_ext import functional as F


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """Minus the log-probability of the target: see ``activations_ext.functional.cross_entropy``.

    ``options`` are that function's keyword arguments beyond torch; those that differ from batch to
    batch (``token_weight``, ``num_items``) may be given to the call.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction, label_smoothing)
        unknown = options.keys() - inspect.signature(F.cross_entropy).parameters.keys()
        if unknown:
            raise TypeError(
                "CrossEntropyLoss(): expected keyword arguments of "
                f"functional.cross_entropy, but got {sorted(unknown)}"
            )
        self.options = options

    def forward(self, input: Tensor, target: Tensor, **options: Any) -> Any:
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            **{**self.options, **options},
        )


class NLLLoss(torch.nn.NLLLoss):
    """Minus the log-probability of the target: see ``activations_ext.functional.nll_loss``."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class BCEWithLogitsLoss(torch.nn.BCEWithLogitsLoss):
    """The loss of yes-or-no questions.

    See ``activations_ext.functional.binary_cross_entropy_with_logits``.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input,
            target,
            weight=self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
        )

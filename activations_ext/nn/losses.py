"""Losses for classification as modules."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from activations_ext import functional as F
from activations_ext.functional.binary import binary_cross_entropy_with_logits
from activations_ext.nn.form import TorchsType


def _no_script(self: Any) -> Any:
    """``__prepare_scriptable__``: torch.jit.script compiles torch's forward."""
    if options := self.options_beyond_torch:
        raise NotImplementedError(
            f"torch.jit.script: torch's {type(self).__name__} has no {', '.join(sorted(options))}"
        )
    return self


class CrossEntropyLoss(torch.nn.CrossEntropyLoss, metaclass=TorchsType):
    """Minus the log-probability of the target: see ``activations_ext.functional.cross_entropy``.

    ``options`` are that function's keyword arguments beyond torch. Those that differ from batch to
    batch (``token_weight``, ``num_items``) may be passed to the call instead.

    Example:
        >>> criterion = nn.CrossEntropyLoss(label_smoothing=0.1, z_loss=1e-4)
        >>> criterion(torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([0]))
        tensor(0.5082)
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
        self.options_beyond_torch = options

    __prepare_scriptable__ = _no_script

    def forward(self, input: Tensor, target: Tensor, **options: Any) -> Any:
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            **{**self.options_beyond_torch, **options},
        )


class NLLLoss(torch.nn.NLLLoss, metaclass=TorchsType):
    """Minus the log-probability of the target: see ``activations_ext.functional.nll_loss``.

    Example:
        >>> nn.NLLLoss()(torch.tensor([[-0.5, -1.5]]), torch.tensor([0]))
        tensor(0.5000)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class BCEWithLogitsLoss(torch.nn.BCEWithLogitsLoss, metaclass=TorchsType):
    """The loss of yes-or-no questions.

    See ``activations_ext.functional.binary_cross_entropy_with_logits``, also for ``focal_gamma``.

    Example:
        >>> nn.BCEWithLogitsLoss()(torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.0]))
        tensor(0.2201)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
        *,
        focal_gamma: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction, pos_weight)
        options: dict[str, Any] = {} if focal_gamma == 0 else {"focal_gamma": focal_gamma}
        self.options_beyond_torch = options

    __prepare_scriptable__ = _no_script

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            input,
            target,
            weight=self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
            **self.options_beyond_torch,
        )


if TYPE_CHECKING:
    TorchsLinearCrossEntropyLoss = torch.nn.LinearCrossEntropyLoss
else:  # before torch 2.13 there is none, and the rest of the package is still to be imported
    TorchsLinearCrossEntropyLoss = getattr(torch.nn, "LinearCrossEntropyLoss", torch.nn.Module)


class LinearCrossEntropyLoss(TorchsLinearCrossEntropyLoss, metaclass=TorchsType):
    """The cross-entropy of a linear map of hidden states, whose logits are never in memory all at
    once: see ``activations_ext.functional.linear_cross_entropy``.

    It holds the linear layer, as torch's module does: ``linear.weight`` and ``linear.bias``. The
    arguments are torch's. Further keyword arguments are that function's beyond torch, and may be
    given to the call as well. Torch's ``options`` are accepted and ignored.

    Example:
        >>> criterion = nn.LinearCrossEntropyLoss(4, 1000)
        >>> criterion(torch.zeros(2, 4), torch.tensor([3, 7])).shape
        torch.Size([])
    """

    def __init__(self, in_features: int, num_classes: int, **arguments: Any) -> None:
        own = inspect.signature(TorchsLinearCrossEntropyLoss).parameters.keys()
        more = {name: arguments.pop(name) for name in arguments.keys() - own}
        super().__init__(in_features, num_classes, **arguments)
        unknown = more.keys() - inspect.signature(F.linear_cross_entropy).parameters.keys()
        if unknown:
            raise TypeError(
                "LinearCrossEntropyLoss(): expected keyword arguments of "
                f"functional.linear_cross_entropy, but got {sorted(unknown)}"
            )
        self.options_beyond_torch = more

    __prepare_scriptable__ = _no_script

    def forward(self, input: Tensor, target: Tensor, **more: Any) -> Any:
        outer = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*outer, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(outer),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
            **{**self.options_beyond_torch, **more},
        )

"""Causal language models of ``transformers``, trained without their logits in memory.

The model's own ``forward`` runs. Its head is handed the hidden states and gives a ``Logits``, which
records what the model does to it (a scale, a softcap) and becomes a tensor for any other use. Its
loss function takes a ``Logits`` to ``linear_cross_entropy``.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from activations_ext.functional.linear_losses import linear_cross_entropy

_NAME = "use_linear_cross_entropy"
_PLAIN = "_forward_with_logits"  # where a module's own forward is kept, a function of the module


class Logits:
    """``head(hidden)``, scaled and capped, not computed yet.

    They are ``softcap·tanh(scale·x/softcap)``, without a softcap ``scale·x``. Every other operation
    makes the tensor first.
    """

    def __init__(self, hidden: Tensor, head: Any, scale: float = 1.0, softcap: float = 0.0) -> None:
        self.hidden, self.head, self.scale, self.softcap = hidden, head, scale, softcap

    @functools.cached_property
    def tensor(self) -> Tensor:
        weight, bias = weight_and_bias(self.head)
        x = torch.nn.functional.linear(self.hidden, weight, bias) * self.scale
        return self.softcap * torch.tanh(x / self.softcap) if self.softcap else x

    def __mul__(self, number: Any) -> Any:
        if not isinstance(number, (int, float)) or number <= 0:
            return self.tensor * number
        if self.softcap:  # c·tanh(k·x) is softcap c of the logits k·c·x
            return Logits(self.hidden, self.head, self.scale * number, self.softcap * number)
        return Logits(self.hidden, self.head, self.scale * number)

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> Any:
        if isinstance(number, (int, float)) and number > 0:
            return self * (1 / number)
        return self.tensor / number

    def tanh(self) -> Any:
        if self.softcap:
            return self.tensor.tanh()
        return Logits(self.hidden, self.head, self.scale, 1.0)

    def _itself(self, *_: object, **__: object) -> Logits:
        return self

    # The loss is computed in float32 whatever the dtype, and memory does not matter yet.
    float = contiguous = _itself

    @property
    def shape(self) -> torch.Size:
        weight, _ = weight_and_bias(self.head)
        return torch.Size((*self.hidden.shape[:-1], weight.shape[0]))

    @property
    def device(self) -> torch.device:
        return self.hidden.device

    @property
    def dtype(self) -> torch.dtype:
        return self.hidden.dtype

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.tensor, name)

    def __getitem__(self, index: Any) -> Tensor:
        return self.tensor[index]

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.tanh and len(args) == 1 and not kwargs:
            return args[0].tanh()
        tree_map = torch.utils._pytree.tree_map
        plain = [
            tree_map(lambda v: v.tensor if isinstance(v, cls) else v, part)
            for part in (args, kwargs or {})
        ]
        return function(*plain[0], **plain[1])


def weight_and_bias(head: Any) -> tuple[Tensor, Tensor | None]:
    """Of a linear layer, also within PEFT's wrappers. Raises TypeError for anything else."""
    if hasattr(head, "modules_to_save"):  # a full copy, trained in its place
        if getattr(head, "disable_adapters", False):
            return weight_and_bias(head.original_module)
        (name,) = head.active_adapters
        return weight_and_bias(head.modules_to_save[name])
    if hasattr(head, "base_layer") and hasattr(head, "get_delta_weight"):  # LoRA
        weight, bias = weight_and_bias(head.base_layer)
        if head.merged or head.disable_adapters:
            return weight, bias
        for name in head.active_adapters:
            if name in head.lora_A:
                if not isinstance(head.lora_dropout[name], torch.nn.Identity):
                    raise TypeError(f"{_NAME}(): expected a head without dropout, but got {head}")
                weight = weight + head.get_delta_weight(name)
        return weight, bias
    if not isinstance(head, torch.nn.Linear):
        raise TypeError(
            f"{_NAME}(): expected a model whose head is a linear layer, but got "
            f"{type(head).__name__}"
        )
    return head.weight, head.bias


def use_linear_cross_entropy(model: Any) -> Callable[[], None]:
    """Have a causal language model compute its loss straight from the hidden states.

    In training, with ``labels``, ``output.loss`` comes from ``linear_cross_entropy``: labels
    shifted, −100 ignored, divided by ``num_items_in_batch`` where it is given, with the scale and
    the softcap of the model's logits. ``output.logits`` is then not a tensor, but becomes one
    when it is used. Evaluation, generation and losses of the user's own are untouched.

    Args:
        model: of ``transformers`` (Llama, GPT-2, Qwen2, Gemma2, Cohere, Granite, OPT, …), also
            within PEFT's wrappers; its head is a linear layer, whose weight may be tied.

    Returns:
        A function that undoes it.

    Raises:
        TypeError: the model has no linear head, or no loss function of its own.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    if head is None or not hasattr(inner, "loss_function"):
        raise TypeError(
            f"{_NAME}(): expected a causal language model of transformers, but got "
            f"{type(model).__name__}"
        )
    weight_and_bias(head)
    if _PLAIN in inner.__dict__:
        raise TypeError(f"{_NAME}(): expected a model for which it has not been called yet")
    before = [(module, dict(module.__dict__)) for module in (inner, head)]
    for module in (inner, head):
        if not isinstance(module.forward, MethodType):
            raise TypeError(
                f"{_NAME}(): expected {type(module).__name__}.forward to be a method, but got "
                f"{module.forward}: call this first, and what else replaces it afterwards"
            )
    for module, forward in ((inner, _forward), (head, _head_forward)):
        plain = module.forward.__func__
        module.__dict__[_PLAIN] = plain
        module.__dict__["forward"] = MethodType(_with_signature_of(plain, forward), module)
    head.__dict__["_active"] = False
    inner.__dict__["_loss_function"] = functools.partial(_loss, inner.loss_function)

    def undo() -> None:
        for module, attributes in before:
            for name in (_PLAIN, "forward", "_active", "_loss_function"):
                module.__dict__.pop(name, None)
                if name in attributes:
                    module.__dict__[name] = attributes[name]

    return undo


def _with_signature_of(
    plain: Callable[..., Any], forward: Callable[..., Any]
) -> Callable[..., Any]:
    """A function of its own for each model: the Trainer reads which columns it takes from it."""

    @functools.wraps(plain)
    def shown(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    return shown


def _forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    plain = self.__dict__[_PLAIN]
    given = inspect.signature(plain).bind_partial(self, *args, **kwargs).arguments
    labels = given.get("labels", given.get("kwargs", {}).get("labels"))
    head = self.get_output_embeddings()
    head.__dict__["_active"] = self.training and torch.is_grad_enabled() and labels is not None
    try:
        return plain(self, *args, **kwargs)
    finally:
        head.__dict__["_active"] = False


def _head_forward(self: Any, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
    if self.__dict__["_active"] and not args and not kwargs:
        return Logits(hidden, self)
    return self.__dict__[_PLAIN](self, hidden, *args, **kwargs)


def _loss(
    plain: Callable[..., Tensor],
    logits: Any,
    labels: Tensor,
    vocab_size: int | None = None,
    num_items_in_batch: Tensor | float | None = None,
    ignore_index: int = -100,
    shift_labels: Tensor | None = None,
    **kwargs: Any,
) -> Tensor:
    """``transformers.loss.loss_utils.ForCausalLMLoss`` of a ``Logits``."""
    if not isinstance(logits, Logits):
        return plain(
            logits=logits,
            labels=labels,
            vocab_size=vocab_size,
            num_items_in_batch=num_items_in_batch,
            ignore_index=ignore_index,
            shift_labels=shift_labels,
            **kwargs,
        )
    if shift_labels is None:
        shift_labels = torch.nn.functional.pad(labels, (0, 1), value=ignore_index)[..., 1:]
    weight, bias = weight_and_bias(logits.head)
    hidden = logits.hidden.reshape(-1, logits.hidden.shape[-1])
    # Under autocast the loss is float32, as that of the model's own is.
    half = hidden.dtype in (torch.bfloat16, torch.float16)
    device = hidden.device.type
    with torch.autocast(device, hidden.dtype) if half else contextlib.nullcontext():
        result: Tensor = linear_cross_entropy(
            hidden,
            weight,
            shift_labels.reshape(-1).to(hidden.device),
            linear_bias=bias,
            softcap=logits.softcap,
            logit_scale=logits.scale,
            ignore_index=ignore_index,
            reduction="mean" if num_items_in_batch is None else "sum",
            num_items=num_items_in_batch,
        )
    return result

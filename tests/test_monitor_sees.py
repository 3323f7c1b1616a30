"""The monitor sees whatever activation a network calls, by whatever name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from activations_ext import functional as F
from activations_ext import nn as ours
from activations_ext.monitor import ActivationMonitor


def layers(model: nn.Module, *inputs: Any, **named: Any) -> dict[str, tuple[str, int]]:
    with ActivationMonitor(model, every=1, window=1) as monitor:
        model(*inputs, **named)
        monitor.update()
        report = monitor.compute()
        assert not report.skipped
    return {name: (layer.function, len(layer.units)) for name, layer in report.layers.items()}


class Calls(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 6)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.linear(x))


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "relu of torch.nn": nn.functional.relu,
    "relu method": lambda x: x.relu(),
    "relu in place": lambda x: x.relu_(),
    "relu_": lambda x: torch.relu_(x),
    "relu with inplace": lambda x: nn.functional.relu(x, inplace=True),
    "relu positional": lambda x: nn.functional.relu(x, True),
    "gelu": nn.functional.gelu,
    "silu": lambda x: nn.functional.silu(input=x),
    "sigmoid": torch.sigmoid,
    "sigmoid special": torch.special.expit,
    "tanh method": lambda x: x.tanh(),
    "mish of ours": F.mish,
    "gelu_tanh of ours": F.gelu_tanh,
    "leaky_relu": lambda x: nn.functional.leaky_relu(x, 0.3),
    "elu_": lambda x: nn.functional.elu_(x, 0.5),
    "hardswish": nn.functional.hardswish,
    "logsigmoid": nn.functional.logsigmoid,
    "softplus": lambda x: nn.functional.softplus(x, beta=2),
    "rrelu": lambda x: nn.functional.rrelu(x, training=True),
    "prelu": lambda x: torch.prelu(x, torch.full((6,), 0.2)),
    "serlu": F.serlu,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    torch.manual_seed(0)
    model, x = Calls(FUNCTIONS[name]), torch.randn(5, 4)
    function = name.split(" ")[0].rstrip("_")
    with ActivationMonitor(model, every=1, window=1) as monitor:
        result = model(x)
        monitor.update()
        report = monitor.compute()
    assert list(report.layers) == [function]
    if function != "rrelu":
        assert report.layers[function].mean == pytest.approx(result.mean().item(), rel=1e-5)


class NewGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Swish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(x.sigmoid()) if not x.requires_grad else x * x.sigmoid()


class HardMish(nn.Module):  # as timm has it
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (x + 2).clamp(min=0, max=2)


class Bounded(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clamp(-5, 5))


class Gated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        return a * nn.functional.silu(b)


class OwnBackward(torch.autograd.Function):
    """Without a rule for forward mode."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp_min(0).tanh()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * (x > 0) * (1 - x.tanh() ** 2)


class Custom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return OwnBackward.apply(torch.relu(x))  # type: ignore[no-any-return, no-untyped-call]


@pytest.mark.parametrize("make", [NewGELU, Swish, HardMish, Custom])
def test_modules_of_several_functions(make: type[nn.Module]) -> None:
    """One layer with the slope of the whole."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 6), make()), torch.randn(50, 4)
    hidden = model[0](x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(model[1](hidden).sum(), hidden)
    with ActivationMonitor(model, every=1, window=1, saturated_below=0.3) as monitor:
        model(x)
        monitor.update()
        report = monitor.compute()
    assert not report.skipped
    layer = report.layers["1"]
    assert (layer.function, len(layer.units)) == (make.__name__, 6)
    assert layer.saturated == pytest.approx((slope.abs() < 0.3).double().mean().item())


def test_a_gate_is_its_function() -> None:
    model = nn.Sequential(nn.Linear(4, 6), Gated())
    assert layers(model, torch.randn(5, 4)) == {"1.silu": ("silu", 3)}


def test_bounds_of_a_layer_are_no_activation() -> None:
    assert layers(nn.Sequential(Bounded(4, 4), nn.ReLU()), torch.randn(5, 4)) == {"1": ("ReLU", 4)}


@pytest.mark.parametrize("library", [nn, ours], ids=["torch", "ours"])
def test_a_slope_for_each_channel(library: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 6), library.PReLU(6))
    assert layers(model, torch.randn(5, 4)) == {"1": ("PReLU", 6)}


def test_transformer_encoder_layer() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    assert layers(model, torch.randn(3, 5, 8)) == {"relu": ("relu", 16)}


def test_units_by_the_module_before() -> None:
    """Channels behind convolutions, features behind linear layers, in any number of dimensions."""
    sequence = nn.Sequential(nn.Conv1d(3, 7, 3), nn.BatchNorm1d(7), nn.ReLU())
    assert layers(sequence, torch.randn(2, 3, 9)) == {"2": ("ReLU", 7)}
    channels_last = nn.Sequential(nn.Linear(3, 7), nn.GELU())
    assert layers(channels_last, torch.randn(2, 5, 5, 3)) == {"1": ("GELU", 7)}
    picture = nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU())
    assert layers(picture, torch.randn(2, 3, 9, 9)) == {"1": ("ReLU", 7)}


def _transformers(kind: str, config: str, **sizes: Any) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    model: nn.Module = getattr(transformers, kind)(getattr(transformers, config)(**sizes))
    return model.train()


def test_gpt2() -> None:
    model = _transformers("GPT2LMHeadModel", "GPT2Config", n_embd=8, n_layer=2, n_head=2)
    assert layers(model, input_ids=torch.randint(100, (2, 6))) == {
        f"transformer.h.{i}.mlp.act": ("NewGELUActivation", 32) for i in range(2)
    }


def test_llama() -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "vocab_size": 100}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    model = _transformers("LlamaForCausalLM", "LlamaConfig", **sizes, **heads)
    found = layers(model, input_ids=torch.randint(100, (2, 6)))
    assert [(name, units) for name, (_, units) in found.items()] == [
        (f"model.layers.{i}.mlp.act_fn", 12) for i in range(2)
    ]


def test_bert() -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2}
    model = _transformers("BertModel", "BertConfig", num_attention_heads=2, **sizes)
    found = layers(model, input_ids=torch.randint(100, (2, 6)))
    assert [name for name in found if "intermediate" in name] == [
        f"encoder.layer.{i}.intermediate.intermediate_act_fn" for i in range(2)
    ]
    assert found["pooler.activation"] == ("Tanh", 8)


def test_seeing_nothing_is_no_clean_bill_of_health() -> None:
    model = nn.Linear(3, 3)
    with ActivationMonitor(model, every=1) as monitor:
        model(torch.randn(2, 3)).sum().backward()
        monitor.update()
        assert "none was seen" in monitor.summary()
    with ActivationMonitor(nn.ReLU()) as monitor:
        assert "none was seen" in monitor.summary()

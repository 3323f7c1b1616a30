"""Activations by name, and quick_gelu, which only names lead to."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import activations_ext
from activations_ext import functional as F
from activations_ext import nn
from helpers import DTYPES, sample

TRANSFORMERS = {
    *("gelu", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "gelu_python_tanh"),
    *("gelu_accurate", "hardswish", "leaky_relu", "linear", "mish", "quick_gelu", "relu", "relu2"),
    *("relu6", "sigmoid", "silu", "swish", "tanh", "prelu"),
}


@pytest.mark.parametrize("name", sorted(TRANSFORMERS))
def test_names_of_transformers(name: str) -> None:
    activations = pytest.importorskip("transformers.activations")
    x = sample(300).clamp(-6, 6)
    ours, theirs = activations_ext.get(name), activations.ACT2FN[name]
    torch.testing.assert_close(ours(x), theirs(x), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("hard_swish", nn.Hardswish),
        ("hard_sigmoid", nn.Hardsigmoid),
        ("LeakyReLU", nn.LeakyReLU),
        ("squared_relu", nn.SquaredReLU),
        ("log-softmax", nn.LogSoftmax),
        ("SwiGLU", nn.SwiGLU),
        ("identity", torch.nn.Identity),
    ],
)
def test_other_spellings(name: str, kind: type) -> None:
    assert isinstance(activations_ext.get(name), kind)


def test_options() -> None:
    assert activations_ext.get("leaky_relu", negative_slope=0.3).negative_slope == 0.3
    assert activations_ext.get("elu", 0.5).alpha == 0.5
    assert activations_ext.get("gelu_new").approximate == "tanh"


def test_errors() -> None:
    with pytest.raises(KeyError, match=r"for instance .*gelu"):
        activations_ext.get("gelo")
    with pytest.raises(KeyError, match="softsign"):
        activations_ext.get("zzzz")
    with pytest.raises(TypeError, match="'name' to be a string, but got int"):
        activations_ext.get(3)  # type: ignore[arg-type]


@pytest.mark.each_capability
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_quick_gelu(dtype: torch.dtype) -> None:
    def formula(x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)

    x = sample(2000, dtype).clamp(-9, 9).requires_grad_()
    wide = x.detach().double().requires_grad_()
    ours, expected = F.quick_gelu(x), formula(wide)
    assert ours.dtype == dtype
    eps = torch.finfo(dtype).eps
    pairs = [
        (ours, expected),
        (torch.autograd.grad(ours.sum(), x)[0], torch.autograd.grad(expected.sum(), wide)[0]),
    ]
    for a, b in pairs:
        most = 0.51 if dtype.itemsize == 2 else 4
        assert ((a.double() - b).abs() <= most * eps * (b.abs() + 1)).all()


def test_quick_gelu_beyond_one_call() -> None:
    x = torch.randn(7, dtype=torch.float64, requires_grad=True)
    assert gradcheck(F.quick_gelu, x, check_forward_ad=True)
    assert gradgradcheck(F.quick_gelu, x)
    assert F.quick_gelu(torch.tensor([math.nan, -math.inf])).isnan().all()
    assert F.quick_gelu(torch.tensor(math.inf)) == math.inf
    assert F.quick_gelu(torch.empty(0)).shape == (0,)
    assert F.quick_gelu(x.detach().t()).shape == (7,)
    torch.testing.assert_close(torch.func.vmap(F.quick_gelu)(x), F.quick_gelu(x))

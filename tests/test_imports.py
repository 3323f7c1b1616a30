"""Programs whose text says ``activations_ext.nn`` where it said ``torch.nn``."""

from __future__ import annotations

import importlib
import sys

import activations_ext.nn.functional
import activations_ext.nn.init as init
import activations_ext.nn.modules.activation as activation
import activations_ext.nn.utils.rnn as rnn
import pytest
import torch
from activations_ext.nn.attention.bias import CausalBias
from activations_ext.nn.parameter import Parameter
from activations_ext.nn.utils import clip_grad_norm_, parametrize

import activations_ext
import activations_ext.functional
from helpers import run_python


def test_modules_of_torch_are_torchs() -> None:
    assert activations_ext.nn.functional is activations_ext.functional
    assert sys.modules["activations_ext.nn.functional"] is activations_ext.functional
    assert clip_grad_norm_ is torch.nn.utils.clip_grad_norm_
    assert parametrize is torch.nn.utils.parametrize
    assert rnn is torch.nn.utils.rnn
    assert init is torch.nn.init
    assert Parameter is torch.nn.Parameter
    assert activation is torch.nn.modules.activation
    assert CausalBias is torch.nn.attention.bias.CausalBias
    assert torch.nn.utils.rnn.__name__ == "torch.nn.utils.rnn"
    assert torch.nn.utils.rnn.__spec__.name == "torch.nn.utils.rnn"  # type: ignore[union-attr]
    assert importlib.reload(torch.nn.utils.rnn) is torch.nn.utils.rnn


@pytest.mark.parametrize("name", ["missing", "functional.missing", "utils.missing"])
def test_what_neither_has(name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=f"activations_ext.nn.{name}"):
        importlib.import_module(f"activations_ext.nn.{name}")


@pytest.mark.slow
def test_everything_by_a_star() -> None:
    code = """
from activations_ext.nn import *
from activations_ext.nn.functional import *
import torch, activations_ext
assert relu is activations_ext.functional.relu
assert linear is torch.nn.functional.linear
assert Linear is torch.nn.Linear and Module is torch.nn.Module
assert ReLU is activations_ext.nn.ReLU and CrossEntropyLoss is activations_ext.nn.CrossEntropyLoss
print(Sequential(Linear(2, 2), ReLU()))
"""
    assert "ReLU()" in run_python(code)


@pytest.mark.slow
def test_the_first_import_may_be_of_any_of_them() -> None:
    """In a process where torch has loaded nothing yet."""
    for first in ("nn.functional", "nn.utils.parametrizations", "nn.attention.flex_attention"):
        code = f"import activations_ext.{first} as m; print(m.__name__)"
        expected = "activations_ext.functional" if first == "nn.functional" else f"torch.{first}"
        assert run_python(code).strip() == expected

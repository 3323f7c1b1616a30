"""What leaves this package holds torch's operators and modules, and runs without it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from activations_ext import functional as F
from activations_ext import nn
from activations_ext.export import keep_operators, to_torch_
from helpers import run_python, sample

NAMES = [
    name
    for name in nn.OWN
    if isinstance(getattr(nn, name), type)
    and not any(part in name for part in ("Loss", "Softmax2d", "GLU", "Gated"))  # test_gated.py
]
OURS = {name for name in NAMES if not hasattr(torch.nn, name)}


def module(library: Any, name: str) -> torch.nn.Module:
    arguments = {"Threshold": (0.1, 2.0), "Softmax": (1,), "Softmin": (1,), "LogSoftmax": (1,)}
    arguments |= {"MixtureDensityHead": (4, 1, 2)}
    made: torch.nn.Module = getattr(library, name)(*arguments.get(name, ()))
    return made.eval()


def network(library: Any = nn) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 8),
        *(module(library, name) for name in NAMES if name not in OURS),
        torch.nn.Linear(8, 3),
    ).eval()


class Loss(torch.nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        likely = F.binary_cross_entropy_with_logits(x, x.sigmoid())
        return F.cross_entropy(x, t, label_smoothing=0.1) + F.logsumexp(x, 1).sum() + likely


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.slow
def test_export(strict: bool, tmp_path: Path) -> None:
    x = sample(20).view(5, 4)
    program = torch.export.export(network(), (x,), strict=strict)
    assert "activations_ext" not in str(program.graph)
    torch.testing.assert_close(program.module()(x), network(torch.nn)(x))
    loss = torch.export.export(Loss(), (x, torch.arange(5) % 4), strict=strict)
    assert "activations_ext" not in str(loss.graph)
    # It loads where the package is not.
    torch.export.save(program, tmp_path / "program.pt2")
    torch.save((x, network()(x).detach()), tmp_path / "values.pt")
    run_python(
        "import sys; sys.modules['activations_ext'] = None\n"
        "import torch\n"
        "program = torch.export.load(sys.argv[1] + '/program.pt2')\n"
        "x, y = torch.load(sys.argv[1] + '/values.pt')\n"
        "torch.testing.assert_close(program.module()(x), y)",
        str(tmp_path),
    )


def test_what_torch_lacks_is_exported_as_its_formula() -> None:
    x = sample(20).view(5, 4)
    own = torch.nn.Sequential(*(module(nn, name) for name in sorted(OURS)))
    for exported in (torch.export.export(own, (x,)).module(), torch.jit.trace(own, (x,))):
        assert not re.search(r"activations_ext(::|\.\w+\.default)", str(exported.graph))
        torch.testing.assert_close(exported(x), own(x))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"ShiftDropout"}))
def test_trace_and_script(name: str) -> None:
    ours, x = module(nn, name), sample(20).view(5, 4)
    traced = torch.jit.trace(ours, (x,))
    assert "activations_ext::" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(x), ours(x))
    scripted = torch.jit.script(torch.nn.Sequential(torch.nn.Identity(), ours))
    assert "activations_ext::" not in str(scripted.inlined_graph)
    torch.testing.assert_close(scripted(x), ours(x))


def rectified(x: Tensor) -> Tensor:
    x = F.relu(x) + F.relu_(x + 1) + F.relu6(x, inplace=False) + F.leaky_relu(x, 0.2)
    x = F.prelu(x, x[0, :1]) + F.rrelu(x, 0.1, 0.3, False) + F.elu(x, 0.5) + F.elu_(-x)
    x = F.selu(x) + F.celu(x, alpha=2.0) + F.hardtanh(x, -2.0, 2.0) + F.threshold(x, 0.1, 0.2)
    return F.serlu(x) + F.squared_relu(x)


def smooth(x: Tensor) -> Tensor:
    x = F.sigmoid(x) + F.tanh(x) + F.logsigmoid(x) + F.hardsigmoid(x) + F.softsign(x)
    x = F.tanhshrink(x) + F.softplus(x, 2.0, 10.0) + F.gelu(x) + F.gelu(x, approximate="tanh")
    x = F.gelu_tanh(x) + F.silu(x) + F.mish(x) + F.hardswish(x) + F.softshrink(x, 0.3)
    return F.hardshrink(x) + F.exp(x / 100)  # which would blow rounding up otherwise


def losses(x: Tensor) -> Tensor:
    target = torch.arange(5) % 4
    loss = F.cross_entropy(x, target, label_smoothing=0.1)
    loss = loss + F.nll_loss(F.log_softmax(x, 1), target, ignore_index=2)
    loss = loss + F.binary_cross_entropy_with_logits(x, F.softmax(x, 0))
    return loss + F.logsumexp(F.softmin(x, dim=1), 0) + F.linear(x, x).mean()


@pytest.mark.parametrize("function", [rectified, smooth, losses])
def test_functions_are_scripted_as_torchs(function: Callable[[Tensor], Tensor]) -> None:
    scripted, x = torch.jit.script(function), sample(20).view(5, 4)
    graph = str(scripted.inlined_graph)
    assert "activations_ext::" not in graph
    assert "aten::" in graph
    torch.testing.assert_close(scripted(x), function(x))


def test_the_switch_keeps_our_operators() -> None:
    x = sample(20).view(5, 4)
    with keep_operators():
        program = torch.export.export(network(), (x,))
        traced = torch.jit.trace(network(), (x,))
    for graph in (program.graph, traced.inlined_graph):
        assert "activations_ext" in str(graph)
    torch.testing.assert_close(program.module()(x), network()(x))


@pytest.mark.slow
def test_onnx() -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    program = torch.onnx.export(network(), (sample(20).view(5, 4),), dynamo=True)
    assert program is not None
    onnx.checker.check_model(program.model_proto)
    assert {node.domain for node in program.model_proto.graph.node} <= {
        "",
        "pkg.onnxscript.torch_lib",
    }


def test_old_onnx(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    names = ("ReLU", "ELU", "GELU", "SiLU", "Sigmoid", "Tanh", "Softmax", "PReLU")
    small = torch.nn.Sequential(*(module(nn, name) for name in names))
    path = tmp_path / "network.onnx"
    torch.onnx.export(small, (sample(20).view(5, 4),), path, dynamo=False)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert {node.domain for node in model.graph.node} <= {""}


def test_fuse_modules_by_way_of_torch() -> None:
    """It looks at exact types, and fuses nothing of ours; to_torch_ makes it torch's."""

    def convolution() -> torch.nn.Module:
        torch.manual_seed(0)
        parts = torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), nn.ReLU()
        return torch.nn.Sequential(*parts).eval()

    x = sample(64).view(1, 1, 8, 8)
    fused = torch.ao.quantization.fuse_modules(to_torch_(convolution()), [["0", "1", "2"]])
    assert type(fused[0]) is torch.ao.nn.intrinsic.ConvReLU2d
    torch.testing.assert_close(fused(x), convolution()(x))


def test_to_torch_keeps_what_a_module_has() -> None:
    ours = torch.nn.Sequential(nn.PReLU(3), nn.Mish(inplace=True), nn.SERLU())
    before, calls = copy.deepcopy(ours.state_dict()), []
    ours[1].register_forward_hook(lambda *_: calls.append(1))
    assert to_torch_(ours) is ours
    assert [type(part) for part in ours] == [torch.nn.PReLU, torch.nn.Mish, nn.SERLU]
    assert ours[1].inplace
    ours(sample(12).view(4, 3))
    assert calls
    torch.testing.assert_close(ours.state_dict(), before)

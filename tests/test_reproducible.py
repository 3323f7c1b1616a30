"""`reproducible`: the same bits on every instruction set, torch's included."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import activations_ext
import activations_ext.functional as F
from helpers import CASES, own_capabilities, run_python

CLASSES = 37


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Between −6 and 6. torch's own random numbers differ between instruction sets."""
    count = torch.Size(shape).numel()
    hashed = (torch.arange(1 + seed, 1 + seed + count) * 2654435761) % 2**32
    return (hashed.double() / 2**32 * 12 - 6).float().reshape(shape)


def calls() -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    for case in CASES:
        yield str(case), case
    yield "prelu", lambda x: F.prelu(x, numbers(CLASSES, seed=5).to(x.dtype))
    yield "rrelu", lambda x: F.rrelu(x, training=True)
    yield "softmax", lambda x: F.softmax(x, -1)
    yield "softmax of columns", lambda x: F.softmax(x, 0)
    yield "log_softmax", lambda x: F.log_softmax(x, -1)
    yield "logsumexp", lambda x: F.logsumexp(x, -1)
    target = torch.arange(64) * 7 % CLASSES
    target[5] = -100
    yield "cross_entropy", lambda x: F.cross_entropy(x, target)
    yield "smoothed", lambda x: F.cross_entropy(x, target, label_smoothing=0.1)
    yield "capped", lambda x: F.cross_entropy(x, target, softcap=5.0)
    weight = numbers(CLASSES).abs()
    yield "weighted", lambda x: F.cross_entropy(x, target, weight.to(x.dtype))
    share = numbers(64, CLASSES, seed=3).sigmoid().round()
    yield "scaled", lambda x: F.cross_entropy(x, target, logit_scale=0.7)
    for function in (F.kl_divergence, F.js_divergence):
        yield function.__name__, lambda x, f=function: f(x, x.detach().flip(1))
    yield (
        "focal binary",
        lambda x: F.binary_cross_entropy_with_logits(x, share.to(x.dtype), focal_gamma=1.5),
    )
    yield "binary", lambda x: F.binary_cross_entropy_with_logits(x, share.to(x.dtype))
    other = numbers(64, CLASSES, 2, seed=9)
    yield (
        "mixture",
        lambda x: F.gaussian_mixture_nll_loss(
            x, other.to(x.dtype), numbers(64, CLASSES, 2).abs().to(x.dtype), other[:, 0].to(x.dtype)
        ),
    )


def digests() -> dict[str, str]:
    """Of the values and gradients of everything, in each dtype."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for name, call in calls():
            torch.manual_seed(0)
            x = numbers(64, CLASSES).to(dtype).requires_grad_()
            y = call(x)
            (grad,) = torch.autograd.grad(y.float().sum(), x)
            bits = b"".join(t.detach().reshape(-1).view(torch.uint8).numpy() for t in (y, grad))
            found[f"{name}, {dtype}"] = hashlib.sha256(bits).hexdigest()
    return found


SHOW = "import test_reproducible; print(test_reproducible.digests())"


@pytest.mark.slow
def test_the_same_bits_on_every_instruction_set() -> None:
    """In processes of their own, because torch does not change its instruction set."""
    found = {
        capability: eval(
            run_python(SHOW, ATEN_CPU_CAPABILITY=capability, ACTIVATIONS_EXT_REPRODUCIBLE="1")
        )
        for capability in own_capabilities()
    }
    baseline = found["default"]
    for capability, of_capability in found.items():
        differ = [name for name, digest in of_capability.items() if digest != baseline[name]]
        assert not differ, f"{capability}: {differ}"


@pytest.mark.slow
@pytest.mark.skipif(len(own_capabilities()) < 2, reason="this processor has the baseline only")
def test_without_it_they_differ() -> None:
    with activations_ext.reproducible(False):
        usual = digests()
    with activations_ext.reproducible():
        reproducible = digests()
    assert sum(usual[name] != reproducible[name] for name in usual) > len(usual) / 10


def test_it_ends_where_it_began() -> None:
    before = activations_ext.cpu_capability()
    with activations_ext.reproducible():
        assert activations_ext.cpu_capability() == "DEFAULT"
        with activations_ext.reproducible(False):
            assert activations_ext.cpu_capability() == before
        assert activations_ext.cpu_capability() == "DEFAULT"
    assert activations_ext.cpu_capability() == before
    activations_ext.reproducible(True)
    assert activations_ext.cpu_capability() == "DEFAULT"
    activations_ext.reproducible(False)
    assert activations_ext.cpu_capability() == before


def test_compiled_graphs_keep_operators_whole() -> None:
    held = []

    def remember(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        held.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph

    compiled = torch.compile(lambda x: F.relu(F.softsign(x)), backend=remember)
    with activations_ext.reproducible():
        compiled(torch.ones(3))
    assert [name for name in held if "activations_ext" in name], held
    torch.compiler.reset()


def test_enable_replaces_everything() -> None:
    with activations_ext.reproducible(), activations_ext.enabled():
        assert "aten::relu" in activations_ext.replaced()
    with activations_ext.enabled(), activations_ext.reproducible():
        assert "aten::relu" in activations_ext.replaced()
    with activations_ext.enabled():
        assert "aten::relu" not in activations_ext.replaced()

"""Whether a compiled graph holds our operator or torch's function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from activations_ext import _inductor, cpu_capability
from activations_ext import functional as F
from activations_ext.compiled import FASTER, FASTER_WHOLE, Choice, holds_torchs, in_compiled_graphs
from helpers import DEFAULT_CASES, Case, assert_same_bits, gradient, run_python, sample

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks/results"


def targets(function: Callable[..., Any], *inputs: Tensor) -> str:
    """What the graph calls."""
    seen: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    torch._dynamo.reset()
    torch.compile(function, fullgraph=True, backend=backend)(*inputs)
    return " ".join(seen)


@pytest.mark.parametrize("choice", ["measured", "ours", "whole", "torchs"])
@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
@pytest.mark.compiler
def test_the_graph_holds_what_was_chosen(case: Case, choice: Choice) -> None:
    x = sample(12).view(3, 4)
    with in_compiled_graphs(choice):
        called = targets(case, x)
        ours = choice in ("ours", "whole") or (
            choice == "measured" and case.name in FASTER.get(cpu_capability(), FASTER_WHOLE)
        )
        assert ("activations_ext" in called) == ours
        torch._dynamo.reset()
        compiled = torch.compile(case, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), case(x))
        torch.testing.assert_close(gradient(compiled, x, x.cos()), gradient(case, x, x.cos()))


@pytest.mark.compiler
def test_losses_and_rows() -> None:
    x, t = sample(12).view(3, 4), torch.arange(3)
    with in_compiled_graphs("torchs"):
        assert "activations_ext" not in targets(lambda y: F.softmax(y, 1), x)
        assert "activations_ext" not in targets(F.binary_cross_entropy_with_logits, x, x.sigmoid())
    # Nothing that is compiled comes near it.
    with in_compiled_graphs("measured"):
        assert "activations_ext.row_statistics" in targets(F.cross_entropy, x, t)
        assert "rrelu_with_seed" in targets(lambda y: F.rrelu(y, training=True), x)


def test_a_gpu_gets_the_formula() -> None:
    with FakeTensorMode():
        x = torch.empty(3, device="cuda")
    with in_compiled_graphs("measured"):
        assert not holds_torchs("relu", x)
        assert holds_torchs("softmax", x)
    with in_compiled_graphs("torchs"):
        assert holds_torchs("relu", x)


def test_what_was_measured_on_cpus_is_for_cpus() -> None:
    cpu, elsewhere = torch.ones(3), torch.ones(3, device="meta")
    with in_compiled_graphs("measured"):
        assert not holds_torchs("mish", cpu)
        assert holds_torchs("mish", elsewhere)
    with in_compiled_graphs("ours"):
        assert not holds_torchs("mish", elsewhere)


def test_what_cannot_be_fused_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a formula, of float64 or with another compiler; as an operator some are faster even so."""
    names = set.union(*map(set, FASTER.values()))
    x = torch.ones(3)
    with in_compiled_graphs("measured"):
        for name in names:
            assert holds_torchs(name, x.double())
        monkeypatch.setattr(_inductor, "_compiles", lambda: False)
        for name in names:
            assert holds_torchs(name, x)
        monkeypatch.setattr(_inductor, "_installed", False)
        for name in names:
            assert holds_torchs(name, x) == (name not in FASTER_WHOLE)
            assert holds_torchs(name, x.double())


@pytest.mark.parametrize("capability", FASTER)
def test_the_default_is_what_was_measured(capability: str) -> None:
    path = RESULTS / f"compiled-{capability.lower()}.md"
    rows = [line.split(" | ") for line in path.read_text().splitlines() if " / " in line]
    chosen = {row[0].removeprefix("| ") for row in rows if row[-1].startswith("ours")}
    assert chosen == FASTER[capability]
    for name, *cells in rows:
        if name.removeprefix("| ") in FASTER_WHOLE:
            alone, chain, both, _, half, _ = (cell.split(" / ") for cell in cells)
            for _, whole, torchs in (alone, chain, both, half):
                assert float(whole) < 1.02 * float(torchs)


@pytest.mark.compiler
def test_another_choice_compiles_anew() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(F.mish, fullgraph=True, backend="aot_eager")
    x = sample(100)
    with in_compiled_graphs("ours"):
        assert_same_bits(compiled(x), F.mish(x))
    with in_compiled_graphs("torchs"):
        assert_same_bits(compiled(x), torch.nn.functional.mish(x))


@pytest.mark.slow
def test_the_environment_chooses_for_the_process() -> None:
    program = """
import torch, sys
from test_compiled_choice import targets
from activations_ext import functional as F
print("activations_ext" in targets(F.relu, torch.ones(3)))
"""
    for choice, ours in (("ours", "True"), ("torchs", "False")):
        assert run_python(program, ACTIVATIONS_EXT_COMPILED=choice).strip() == ours


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="'mine'"), in_compiled_graphs("mine"):  # type: ignore[arg-type]
        pass

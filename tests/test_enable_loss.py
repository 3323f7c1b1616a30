"""``enable()`` and torch's cross-entropy, which is ours meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import activations_ext

EVERYTHING = activations_ext.enabled(all=True)
pytestmark = pytest.mark.usefixtures("disabled_afterwards")

LOSSES: dict[str, dict[str, Any]] = {
    "usual": {},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "weight": {"weight": torch.linspace(0.5, 2, 7)},
    "smoothing": {"label_smoothing": 0.1},
    "ignored": {"ignore_index": 3},
    "all of it": {
        "weight": torch.linspace(0.5, 2, 7),
        "label_smoothing": 0.1,
        "ignore_index": 3,
        "reduction": "sum",
    },
}


@pytest.mark.parametrize("shape", [(7,), (9, 7), (3, 7, 2, 2)], ids=str)
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_cross_entropy(name: str, probabilities: bool, shape: tuple[int, ...]) -> None:
    options = dict(LOSSES[name])
    if probabilities:
        options.pop("ignore_index", None)
        target = torch.rand(shape)
    else:
        rows = shape[:1] + shape[2:] if len(shape) > 1 else ()
        target = torch.randint(7, rows)
    x = torch.randn(shape)

    def results() -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        loss = F.cross_entropy(leaf, target, **options)
        loss.sum().backward()
        assert leaf.grad is not None
        return [loss.detach(), leaf.grad]

    expected = results()
    with EVERYTHING:
        ours = results()
    torch.testing.assert_close(ours, expected, equal_nan=True)


def test_the_fused_loss_runs_in_unchanged_code() -> None:
    x, t = torch.randn(4, 7, requires_grad=True), torch.arange(4)
    with EVERYTHING:
        assert type(F.cross_entropy(x, t).grad_fn).__name__ == "CrossEntropyLossBackward"
        names = set()
        todo = [torch.nn.CrossEntropyLoss(label_smoothing=0.1)(x, t).grad_fn]
        while todo:
            node = todo.pop()
            names.add(type(node).__name__)
            todo += [n for n, _ in node.next_functions if n is not None]  # type: ignore[union-attr]
        assert "RowStatisticsBackward" in names
        # Our own function, with what it leaves to torch's, does not call itself.
        ours = activations_ext.functional.cross_entropy
        with pytest.raises(ValueError, match="batch_size"):
            ours(torch.randn(4, 7), torch.zeros(3, dtype=torch.int64))
        assert ours(torch.randn(2, 3).double(), torch.zeros(2, dtype=torch.int64)).isfinite()


@pytest.mark.parametrize(
    ("target", "options"),
    [
        (torch.tensor([0, 7]), {}),
        (torch.tensor([0, 1, 2]), {}),
        (torch.tensor([0, 1]), {"label_smoothing": 2.0}),
        (torch.tensor([0, 1]), {"weight": torch.ones(3)}),
        (torch.tensor([0.0, 1.0]), {}),
        (torch.full((2, 7), 0.5), {"ignore_index": 1}),
        (torch.tensor([0, 1]), {"reduction": "median"}),
        (torch.tensor([0, 9]), {"label_smoothing": 0.1}),
    ],
    ids=str,
)
def test_errors_of_the_loss(target: Tensor, options: dict[str, Any]) -> None:
    x = torch.randn(2, 7)
    with pytest.raises(Exception) as torchs:  # noqa: PT011 — whatever it is
        F.cross_entropy(x, target, **options)
    with EVERYTHING, pytest.raises(torchs.type):
        F.cross_entropy(x, target, **options)


@pytest.mark.compiler
def test_the_loss_compiles_before_and_after() -> None:
    x, t = torch.randn(4, 7), torch.arange(4)
    torch.compiler.reset()
    compiled = torch.compile(lambda v: F.cross_entropy(v, t, label_smoothing=0.1), fullgraph=True)
    expected = F.cross_entropy(x, t, label_smoothing=0.1)
    torch.testing.assert_close(compiled(x), expected)
    with EVERYTHING:
        torch.testing.assert_close(compiled(x), expected)
        other = torch.compile(lambda v: F.cross_entropy(v * 1, t), fullgraph=True)
        leaf = x.clone().requires_grad_()
        other(leaf).backward()
        assert leaf.grad is not None
    torch.testing.assert_close(other(x), F.cross_entropy(x, t))


def test_deterministic_mode_and_transforms_of_the_loss() -> None:
    x, t = torch.randn(4, 7), torch.arange(4)
    expected = torch.func.grad(F.cross_entropy)(x, t)
    with EVERYTHING:
        torch.testing.assert_close(torch.func.grad(F.cross_entropy)(x, t), expected)
        torch.use_deterministic_algorithms(True)
        try:
            assert F.cross_entropy(x, t).isfinite()
        finally:
            torch.use_deterministic_algorithms(False)
        leaf = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(F.cross_entropy(leaf, t), leaf, create_graph=True)
        (second,) = torch.autograd.grad(grad.square().sum(), leaf)
    torch.testing.assert_close(grad.detach(), expected)
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(F.cross_entropy(leaf, t), leaf, create_graph=True)
    torch.testing.assert_close(second, torch.autograd.grad(grad.square().sum(), leaf)[0])

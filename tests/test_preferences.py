"""The functions of docs/preferences.md against torch's operators on all logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from activations_ext import functional as F
from test_readme import run_blocks

PAGE = Path(__file__).resolve().parents[1] / "docs/preferences.md"


@pytest.fixture(name="page")
def functions_of_the_page() -> dict[str, Any]:
    names: dict[str, Any] = {"torch": torch, "F": F}
    assert run_blocks(PAGE.read_text(), names) == 1
    return names


def batch(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(rows, 6, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(11, (rows, 6))
    labels[:, :2] = -100
    return hidden, weight, labels


def by_hand(hidden: Tensor, weight: Tensor, labels: Tensor, temperature: float) -> Any:
    log_p = (hidden @ weight.t() / temperature).log_softmax(-1)
    following = labels[:, 1:]
    chosen = log_p[:, :-1].gather(-1, following.clamp(0)[..., None])[..., 0]
    none = torch.zeros_like(chosen[:, :1])
    log_prob = torch.cat([torch.where(following == -100, 0.0, chosen), none], 1)
    return log_prob, -(log_p.exp() * log_p).sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities(page: dict[str, Any], temperature: float) -> None:
    arguments = (*batch(3), temperature)
    for ours, expected in zip(
        page["log_probabilities"](*arguments), by_hand(*arguments), strict=True
    ):
        torch.testing.assert_close(ours, expected)


def test_dpo(page: dict[str, Any]) -> None:
    hidden, weight, labels = batch(4)
    log_prob, _ = page["log_probabilities"](hidden, weight, labels)
    reference = log_prob.detach() + torch.linspace(-1, 1, 24).view(4, 6)
    loss = page["dpo_loss"](log_prob, reference)
    expected, _ = by_hand(hidden, weight, labels, 1.0)
    gap = (expected - reference).sum(-1)
    expected = -(0.1 * (gap[:2] - gap[2:])).sigmoid().log().mean()
    torch.testing.assert_close(loss, expected)
    for a, b in zip(
        torch.autograd.grad(loss, (hidden, weight)),
        torch.autograd.grad(expected, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_grpo(page: dict[str, Any]) -> None:
    hidden, weight, labels = batch(4)
    kept = torch.cat([labels[:, 1:] != -100, torch.zeros(4, 1, dtype=torch.bool)], 1)
    advantage = torch.tensor([1.0, -1.0, 0.5, -0.5], dtype=torch.float64)
    log_prob, _ = page["log_probabilities"](hidden, weight, labels, 0.9)
    old = log_prob.detach() + torch.linspace(-0.5, 0.5, 24, dtype=torch.float64).view(4, 6)
    loss = page["grpo_loss"](log_prob, old, advantage, kept)
    losses = []
    expected, _ = by_hand(hidden, weight, labels, 0.9)
    for i, t in kept.nonzero().tolist():
        ratio = (expected[i, t] - old[i, t]).exp()
        losses.append(-min(ratio * advantage[i], ratio.clamp(0.8, 1.2) * advantage[i]))
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    (grad,) = torch.autograd.grad(loss, hidden)
    (exact,) = torch.autograd.grad(torch.stack(losses).mean(), hidden)
    torch.testing.assert_close(grad, exact)


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_prompts_have_no_part_in_anything(reduction: str) -> None:
    """They are dropped before the product: 0·NaN would be NaN."""
    hidden, weight, labels = batch(3)
    with torch.no_grad():
        hidden[:, 0] = torch.nan  # what follows is ignored
    loss, log_prob = F.linear_cross_entropy(
        hidden, weight, labels, shift=1, reduction=reduction, return_log_prob=True
    )
    assert (log_prob[:, 0] == 0).all()
    grads = torch.autograd.grad(loss.sum() + log_prob.square().sum(), (hidden, weight))
    assert all(grad.isfinite().all() for grad in grads)

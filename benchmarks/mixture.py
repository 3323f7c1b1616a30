"""Times the loss of mixture density networks against torch.distributions, eager and compiled, and
writes mixture-<instruction set>.md.

python -m benchmarks.mixture [--seconds 4] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, distributions

from activations_ext import functional as F
from benchmarks import tables
from benchmarks.memory import peak_of
from benchmarks.timing import Contender, copy_contender, interleaved

SHAPES = ((65_536, 8, 4), (65_536, 3, 1), (4096, 32, 16), (128, 3, 1))
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def ours(logits: Tensor, mean: Tensor, scale: Tensor, target: Tensor) -> Tensor:
    loss: Tensor = F.gaussian_mixture_nll_loss(logits, mean, scale, target, scale_by="exp")
    return loss


def torchs(logits: Tensor, mean: Tensor, scale: Tensor, target: Tensor) -> Tensor:
    normal = distributions.Independent(distributions.Normal(mean, scale.exp()), 1)
    mixture = distributions.MixtureSameFamily(distributions.Categorical(logits=logits), normal)
    loss: Tensor = -mixture.log_prob(target).mean()
    return loss


def formula(logits: Tensor, mean: Tensor, scale: Tensor, target: Tensor) -> Tensor:
    """The same without torch.distributions' checks, as one writes it by hand."""
    z = (target.unsqueeze(-2) - mean) * (-scale).exp()
    joint = logits - (0.5 * z * z + scale).sum(-1)
    loss = logits.logsumexp(-1) - joint.logsumexp(-1)
    return loss.mean() + 0.918938533204672742 * target.shape[-1]


LOSSES: dict[str, Callable[[], Loss]] = {
    "ours": lambda: ours,
    "torch.distributions": lambda: torchs,
    "formula": lambda: formula,
    "formula, torch.compile": lambda: torch.compile(formula),
}


def rows(shape: tuple[int, int, int], seconds: float) -> list[str]:
    batch, components, dimensions = shape
    inputs = (
        torch.randn(batch, components, requires_grad=True),
        torch.randn(batch, components, dimensions, requires_grad=True),
        torch.randn(batch, components, dimensions, requires_grad=True),
    )
    target = torch.randn(batch, dimensions)
    torch.compiler.reset()
    losses = {name: make() for name, make in LOSSES.items()}

    def forward(loss: Loss) -> Callable[[], object]:
        logits, mean, scale = (part.detach() for part in inputs)
        return lambda: loss(logits, mean, scale, target)

    def both(loss: Loss) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(*inputs, target), inputs)

    moved = sum(part.nbytes for part in (*inputs, target))
    lines = []
    for kind, step, passes in (("forward", forward, 1), ("both", both, 3)):
        times = interleaved(
            {name: Contender(step(loss)) for name, loss in losses.items()}
            | {"copy": copy_contender(passes * moved)},
            seconds,
        )
        memory = [f"{peak_of(step(loss)) / 1e6:.0f}" for loss in losses.values()]
        cells = [f"{1e3 * time:.3f}" for time in times.values()]
        ratio = times["torch.distributions"] / times["ours"]
        strongest = min(times[name] for name in losses if name != "ours") / times["ours"]
        lines.append(
            f"| {batch} × {components} × {dimensions} | {kind} | {' | '.join(cells)} | "
            f"{ratio:.1f} | {strongest:.1f} | {' / '.join(memory)} |"
        )
    return lines


def table(seconds: float) -> str:
    names = [*LOSSES, "copy"]
    lines = [
        "# The loss of mixture density networks, float32\n",
        f"{tables.machine()}. Milliseconds, medians, taken in turn; batch × components ×",
        "dimensions, scales by exp. Copy: one of as many bytes as have to be moved. ×: times",
        "torch.distributions' and the strongest opponent's time, to ours. MB: the most that the",
        "process had more than before, in the order of the columns.\n",
        f"| | | {' | '.join(names)} | × | × strongest | MB |",
        f"| --- | --- |{' ---: |' * (len(names) + 3)}",
    ]
    for shape in SHAPES:
        lines += rows(shape, seconds)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.write("mixture", table, seconds=4.0, description=__doc__ or "")

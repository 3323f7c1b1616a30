"""Times a step of direct preference optimisation, from hidden states to their gradient, against
torch's operators on all logits, and writes preferences-<instruction set>.md.

python -m benchmarks.preferences [--seconds 20] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from activations_ext import functional as F
from benchmarks import tables
from benchmarks.memory import peak_of
from benchmarks.timing import Contender, interleaved

PAIRS, LENGTH, FEATURES, CLASSES = 2, 512, 256, 32_000
BETA = 0.1
LogProb = Callable[[Tensor, Tensor, Tensor], Tensor]


def chunked(budget: int) -> LogProb:
    def log_prob(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        result: Tensor = F.linear_cross_entropy(
            hidden,
            weight,
            labels,
            shift=1,
            reduction="none",
            return_log_prob=True,
            memory_budget=budget,
        )[1]
        return result

    return log_prob


def by_log_softmax(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    logits, chosen = (hidden @ weight.t())[:, :-1], labels[:, 1:, None]
    return logits.log_softmax(-1).gather(-1, chosen)[..., 0]


def by_logsumexp(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """As TRL does in float32."""
    logits, chosen = (hidden @ weight.t())[:, :-1], labels[:, 1:, None]
    return logits.gather(-1, chosen)[..., 0] - logits.logsumexp(-1)


WAYS: dict[str, Callable[[], LogProb]] = {
    "ours, chunks of 32 MiB": lambda: chunked(2**25),
    "ours, one chunk": lambda: chunked(2**29),
    "log_softmax, gather": lambda: by_log_softmax,
    "gather, logsumexp": lambda: by_logsumexp,
    "gather, logsumexp, torch.compile": lambda: torch.compile(by_logsumexp),
}


def table(seconds: float) -> str:
    torch.manual_seed(0)
    hidden = torch.randn(2 * PAIRS, LENGTH, FEATURES, requires_grad=True)
    weight = torch.randn(CLASSES, FEATURES).mul_(FEATURES**-0.5).requires_grad_()
    labels = torch.randint(CLASSES, (2 * PAIRS, LENGTH))

    def step(log_prob: LogProb) -> Callable[[], object]:
        def run() -> object:
            policy = log_prob(hidden, weight, labels).sum(-1)
            with torch.no_grad():
                reference = log_prob(hidden, weight, labels).sum(-1)
            chosen, rejected = (policy - reference).chunk(2)
            loss = -torch.nn.functional.logsigmoid(BETA * (chosen - rejected)).mean()
            return torch.autograd.grad(loss, (hidden, weight))

        return run

    steps = {name: step(make()) for name, make in WAYS.items()}
    times = interleaved({name: Contender(run) for name, run in steps.items()}, seconds)
    ours = times["ours, one chunk"]
    lines = [
        "# A step of direct preference optimisation\n",
        f"{tables.machine()}. {2 * PAIRS} × {LENGTH} tokens, {FEATURES} features, {CLASSES:,} "
        "classes, float32: log-probabilities of the policy and of a reference, the loss, and the "
        "gradients of hidden states and weight. Medians; ×: the time to that of ours in one chunk. "
        "MB: the most that the process had more than before.\n",
        "| | ms | × | MB |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, run in steps.items():
        milliseconds, megabytes = 1e3 * times[name], peak_of(run) / 1e6
        lines.append(
            f"| {name} | {milliseconds:.0f} | {times[name] / ours:.2f} | {megabytes:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.write("preferences", table, seconds=20.0, description=__doc__ or "")

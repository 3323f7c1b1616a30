"""Times everything on a GPU against torch, the peers that are installed, and a copy of the bytes.

    python -m benchmarks.cuda [--seconds 420] [--groups rows,losses] [--out DIR] [--device cuda]

Writes cuda.json and the table cuda.md after every line, with the card, the driver and torch; and
cuda.png. What a GPU's
half hour must answer comes first: losses, the linear loss, rows, small calls, then each activation,
until the time is up. `--device cpu` tries the program itself where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from activations_ext import functional as F
from benchmarks.cuda_report import Row, draw, line, table, verdicts
from benchmarks.speed import ROOT, SUBJECTS, Problem, bytes_moved, parse_size
from benchmarks.targets import BACKWARD, FORWARD
from benchmarks.timing import Contender, copy_contender

AT_ONCE = 20
"""Runs that are queued behind a busy GPU and timed together: none waits for Python."""
# A default device is a mode that looks at every call: tensors are made under it, and timed without.
SMALL = 4096
"""Elements of a tensor whose time is the call's."""


@dataclass(frozen=True)
class Setup:
    device: str
    rounds: int
    scale: int
    """Divides the shapes, to try the program on a CPU."""

    def size(self, count: int) -> int:
        return max(count // self.scale, 4)


def seconds_of(
    contenders: Mapping[str, Contender], setup: Setup, at_once: int = AT_ONCE
) -> dict[str, float]:
    """The median time of one run on the device, interleaved. A contender that fails has none."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    failed: set[str] = set()
    for turn in range(setup.rounds + 2):
        for name, contender in contenders.items():
            if name in failed:
                continue
            try:
                once = _on_gpu(contender, at_once) if setup.device == "cuda" else contender.turn(1)
            except Exception as error:  # a peer's, which is no reason to stop
                print(f"  {name}: {type(error).__name__}: {error}", file=sys.stderr)
                failed.add(name)
                continue
            if turn >= 2:  # warm
                times[name].append(once)
    return {name: statistics.median(each) for name, each in times.items() if each}


def _on_gpu(contender: Contender, at_once: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(8_000_000)  # some four milliseconds, in which the runs are queued
    start.record()
    for _ in range(at_once):
        contender.run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / at_once


def calls_a_second(contenders: Mapping[str, Contender], setup: Setup) -> dict[str, float]:
    """Python's time; the GPU is synchronised only once."""
    count = 300 if setup.device == "cuda" else 20
    wait = torch.cuda.synchronize if setup.device == "cuda" else lambda: None
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(setup.rounds):
        for name, contender in contenders.items():
            contender.run()
            wait()
            start = perf_counter()
            for _ in range(count):
                contender.run()
            wait()
            rates[name].append(count / (perf_counter() - start))
    return {name: statistics.median(each) for name, each in rates.items()}


def row(group: str, name: str, dtype: torch.dtype, shape: object, seconds: dict[str, float]) -> Row:
    return {
        "group": group,
        "name": name,
        "dtype": str(dtype).removeprefix("torch."),
        "shape": shape,
        "seconds": seconds,
        "times_faster_than": {
            other: seconds[other] / seconds["ours"]
            for other in seconds
            if other != "ours" and "ours" in seconds
        },
    }


# --- losses -------------------------------------------------------------------------------------

LOSSES = ((4096, 32_000), (8192, 128_256), (512, 50_257), (65_536, 10))


def peers_of_cross_entropy() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Those that are installed."""
    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
    try:
        from liger_kernel.transformers.functional import liger_cross_entropy

        found["liger-kernel"] = liger_cross_entropy
    except Exception as missing:
        print(f"  no liger-kernel: {missing}", file=sys.stderr)
    try:
        from quack.cross_entropy import cross_entropy

        found["quack"] = lambda logits, target: cross_entropy(logits, target).mean()
    except Exception as missing:
        print(f"  no quack-kernels: {missing}", file=sys.stderr)
    return found


def forward_and_backward(function: Callable[..., Any], logits: Tensor, target: Tensor) -> Contender:
    leaf = logits.detach().clone().requires_grad_()

    def run() -> None:
        function(leaf, target).backward()
        leaf.grad = None  # no contender keeps memory that another may need

    return Contender(run)


def losses(setup: Setup) -> Iterator[Row]:
    compiled = torch.compile(torch.nn.functional.cross_entropy)
    functions: dict[str, Callable[..., Any]] = {
        "ours": F.cross_entropy,
        "torch": torch.nn.functional.cross_entropy,
        "torch.compile": compiled,
        **peers_of_cross_entropy(),
    }
    for count, classes in LOSSES:
        for dtype in (torch.bfloat16, torch.float32):
            shape = (setup.size(count), setup.size(classes))
            with torch.device(setup.device):
                logits = torch.randn(shape, dtype=dtype)
                target = torch.randint(shape[1], shape[:1])
                contenders = {
                    name: forward_and_backward(function, logits, target)
                    for name, function in functions.items()
                }
                # Forward reads the logits; backward reads and writes.
                contenders["copy"] = copy_contender(3 * logits.numel() * dtype.itemsize)
            yield row("losses", "cross_entropy", dtype, shape, seconds_of(contenders, setup))
            del logits, contenders


def peers_of_linear() -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """Those that are installed, and torch with the logits in memory."""
    found: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "torch": lambda hidden, weight, target: torch.nn.functional.cross_entropy(
            hidden @ weight.t(), target
        )
    }
    try:
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

        found["liger-kernel"] = lambda *given: liger_fused_linear_cross_entropy(*given)
    except Exception as missing:
        print(f"  no liger-kernel: {missing}", file=sys.stderr)
    try:
        from cut_cross_entropy import linear_cross_entropy

        found["cut-cross-entropy"] = linear_cross_entropy
    except Exception as missing:
        print(f"  no cut-cross-entropy: {missing}", file=sys.stderr)
    return found


def linear(setup: Setup) -> Iterator[Row]:
    """Beside its three matrix products."""
    dtype = torch.bfloat16
    count, features, classes = (setup.size(n) for n in (8192, 4096, 128_256))
    part = min(count, 1024)
    with torch.device(setup.device):
        hidden = torch.randn(count, features, dtype=dtype, requires_grad=True)
        weight = (torch.randn(classes, features, dtype=dtype) / features**0.5).requires_grad_()
        target = torch.randint(classes, (count,))
        logits = torch.empty(part, classes, dtype=dtype)

    def of(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Contender:
        def run() -> None:
            function(hidden, weight, target).backward()
            hidden.grad = weight.grad = None

        return Contender(run)

    @torch.no_grad()
    def products() -> None:
        for start in range(0, count, part):
            rows = hidden[start : start + part]
            torch.mm(rows, weight.t(), out=logits[: len(rows)])
            torch.mm(logits[: len(rows)], weight)
            torch.mm(logits[: len(rows)].t(), rows)

    functions = {"ours": F.linear_cross_entropy, **peers_of_linear()}
    contenders = {name: of(function) for name, function in functions.items()}
    contenders["three products"] = Contender(products)
    few = Setup(setup.device, max(setup.rounds // 2, 1), setup.scale)
    seconds = seconds_of(contenders, few, at_once=2)
    yield row("linear", "linear_cross_entropy", dtype, (count, features, classes), seconds)


# --- rows and activations -----------------------------------------------------------------------

ROWS = ((4096, 32_000), (8192, 128_256), (65_536, 1000), (1_000_000, 10))


def rows(setup: Setup) -> Iterator[Row]:
    for count, classes in ROWS:
        for dtype in (torch.bfloat16, torch.float32):
            for name in ("softmax", "log_softmax"):
                shape = (setup.size(count), setup.size(classes) if classes > 1000 else classes)
                with torch.device(setup.device):
                    x = torch.randn(shape, dtype=dtype)
                    grad = torch.randn(shape, dtype=dtype)
                moved = x.numel() * dtype.itemsize
                for mode in (FORWARD, BACKWARD):
                    contenders = {
                        who: pass_of(getattr(functions, name), x, grad, mode)
                        for who, functions in (("ours", F), ("torch", torch.nn.functional))
                    }
                    with torch.device(setup.device):
                        contenders["copy"] = copy_contender(moved * (2 if mode == FORWARD else 3))
                    seconds = seconds_of(contenders, setup)
                    yield row("rows", f"{name}, {mode}", dtype, shape, seconds)


def pass_of(function: Callable[..., Tensor], x: Tensor, grad: Tensor, mode: str) -> Contender:
    if mode == FORWARD:
        detached = x.detach()
        return Contender(lambda: function(detached, 1))
    leaf = x.detach().requires_grad_()
    result = function(leaf, 1)
    return Contender(lambda: torch.autograd.grad(result, leaf, grad, retain_graph=True))


def small_calls(setup: Setup) -> Iterator[Row]:
    for subject in SUBJECTS:
        for mode in (FORWARD, BACKWARD):
            with torch.set_grad_enabled(mode == BACKWARD):
                with torch.device(setup.device):
                    problem = Problem(subject, SMALL, torch.float32)
                    contenders = {
                        "ours": problem.contender(subject.ours, mode),
                        "torch": problem.contender(subject.torchs, mode),
                    }
                rates = calls_a_second(contenders, setup)
            seconds = {name: 1 / rate for name, rate in rates.items()}
            yield row("small calls", f"{subject.name}, {mode}", torch.float32, SMALL, seconds)


def activations(setup: Setup, size: int = 2**26) -> Iterator[Row]:
    count = setup.size(size)
    for dtype in (torch.bfloat16, torch.float32):
        for subject in SUBJECTS:
            with torch.device(setup.device):
                problem = Problem(subject, count, dtype)
            for mode in (FORWARD, BACKWARD):
                with torch.set_grad_enabled(mode == BACKWARD):
                    with torch.device(setup.device):
                        contenders = {
                            "ours": problem.contender(subject.ours, mode),
                            "torch": problem.contender(subject.torchs, mode),
                            "copy": copy_contender(bytes_moved(mode, count, dtype.itemsize)),
                        }
                    seconds = seconds_of(contenders, setup)
                yield row("activations", f"{subject.name}, {mode}", dtype, count, seconds)


GROUPS: dict[str, Callable[[Setup], Iterator[Row]]] = {
    "losses": losses,
    "linear": linear,
    "rows": rows,
    "small calls": small_calls,
    "activations": activations,
}


def machine(device: str) -> dict[str, str]:
    facts = {"torch": torch.__version__, "cuda": str(torch.version.cuda)}
    if device == "cuda":
        facts["card"] = torch.cuda.get_device_name()
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            driver = subprocess.run(query, capture_output=True, text=True)
            facts["driver"] = driver.stdout.strip() or "unknown"
        except OSError:
            facts["driver"] = "unknown"
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=420, help="after which nothing is begun")
    parser.add_argument("--groups", type=lambda t: t.split(","), default=list(GROUPS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=parse_size, default=1, help="divides every size")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/cuda")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    setup = Setup(options.device, options.rounds, options.scale)
    facts, found, start = machine(options.device), [], perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    for one in (one for group in options.groups for one in GROUPS[group](setup)):
        found.append({**one, "met": verdicts(one)})
        print(line(one), flush=True)
        text = json.dumps({**facts, "rows": found}, indent=1)
        (options.out / "cuda.json").write_text(text + "\n")
        (options.out / "cuda.md").write_text(table(facts, found))
        if perf_counter() - start > options.seconds:
            break
    draw(found, options.out / "cuda.png", facts.get("card", "no GPU"))
    missed = sum(not all(one["met"].values()) for one in found)
    print(f"{len(found)} measured, {missed} below their targets")


if __name__ == "__main__":
    main()

"""The command line: ``python -m activations_ext run | info | check | bench``."""

from __future__ import annotations

import argparse
import platform
import runpy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import activations_ext
from activations_ext import _C
from activations_ext.registry import ACTIVATIONS, Activation, by_name
from activations_ext.replacement import FASTER

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


def run(options: argparse.Namespace) -> int:
    """Run a program with torch's kernels replaced."""
    program = options.program[0]
    sys.argv = options.program
    activations_ext.enable(all=options.all)
    if options.module:
        sys.path.insert(0, "")
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(program).resolve().parent))
        runpy.run_path(program, run_name="__main__")
    return 0


def info(_: argparse.Namespace) -> int:
    """What a report of a bug needs."""
    capability = activations_ext.cpu_capability()
    default = FASTER.get(capability, ())
    lines = {
        "activations_ext": f"{activations_ext.__version__}, built for torch {_C.built_for}",
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda or 'none'}",
        "python": f"{platform.python_version()} on {platform.platform()}",
        "processor": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "instruction set": f"{capability} of {', '.join(_C.supported_capabilities())}",
        "devices": ", ".join(_C.devices()),
        "enable() replaces": ", ".join(default) or "nothing on this instruction set",
        "with all=True also": ", ".join(n for n in _C.replaceable() if n not in default),
    }
    for name, text in lines.items():
        print(f"{name + ':':20} {text}")
    return 0


def check(_: argparse.Namespace) -> int:
    """Compare every function, every dtype, with torch in float64, and enable() with torch."""
    failed = 0

    def line(name: str, right: bool) -> None:
        nonlocal failed
        failed += not right
        print(f"{name:45} {'ok' if right else 'WRONG'}")

    for activation in ACTIVATIONS:
        line(activation.name, all(_is_right(activation, dtype) for dtype in set(DTYPES.values())))
    for dtype in (torch.float32, torch.bfloat16):
        line(f"cross_entropy, {dtype}", _loss_is_right(dtype))
    x = torch.randn(1000)
    for all_of_them in (False, True):
        with activations_ext.enabled(all=all_of_them):
            for name in ("tanh", "gelu", "silu", "elu", "mish", "softplus"):
                ours = getattr(torch.nn.functional, name)(x)
                exact = getattr(torch.nn.functional, name)(x.double())
                line(
                    f"enable({'all=True' if all_of_them else ''}): {name}",
                    torch.allclose(ours.double(), exact, rtol=1e-5, atol=1e-6),
                )
    line("disable()", activations_ext.replaced() == ())
    print(f"{failed} wrong" if failed else "all is well")
    return min(failed, 1)


def _is_right(activation: Activation, dtype: torch.dtype) -> bool:
    x = (torch.randn(4099) * 4).to(dtype).requires_grad_()
    wide = x.detach().double().requires_grad_()
    parameters = tuple(activation.defaults.values())
    y = activation.function(x, *parameters)
    exact = activation.reference(wide, *parameters)
    (grad,) = torch.autograd.grad(y.sum(), x)
    (slope,) = torch.autograd.grad(exact.sum(), wide)
    # torch's own slope of hardsigmoid has a 1/6 of float32, in float64 too.
    allowed = max(32 * torch.finfo(dtype).eps, 1e-7)
    exact = exact.to(dtype).double()  # which may be infinite
    # Next to a kink the parameters' rounding decides.
    finite = exact.isfinite()
    off = (grad.double() - slope).abs() > allowed * (1 + slope.abs())
    far_off = (off & finite).sum()
    close = torch.allclose(y.double(), exact, rtol=allowed, atol=allowed)
    return bool(close and far_off <= 4)


def _loss_is_right(dtype: torch.dtype) -> bool:
    x = torch.randn(64, 1009).to(dtype).requires_grad_()
    target = torch.arange(64) * 15
    loss = activations_ext.functional.cross_entropy(x, target, label_smoothing=0.1)
    wide = x.detach().double().requires_grad_()
    exact = torch.nn.functional.cross_entropy(wide, target, label_smoothing=0.1)
    (grad,) = torch.autograd.grad(loss, x)
    (right,) = torch.autograd.grad(exact, wide)
    off = torch.finfo(dtype).eps
    return bool(
        (loss.double() - exact).abs() < 4 * off * exact
        and ((grad.double() - right).abs() <= 4 * off * (right.abs() + 1e-3)).all()
    )


def bench(options: argparse.Namespace) -> int:
    """Time one function on a shape of the user's, beside torch's."""
    shape = tuple(int(size) for size in options.shape.lower().split("x"))
    x = torch.randn(shape).to(DTYPES[options.dtype])
    if options.op in ("softmax", "log_softmax"):
        ours: Callable[[Tensor], Tensor] = lambda v: getattr(  # noqa: E731
            activations_ext.functional, options.op
        )(v, -1)
        torchs: Callable[[Tensor], Tensor] = lambda v: getattr(  # noqa: E731
            torch.nn.functional, options.op
        )(v, -1)
    else:
        row = by_name(options.op)
        parameters = tuple(row.defaults.values())
        ours = lambda v: row.function(v, *parameters)  # noqa: E731
        torchs = lambda v: row.reference(v, *parameters)  # noqa: E731
    print(
        f"{options.op}, {options.shape}, {options.dtype}, {activations_ext.cpu_capability()}, "
        f"{torch.get_num_threads()} threads"
    )
    for backward in (False, True):
        mine, theirs = _medians((ours, torchs), x, backward, options.seconds)
        name = "forward and backward" if backward else "forward"
        print(
            f"{name:22} {1e3 * mine:10.4f} ms, torch {1e3 * theirs:10.4f} ms: "
            f"{theirs / mine:.2f} times as fast"
        )
    return 0


def _medians(
    functions: tuple[Callable[[Tensor], Tensor], ...], x: Tensor, backward: bool, seconds: float
) -> list[float]:
    """Seconds of each, taken in turn."""
    x = x.detach().requires_grad_(backward)
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 7:
        for function, samples in zip(functions, times, strict=True):
            start = time.perf_counter()
            y = function(x)
            if backward:
                torch.autograd.grad(y, x, torch.ones_like(y))
            samples.append(time.perf_counter() - start)
    return [statistics.median(samples[2:]) for samples in times]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m activations_ext")
    commands = parser.add_subparsers(required=True)

    def command(function: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        made = commands.add_parser(
            function.__name__, help=function.__doc__, description=function.__doc__
        )
        made.set_defaults(command=function)
        return made

    runner = command(run)
    runner.add_argument("--all", action="store_true", help="what was not measured faster, too")
    runner.add_argument("-m", dest="module", action="store_true", help="program is a module")
    runner.add_argument("program", nargs=argparse.REMAINDER, help="and its own arguments")
    command(info)
    command(check)
    bencher = command(bench)
    names = [*(row.name for row in ACTIVATIONS), "softmax", "log_softmax"]
    bencher.add_argument("--op", choices=names, default="gelu")
    bencher.add_argument("--shape", default="4096x4096")
    bencher.add_argument("--dtype", choices=DTYPES, default="float32")
    bencher.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    options = parser.parse_args()
    if options.command is run and not options.program:
        runner.error("expected a program")
    result: int = options.command(options)
    return result


if __name__ == "__main__":
    raise SystemExit(main())

"""Times cross-entropy of a split vocabulary in processes that talk through gloo: ours, torch's
loss_parallel, and one process with all classes on as many threads; with the most memory of a rank.

python -m benchmarks.distributed [--seconds 3] [--out DIR]
"""

from __future__ import annotations

import os
import socket
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as reference
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import loss_parallel
from torch.multiprocessing.spawn import spawn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from activations_ext import distributed
from activations_ext import functional as F
from benchmarks import tables

RANKS = 2
SHAPES = ((8192, 1000), (1024, 32_000), (1024, 128_256))


def status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


class Exchanged(TorchDispatchMode):
    """Counts the bytes of the tensors that collectives are given, by any way."""

    bytes: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # its own operators come here next
        if func.namespace in ("c10d", "_c10d_functional") and "wait" not in func.__name__:
            self.bytes += sum(t.nbytes for t in tree_leaves(args) if isinstance(t, Tensor))
        return func(*args, **(kwargs or {}))


def exchanged(step: Callable[[], None]) -> float:
    """KiB."""
    with Exchanged() as mode:
        step()
    return float(mode.bytes) / 1024


def measured(step: Callable[[], None], seconds: float) -> tuple[float, float]:
    """Milliseconds of a step, which all ranks begin together, and MiB at most beside what was there
    before."""
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    step()
    times: list[float] = []
    while sum(times) < seconds:
        dist.barrier()
        start = perf_counter()
        step()
        longest = torch.tensor(perf_counter() - start)
        dist.all_reduce(longest, dist.ReduceOp.MAX)
        times.append(longest.item())
    return 1e3 * statistics.median(times), (status("VmHWM") - before) / 1024


def _rank(rank: int, port: int, seconds: float, path: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,))
    lines = []
    for count, classes in SHAPES:
        torch.manual_seed(0)
        target, n = torch.randint(classes, (count,)), classes // RANKS
        mine = torch.randn(count, n, requires_grad=True)
        sharded = DTensor.from_local(mine.detach(), mesh, [Shard(1)]).requires_grad_()
        targets = distribute_tensor(target, mesh, [Replicate()])

        def ours(mine=mine, target=target, start=rank * n, size=classes) -> None:  # type: ignore[no-untyped-def]
            distributed.cross_entropy(mine, target, vocab_start=start, vocab_size=size).backward()
            mine.grad = None

        def torchs(sharded=sharded, targets=targets) -> None:  # type: ignore[no-untyped-def]
            with loss_parallel():
                reference.cross_entropy(sharded, targets).backward()
            sharded.grad = None

        steps = (ours, torchs)
        results = [(*measured(step, seconds), exchanged(step)) for step in steps]
        cells = [f"{time:.1f} | {memory:.0f} | {sent:.0f}" for time, memory, sent in results]
        cells.append(f"{results[1][0] / results[0][0]:.2f}")
        lines.append(f"| {count} × {classes} | {' | '.join(cells)}")
    if rank == 0:
        Path(path).write_text("\n".join(lines))
    dist.barrier()
    os._exit(0)  # gloo's threads abort some processes that end otherwise


def alone(seconds: float) -> list[str]:
    """One process with all classes and as many threads."""
    torch.set_num_threads(RANKS)
    cells = []
    for count, classes in SHAPES:
        logits = torch.randn(count, classes, requires_grad=True)
        target = torch.randint(classes, (count,))
        times = [0.0]
        while sum(times) < seconds:
            start = perf_counter()
            F.cross_entropy(logits, target).backward()
            times.append(perf_counter() - start)
            logits.grad = None
        cells.append(f"{1e3 * statistics.median(times[2:]):.1f}")
    return cells


def table(seconds: float) -> str:
    with socket.socket() as free, tempfile.NamedTemporaryFile() as file:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        spawn(_rank, (port, seconds, file.name), nprocs=RANKS)
        lines = Path(file.name).read_text().splitlines()
    columns = "ours | MiB | KiB sent | loss_parallel | MiB | KiB sent | loss_parallel / ours"
    return "\n".join(
        [
            "# Cross-entropy of a split vocabulary",
            "",
            f"{tables.machine()}. {RANKS} ranks of one thread each, gloo on one machine,",
            "float32, forward and backward: milliseconds of the slower rank (median), and the most",
            "memory of rank 0 beside the logits. Sent: the bytes given to collectives in a step.",
            "Last, one process with all classes on as many threads.",
            "",
            f"| logits | {columns} | one process, ours |",
            "| --- |" + " ---: |" * 8,
            *(f"{line} | {cell} |" for line, cell in zip(lines, alone(seconds), strict=True)),
            "",
        ]
    )


if __name__ == "__main__":
    tables.keep_pages()
    tables.write("distributed", table, seconds=3.0, description=__doc__ or "")

"""The cross-entropies of a split vocabulary, in processes of their own, against one process."""

from __future__ import annotations

import itertools
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from activations_ext import functional as F

CLASSES, FEATURES = 37, 6

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not dist.is_available(), reason="torch was built without it"),
]


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def targets(*shape: int) -> Tensor:
    target = torch.arange(torch.Size(shape).numel()).view(shape) * 5 % CLASSES
    target.view(-1)[2] = -100
    return target


def bounds(rank: int, world: int) -> tuple[int, int]:
    """Shares of different sizes; with four ranks, one of them has no class."""
    cuts = {2: (0, 11, CLASSES), 4: (0, 11, 11, 30, CLASSES)}[world]
    return cuts[rank], cuts[rank + 1]


def close(ours: Tensor, expected: Tensor, what: object) -> None:
    eps = torch.finfo(ours.dtype).eps
    torch.testing.assert_close(
        ours, expected.to(ours.dtype), rtol=16 * eps, atol=16 * eps, msg=lambda m: f"{what}: {m}"
    )


OPTIONS: list[dict[str, Any]] = [
    dict(zip(("label_smoothing", "z_loss", "softcap", "focal_gamma"), values, strict=True))
    for values in itertools.product((0.0, 0.1), (0.0, 0.01), (0.0, 3.0), (0.0, 2.0))
]
OPTIONS += [{"logit_scale": 0.6}, {"logit_scale": 1.7, "softcap": 3.0, "z_loss": 0.01}]


def logits_agree(share: slice, world: int) -> None:
    from activations_ext import distributed

    weight = numbers(CLASSES, seed=1).abs()
    for dtype, options, reduction, weighted in itertools.product(
        (torch.float32, torch.float64, torch.bfloat16),
        OPTIONS,
        ("none", "sum", "mean"),
        (False, True),
    ):
        if dtype == torch.bfloat16 and world == 4:
            continue
        x, target = (numbers(9, CLASSES, dtype=dtype) * 3), targets(9)
        whole, mine = x.clone().requires_grad_(), x[:, share].clone().requires_grad_()
        given = weight.to(dtype) if weighted else None
        expected = F.cross_entropy(whole, target, given, reduction=reduction, **options)
        ours = distributed.cross_entropy(mine, target, given, reduction=reduction, **options)
        close(ours, expected, options)
        grad = torch.rand_like(expected)
        close(
            torch.autograd.grad(ours, mine, grad)[0],
            torch.autograd.grad(expected, whole, grad)[0][:, share],
            options,
        )


def what_is_returned_agrees(share: slice, world: int) -> None:
    from activations_ext import distributed

    options: dict[str, Any] = dict.fromkeys(
        ("return_lse", "return_log_prob", "return_entropy"), True
    )
    x, target = numbers(2, CLASSES, 3, 4, dtype=torch.float64), targets(2, 3, 4)
    x[0, :, 1, 1] = -torch.inf
    x[0, 3, 1, 1] = 0  # of which one rank alone has something
    x[1, :, 0] = -1e4
    x[1, 20, 0] = -1e3
    whole, mine = x.clone().requires_grad_(), x[:, share].clone().requires_grad_()
    expected = F.cross_entropy(whole, target, token_weight=target.double(), **options)
    ours = distributed.cross_entropy(mine, target, token_weight=target.double(), **options)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b)
    total, total_expected = (sum(n.sum() for n in r[1:]) for r in (ours, expected))
    torch.testing.assert_close(
        torch.autograd.grad(total, mine)[0], torch.autograd.grad(total_expected, whole)[0][:, share]
    )
    one = distributed.cross_entropy(x[0, share, 0, 0], target[0, 0, 0])
    torch.testing.assert_close(one, F.cross_entropy(x[0, :, 0, 0], target[0, 0, 0]))


def linear_agrees(share: slice, world: int) -> None:
    from activations_ext import distributed

    for dtype, options, reduction, budget in itertools.product(
        (torch.float32, torch.float64, torch.float16),
        OPTIONS[::3],
        ("sum", "mean"),
        (1, 400, 2**28),
    ):
        parts = [
            numbers(11, FEATURES, dtype=dtype),
            numbers(CLASSES, FEATURES, dtype=dtype, seed=1),
            numbers(CLASSES, dtype=dtype, seed=2),
        ]
        h, w, b = (part.clone().requires_grad_() for part in parts)
        mine = [parts[0].clone(), parts[1][share].clone(), parts[2][share].clone()]
        own_h, own_w, own_b = (part.requires_grad_() for part in mine)
        target, token_weight = targets(11), numbers(11, seed=3).abs()
        expected = F.linear_cross_entropy(
            h, w, target, linear_bias=b, reduction=reduction, token_weight=token_weight, **options
        )
        ours = distributed.linear_cross_entropy(
            own_h,
            own_w,
            target,
            linear_bias=own_b,
            reduction=reduction,
            token_weight=token_weight,
            memory_budget=budget,
            **options,
        )
        close(ours, expected, options)
        (ours * 3).backward()
        (expected * 3).backward()
        for own, whole in ((own_h, h.grad), (own_w, w.grad[share]), (own_b, b.grad[share])):  # type: ignore[index]
            assert own.grad is not None
            assert whole is not None
            close(own.grad, whole, (dtype, options, reduction, budget))


def errors_are_raised(share: slice, world: int) -> None:
    from activations_ext import distributed

    x, target = numbers(5, CLASSES)[:, share], targets(5)
    h, w = numbers(5, FEATURES), numbers(CLASSES, FEATURES)[share]
    wrong = target.clone()
    wrong[3] = CLASSES
    for call in (
        lambda t: distributed.cross_entropy(x, t),
        lambda t: distributed.linear_cross_entropy(h, w, t),
    ):
        with pytest.raises(IndexError, match=r"from 0 to 36.*got 37 at position \[3\]"):
            call(wrong)
        with pytest.raises(ValueError, match="'target' to have classes of shape"):
            call(target[:4])
    with pytest.raises(ValueError, match="'vocab_start' and 'vocab_size'"):
        distributed.cross_entropy(x, target, vocab_start=1, vocab_size=share.stop - share.start)
    with pytest.raises(ValueError, match="'reduction' of 'mean' or 'sum'"):
        distributed.linear_cross_entropy(h, w, target, reduction="none")
    with pytest.raises(ValueError, match="'focal_gamma'"):
        distributed.cross_entropy(x, target, focal_gamma=-1)
    loss = distributed.linear_cross_entropy(h.requires_grad_(), w, target)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="used up by the first backward"):
        loss.backward()


def nothing_is_gathered(share: slice, world: int) -> None:
    """Two all-reduces of a few numbers a row; one of the hidden states' size."""
    from torch.distributed.tensor import Shard, distribute_tensor

    from activations_ext import distributed
    from benchmarks.distributed import Exchanged

    sent: list[int] = []
    all_reduce = dist.all_reduce

    def counted(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        sent.append(tensor.numel())
        return all_reduce(tensor, *args, **kwargs)

    dist.all_reduce = counted
    try:
        known: dict[str, int] = {"vocab_start": share.start, "vocab_size": CLASSES}
        x, target = numbers(9, CLASSES)[:, share].requires_grad_(), targets(9)
        distributed.cross_entropy(x, target, **known).backward()
        assert sent == [9, 18], sent
        sent.clear()
        h, w = numbers(9, FEATURES).requires_grad_(), numbers(CLASSES, FEATURES)[share]
        distributed.linear_cross_entropy(h, w, target, **known).backward()
        assert sent == [9, 18, 9 * FEATURES], sent
        with Exchanged() as by_any_way:
            distributed.cross_entropy(x, target, **known).backward()
        assert by_any_way.bytes == 4 * 27
        mesh = dist.init_device_mesh("cpu", (world,))
        split = distribute_tensor(numbers(9, CLASSES), mesh, [Shard(1)]).requires_grad_()
        with Exchanged() as by_any_way:
            F.cross_entropy(split, target).backward()
        assert by_any_way.bytes == 4 * 27
    finally:
        dist.all_reduce = all_reduce


def a_batch_over_ranks_has_its_mean(share: slice, world: int) -> None:
    """Rows split over the ranks instead: with ``num_items`` the gradients are the whole batch's."""
    from activations_ext import distributed

    x, target = numbers(8, CLASSES, dtype=torch.float64), targets(8)
    whole = x.clone().requires_grad_()
    F.cross_entropy(whole, target).backward()
    rows = slice(dist.get_rank() * 8 // world, (dist.get_rank() + 1) * 8 // world)
    mine = x[rows].clone().requires_grad_()
    items = distributed.count_items(target[rows])
    assert items == 7
    F.cross_entropy(mine, target[rows], num_items=items).backward()
    assert mine.grad is not None
    assert whole.grad is not None
    torch.testing.assert_close(mine.grad, whole.grad[rows])
    mesh = dist.init_device_mesh("cpu", (world,))
    assert distributed.count_items(target, shift=3, group=mesh) == 5 * world


DTENSOR_OPTIONS: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.1, "softcap": 3.0, "z_loss": 0.1},
    {"focal_gamma": 2.0, "logit_scale": 0.6, "num_items": 5},
    {"weight": numbers(CLASSES, seed=1).abs(), "token_weight": numbers(9, seed=3).abs()},
    {"reduction": "none", "return_entropy": True, "return_log_prob": True, "return_lse": True},
]


def dtensors_agree(share: slice, world: int) -> None:
    """Logits, and the weight that makes them, whose classes are split over a mesh: eager, in one
    compiled graph, and beside another dimension of the mesh. torch splits them, not ``share``."""
    from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

    sizes = (world,) if world == 2 else (2, 2)
    mesh = dist.init_device_mesh("cpu", sizes)
    copies = [Replicate()] * (len(sizes) - 1)
    parts = [numbers(9, FEATURES), numbers(CLASSES, FEATURES, seed=1), numbers(CLASSES, seed=2)]
    target, x = targets(9), numbers(9, CLASSES)

    def of_logits(logits: Tensor, target: Tensor, **options: Any) -> Any:
        return F.cross_entropy(logits, target, **options)

    def of_parts(h: Tensor, w: Tensor, b: Tensor, target: Tensor, **options: Any) -> Any:
        return F.linear_cross_entropy(h, w, target, linear_bias=b, **options)

    for function, whole, places in (
        (of_logits, [x], [Shard(1)]),
        (of_parts, parts, [Replicate(), Shard(0), Shard(0)]),
    ):
        for options, compiled in itertools.product(DTENSOR_OPTIONS, (False, True)):
            leaves = [part.clone().requires_grad_() for part in whole]
            split = [
                distribute_tensor(part, mesh, [*copies, place]).requires_grad_()
                for part, place in zip(whole, places, strict=True)
            ]
            ours = function
            if compiled:
                torch._dynamo.reset()
                ours = torch.compile(function, fullgraph=True, backend="aot_eager")
            results = [f(*v, target, **options) for f, v in ((function, leaves), (ours, split))]
            expected, got = (r if isinstance(r, tuple) else (r,) for r in results)
            for a, b in zip(got, expected, strict=True):
                assert isinstance(a, DTensor)
                close(a.full_tensor(), b, (options, compiled))
            for a, b, place in zip(
                torch.autograd.grad(sum(one.sum() for one in got), split),
                torch.autograd.grad(sum(one.sum() for one in expected), leaves),
                places,
                strict=True,
            ):
                close(a.full_tensor(), b, (options, compiled))  # type: ignore[attr-defined]
                assert place.is_replicate() or a.placements[-1] == place  # type: ignore[attr-defined]


def shares_compile(share: slice, world: int) -> None:
    """One graph. A wrong target cannot raise there: the loss is NaN."""
    from activations_ext import distributed

    def function(logits: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = distributed.cross_entropy(
            logits, target, vocab_start=share.start, vocab_size=CLASSES, label_smoothing=0.1
        )
        return loss

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    mine, target = numbers(9, CLASSES)[:, share].requires_grad_(), targets(9)
    losses = [f(mine, target) for f in (function, compiled)]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, mine)[0] for loss in losses))
    target[0] = CLASSES
    assert compiled(mine, target).isnan()


CHECKS: tuple[Callable[[slice, int], None], ...] = (
    logits_agree,
    what_is_returned_agrees,
    linear_agrees,
    errors_are_raised,
    nothing_is_gathered,
    a_batch_over_ranks_has_its_mean,
    dtensors_agree,
    shares_compile,
)


def _rank(rank: int, world: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    share = slice(*bounds(rank, world))
    for check in CHECKS:
        try:
            check(share, world)
            result = "agrees"
        except BaseException:
            result = traceback.format_exc()
        Path(folder, f"{check.__name__}-{rank}").write_text(result)
        if result != "agrees":
            break  # the others may wait for this rank
    else:
        dist.barrier()
    os._exit(0)  # gloo's threads abort some processes that end otherwise


@pytest.fixture(scope="module", params=[2, 4])
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, Path]:
    world, folder = request.param, tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.spawn(
        _rank, (world, port, str(folder)), nprocs=world, join=False
    )
    for process in context.processes:
        process.join(timeout=300)
        if process.is_alive():
            process.kill()
    return world, folder


@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
def test_in_processes(check: str, results: tuple[int, Path]) -> None:
    world, folder = results
    written = [folder / f"{check}-{rank}" for rank in range(world)]
    said = [path.read_text() if path.exists() else "did not come so far" for path in written]
    assert said == ["agrees"] * world, "\n".join(said)

"""On a GPU: streams, graphs, devices, alignment and sizes that no CPU test sees.

The same tests as on the CPU run there by `pytest --device cuda`.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import activations_ext
from activations_ext import _C, nn
from activations_ext import functional as F
from helpers import DEFAULT_CASES, Case, ulp_errors

BUILT = "cuda" in _C.devices()
with_gpu = pytest.mark.skipif(
    not (BUILT and torch.cuda.is_available()), reason="no GPU, or built without CUDA"
)


@pytest.mark.skipif(not BUILT, reason="built without CUDA")
def test_a_cuda_build_takes_cuda_tensors() -> None:
    """Seen on tensors without memory, which need no GPU."""
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(4, 3, device="cuda")
        assert F.mish(x).device.type == "cuda"
        assert F.prelu(x, torch.empty(3, device="cuda")).shape == (4, 3)
        assert F.softmax(x, 1).shape == (4, 3)
        mean = x.unsqueeze(-1)
        assert F.gaussian_mixture_nll_loss(x, mean, mean, x[:, :1]).shape == ()


@pytest.mark.skipif(BUILT, reason="built with CUDA")
def test_without_cuda_there_are_no_cuda_kernels() -> None:
    assert _C.devices() == ["cpu"]


@with_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
def test_values_and_gradients_at_every_start(case: Case, dtype: torch.dtype) -> None:
    """Against float64, from every place within 16 bytes, with a tail."""
    eps = torch.finfo(dtype).eps
    for start in range(4):
        memory = torch.randn(start + 1003, dtype=dtype, device="cuda").mul_(3)
        x = memory[start:].detach().requires_grad_()
        exact = x.detach().double().requires_grad_()
        result, expected = case.rounded(dtype)(x), case.rounded(dtype).reference(exact)
        grad = torch.randn_like(result)
        result.backward(grad)
        expected.backward(grad.double())
        torch.testing.assert_close(result.double(), expected, rtol=2 * eps, atol=eps / 8)
        assert x.grad is not None
        assert exact.grad is not None
        torch.testing.assert_close(x.grad.double(), exact.grad, rtol=4 * eps, atol=16 * eps)


@with_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_every_kind_of_kernel(dtype: torch.dtype) -> None:
    """Each once, on sizes and starts that take every way through it, for compute-sanitizer."""
    memory = torch.randn(2001, dtype=dtype, device="cuda")
    table = torch.randn(24, 48, dtype=dtype, device="cuda")
    for x in (memory, memory[1:], table.chunk(2, -1)[0], table.t()[::2], table[:1].expand(5, -1)):
        leaf = x.detach().requires_grad_()
        result = F.gelu(leaf)
        result.backward(memory[: result.numel()].view(result.shape))
        torch.testing.assert_close(leaf.grad.isnan().any().item(), False)
        F.rrelu(leaf, training=True).sum().backward()
    F.relu(memory.clone()[3:], inplace=True)
    for shape in ((30, 17, 9), (100, 30), (2, 5, 3001)):
        x = torch.randn(shape, dtype=dtype, device="cuda", requires_grad=True)
        weight = torch.rand(shape[1], dtype=dtype, device="cuda", requires_grad=True)
        F.prelu(x, weight).sum().backward()
    for rows, classes in ((300, 10), (70, 40), (9, 500), (5, 3001), (3, 9001), (2, 20_000)):
        logits = torch.randn(rows, classes, dtype=dtype, device="cuda", requires_grad=True)
        target = torch.randint(classes, (rows,), device="cuda")
        for reduction in ("none", "sum", "mean"):
            F.cross_entropy(logits, target, reduction=reduction).sum().backward()
        F.cross_entropy(logits, target, label_smoothing=0.1, softcap=5.0).backward()
        F.cross_entropy(logits, torch.softmax(logits.detach(), 1)).backward()
        for function in (F.softmax, F.log_softmax):
            function(logits, 1).sum().backward()
            function(logits, 0).sum().backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
    F.cross_entropy(
        torch.randn(6000, 3, dtype=dtype, device="cuda"), torch.zeros(6000, device="cuda").long()
    )
    x = torch.randn(33, 7, dtype=dtype, device="cuda", requires_grad=True)
    F.gaussian_mixture_nll_loss(x, x[..., None], x[..., None].exp(), x[:, :1].detach()).backward()


@with_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
def test_every_pattern_of_16_bits(case: Case, dtype: torch.dtype) -> None:
    """Against float64: the nearest number or its neighbour."""
    x = torch.arange(-(2**15), 2**15, device="cuda").to(torch.int16).view(dtype)
    exact = case.rounded(dtype).reference(x.double())
    smallest = torch.finfo(dtype).smallest_normal
    # torch's gelu and tanhshrink lose every digit of float64 where terms cancel.
    slack = smallest + torch.finfo(torch.float64).eps * (1 + x.double().abs())
    errors = ulp_errors(case(x), exact, slack)
    assert errors.max() <= 1, f"{errors.max():.3g} ULP at {x[errors.argmax()]}"


@with_gpu
def test_launches_of_cross_entropy() -> None:
    """Four at most, forward and backward."""
    logits = torch.randn(64, 1000, device="cuda", requires_grad=True)
    target = torch.randint(1000, (64,), device="cuda")
    one = torch.ones((), device="cuda")
    F.cross_entropy(logits, target).backward(one)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        torch.autograd.grad(F.cross_entropy(logits, target), logits, one)
        torch.cuda.synchronize()
    kernels = [e for e in profile.events() if "activations_ext" in e.name or "kernel" in e.name]
    assert 0 < len(kernels) <= 4, [event.name for event in kernels]


@with_gpu
def test_replayed_graphs_tell_of_a_wrong_target_when_asked() -> None:
    logits = torch.randn(8, 10, device="cuda")
    target = torch.zeros(8, dtype=torch.long, device="cuda")
    F.cross_entropy(logits, target)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        F.cross_entropy(logits, target)
    target[2] = 99
    graph.replay()
    with pytest.raises(IndexError, match="got 99 in row 2"):
        activations_ext.check_targets()
    activations_ext.check_targets("cuda")  # told once


@with_gpu
def test_a_target_elsewhere_is_refused() -> None:
    """The CPU's kernel once read what the device's pointer says."""
    logits, target = torch.randn(8, 10), torch.zeros(8, dtype=torch.long)
    for x, t in ((logits, target.cuda()), (logits.cuda(), target)):
        with pytest.raises(RuntimeError):
            F.cross_entropy(x, t)


@with_gpu
def test_nothing_waits_for_the_gpu() -> None:
    x = torch.randn(33, 7, device="cuda", requires_grad=True)
    weight = torch.rand(7, device="cuda", requires_grad=True)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for result in (
            F.mish(x),
            F.prelu(x, weight),
            F.rrelu(x, training=True),
            F.shift_dropout(x),
            F.gaussian_mixture_nll_loss(x, x[..., None], x[..., None].exp(), x[:, :1].detach()),
        ):
            result.sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@with_gpu
def test_a_graph_captures_them() -> None:
    """And draws other random numbers at each replay."""
    x = torch.randn(2000, device="cuda")
    F.mish(F.rrelu(x, training=True))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        smooth, random = F.mish(x), F.rrelu(x, training=True)
    x.copy_(-x.abs())
    draws = []
    for _ in range(2):
        graph.replay()
        draws.append(random.clone())
    torch.testing.assert_close(smooth, torch.nn.functional.mish(x))
    assert not torch.equal(*draws)


@with_gpu
def test_the_current_stream_is_used() -> None:
    x = torch.randn(1 << 22, device="cuda")
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        y = F.elu(x.mul_(2))
    assert not stream.query()  # queued behind what sleeps
    stream.synchronize()
    torch.testing.assert_close(y, torch.nn.functional.elu(x))


@with_gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_another_device_than_the_current_one() -> None:
    x = torch.randn(1000, device="cuda:1")
    with torch.cuda.device(0):
        assert F.gelu(x).device == x.device
    with pytest.raises(RuntimeError, match="'weight' to be on the device of 'input'"):
        F.prelu(x, torch.rand(1, device="cuda:0"))


@with_gpu
def test_random_numbers_are_the_generators() -> None:
    x = -torch.ones(5000, device="cuda")
    draws = []
    for _ in range(2):
        torch.manual_seed(5)
        draws.append(F.rrelu(x, training=True))
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], F.rrelu(x, training=True))


@with_gpu
def test_the_same_seed_gives_the_cpus_numbers() -> None:
    x, seed = torch.randn(3001), torch.tensor(1234567890123)
    op = torch.ops.activations_ext.rrelu_with_seed
    on_gpu = op(x.cuda(), seed.cuda(), 0.1, 0.9)
    torch.testing.assert_close(on_gpu.cpu(), op(x.cpu(), seed.cpu(), 0.1, 0.9))
    with pytest.raises(RuntimeError, match="'seed' to be on the device of 'input'"):
        op(x.cuda(), seed.cpu(), 0.1, 0.9)


@with_gpu
@pytest.mark.parametrize("shape", [(64, 30, 17, 9), (3000, 30), (1, 30, 100_000)], ids=str)
def test_the_weights_gradient_is_the_same_every_time(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, device="cuda")
    weight = torch.rand(shape[1], device="cuda", requires_grad=True)
    grad = torch.randn_like(x)
    results: list[Tensor] = []
    for _ in range(3):
        results += torch.autograd.grad(F.prelu(x, weight), weight, grad)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    dims = [d for d in range(x.dim()) if d != 1]
    exact = (grad.double() * torch.where(x > 0, 0, x).double()).sum(dims)
    torch.testing.assert_close(results[0].double(), exact, rtol=1e-4, atol=1e-2)


@with_gpu
def test_more_than_two_billion_elements() -> None:
    count = 2**31 + 1001
    if torch.cuda.mem_get_info()[0] < 5 * count:
        pytest.skip("not enough memory")
    x = torch.full((count,), -1.0, dtype=torch.bfloat16, device="cuda")
    x[-1] = 2.0
    F.relu(x, inplace=True)
    assert x[-1] == 2
    assert x[2**31 - 2 : -1].abs().max() == 0
    assert x[:1000].abs().max() == 0


@with_gpu
def test_autocast_does_what_torchs_does() -> None:
    x = torch.randn(100, device="cuda", dtype=torch.float16)
    wide = torch.randn(10, 10, device="cuda")
    with torch.autocast("cuda", torch.float16):
        assert F.softplus(x).dtype == torch.float32
        assert F.mish(x).dtype == torch.float16
        assert nn.PReLU(10, device="cuda")(wide).dtype == torch.float16


@with_gpu
def test_strides_of_every_kind() -> None:
    x = torch.randn(6, 10, 8, 12, device="cuda")
    for view in (
        x.transpose(1, 3),
        x[:, ::2],
        x.to(memory_format=torch.channels_last),
        x[:1].expand(4, -1, -1, -1),
    ):
        torch.testing.assert_close(F.silu(view), torch.nn.functional.silu(view))
        assert F.silu(view).stride() == torch.nn.functional.silu(view).stride()
        ours = view.detach().requires_grad_()
        torchs = view.detach().requires_grad_()
        F.silu(ours).sum().backward()  # an expanded gradient
        torch.nn.functional.silu(torchs).sum().backward()
        torch.testing.assert_close(ours.grad, torchs.grad)


ROWS = [(64, 10), (33, 1000), (8, 50_257), (3, 152_064), (4, 1)]


@with_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_rows_of_every_length(shape: tuple[int, int], dtype: torch.dtype) -> None:
    eps = torch.finfo(dtype).eps
    logits = torch.randn(shape, device="cuda").to(dtype)
    target = torch.randint(shape[1], shape[:1], device="cuda")
    target[::5] = -100
    for options in ({}, {"label_smoothing": 0.1}, {"reduction": "sum"}):
        x, exact = logits.clone().requires_grad_(), logits.double().requires_grad_()
        loss = F.cross_entropy(x, target, **options)  # type: ignore[call-overload]
        expected = torch.nn.functional.cross_entropy(exact, target, **options)  # type: ignore[arg-type]
        loss.backward()
        expected.backward()
        torch.testing.assert_close(loss.double(), expected, rtol=4 * eps, atol=4 * eps)
        assert x.grad is not None
        assert exact.grad is not None
        torch.testing.assert_close(x.grad.double(), exact.grad, rtol=4 * eps, atol=eps / 100)
    for function in (F.softmax, F.log_softmax):
        torch.testing.assert_close(
            function(logits, 1).double(),
            getattr(torch.nn.functional, function.__name__)(logits.double(), 1),
            rtol=4 * eps,
            atol=4 * eps,
        )


@with_gpu
def test_a_target_that_is_no_class_is_told_and_forgotten() -> None:
    """And the device goes on, which torch's assertion would have ended."""
    logits = torch.randn(8, 10, device="cuda", requires_grad=True)
    target = torch.randint(10, (8,), device="cuda")
    target[3] = 12
    with pytest.raises(IndexError, match="got 12 in row 3"):
        F.cross_entropy(logits, target, check_targets=True)
    losses = F.cross_entropy(logits, target, reduction="none")
    torch.cuda.synchronize()
    with pytest.raises(IndexError, match="got 12 in row 3"):
        losses.sum().backward()
    losses = F.cross_entropy(logits.detach(), target, reduction="none")
    assert losses.isnan().nonzero().flatten().tolist() == [3]
    with pytest.raises(IndexError, match="got 12 in row 3"):
        F.cross_entropy(logits, target.clamp(0, 9))
    assert F.cross_entropy(logits, target.clamp(0, 9)).isfinite()


@with_gpu
def test_the_logits_become_their_gradient() -> None:
    leaf = torch.randn(100, 5001, device="cuda", requires_grad=True)
    target = torch.randint(5001, (100,), device="cuda")
    logits = leaf * 1
    F.cross_entropy(logits, target, inplace_backward=True).backward()
    expected = torch.autograd.grad(torch.nn.functional.cross_entropy(leaf, target), leaf)
    torch.testing.assert_close(leaf.grad, *expected)


@with_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(5000, 8, 4), (301, 3, 1), (40, 100, 7)], ids=str)
def test_mixtures_are_the_cpus(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    rows, components, dimensions = shape
    given = [
        torch.randn(rows, components, dtype=dtype),
        torch.randn(rows, components, dimensions, dtype=dtype),
        torch.randn(rows, components, dimensions, dtype=dtype),
    ]
    target = torch.randn(rows, dimensions, dtype=dtype)
    results = []
    for device in ("cpu", "cuda"):
        parts = [part.to(device).requires_grad_() for part in given]
        loss = F.gaussian_mixture_nll_loss(
            *parts, target.to(device), scale_by="softplus", floor=0.01, reduction="sum"
        )
        results.append([loss, *torch.autograd.grad(loss, parts)])
    for on_cpu, on_gpu in zip(*results, strict=True):
        eps = 1e-4 if dtype == torch.float32 else 10 * torch.finfo(dtype).eps
        torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=eps, atol=eps)

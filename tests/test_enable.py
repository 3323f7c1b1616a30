"""``enable()``: unchanged programs run our kernels, and notice nothing but time and rounding."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db

import activations_ext
from activations_ext import _C
from activations_ext.replacement import FASTER
from helpers import run_python, sample

EVERYTHING = activations_ext.enabled(all=True)
GROUPS = tuple(_C.replaceable())
NAMES = {
    *(f"nn.functional.{g}" for g in GROUPS),
    *(
        "nn.functional.selu",
        "nn.functional.celu",
        "nn.functional.relu6",
        "nn.functional.tanhshrink",
    ),
    *("nn.functional.cross_entropy", "nn.functional.logsigmoid", "nn.functional.softmin"),
    *("sigmoid", "tanh", "exp", "softmax", "log_softmax"),
}
OPS = [op for op in op_db if op.name in NAMES]


pytestmark = pytest.mark.usefixtures("disabled_afterwards")


def test_on_and_off() -> None:
    x = sample(1000)
    before = F.mish(x)
    assert activations_ext.replaced() == ()
    activations_ext.enable(all=True)
    assert {"aten::tanh", "aten::tanh_", "aten::tanh.out", "aten::tanh_backward"} <= set(
        activations_ext.replaced()
    )
    with EVERYTHING:
        assert torch.equal(F.mish(x), activations_ext.functional.mish(x))
    activations_ext.disable()
    assert activations_ext.replaced() == ()
    assert torch.equal(F.mish(x), before)


def test_what_was_measured_to_be_faster_is_the_default() -> None:
    for groups in FASTER.values():
        assert set(groups) <= set(GROUPS)
    activations_ext.enable()
    names = FASTER.get(activations_ext.cpu_capability(), ())
    assert activations_ext.replaced() == tuple(_C.operators_of(list(names)))
    activations_ext.enable(all=True)
    assert len(activations_ext.replaced()) == len(_C.operators_of(list(GROUPS)))


@pytest.mark.slow
def test_a_warning_is_not_given() -> None:
    code = """
import warnings
warnings.simplefilter("error")
import torch, activations_ext
activations_ext.enable(all=True)
print(torch.tanh(torch.ones(3)).sum() > 2)
"""
    assert run_python(code) == "tensor(True)\n"


def test_unknown_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="'no_such_function'"):
        _C.replace(["no_such_function"])


def test_contexts_are_nested_and_shared_by_threads() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with activations_ext.enabled(all=True):
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with activations_ext.enabled(all=True), activations_ext.enabled(all=True):
        thread.start()
        inside.wait()
    assert activations_ext.replaced() != ()  # the other thread is still inside
    activations_ext.disable()
    assert activations_ext.replaced() != ()
    leave.set()
    thread.join()
    assert activations_ext.replaced() == ()


# --- the same numbers, gradients and errors -------------------------------------------------------


def doubled(value: Any) -> Any:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return value.detach().double().requires_grad_(value.requires_grad)


def results(op: Any, dtype: torch.dtype, wide: bool = False) -> list[tuple[Tensor, ...]]:
    """Values, gradients, and what out= and in-place forms give, of all of torch's samples.

    ``wide``: of the same numbers in float64.
    """
    found = []
    for s in op.sample_inputs("cpu", dtype, requires_grad=True):
        s = s.transform(doubled) if wide else s
        leaves = [t for t in (s.input, *s.args) if isinstance(t, Tensor) and t.requires_grad]
        result = op(s.input, *s.args, **s.kwargs)
        one: list[Tensor] = [result.detach()]
        if result.requires_grad:
            torch.manual_seed(0)
            grad = torch.randn(result.shape, dtype=torch.float64).to(dtype).to(result.dtype)
            one += torch.autograd.grad(result, leaves, grad)
        plain = s.input.detach()
        if op.supports_out:
            out = torch.empty_like(result).detach()
            assert op(plain, *s.args, **s.kwargs, out=out) is out
            one.append(out)
        if op.inplace_variant is not None:
            one.append(op.inplace_variant(plain.clone(), *s.args, **s.kwargs))
        found.append(tuple(one))
    return found


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str
)
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.formatted_name)
@pytest.mark.slow
def test_torchs_own_samples(op: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    expected = results(op, dtype)
    torch.manual_seed(1)
    with EVERYTHING:
        ours = results(op, dtype)
    # In 16 bits torch rounds more than once: no further off than that.
    torch.manual_seed(1)
    exact = results(op, dtype, wide=True)
    for mine, theirs, right in zip(ours, expected, exact, strict=True):
        for o, t, e in zip(mine, theirs, right, strict=True):
            assert (o.dtype, o.shape, o.stride()) == (t.dtype, t.shape, t.stride())
            if o.dtype in (torch.float32, torch.float64):
                torch.testing.assert_close(o, t, equal_nan=True)
            elif o.numel():
                limits = torch.finfo(o.dtype)
                allowed = 4 * limits.eps * e.abs() + limits.smallest_normal
                off, off_torch = (o.double() - e).abs(), (t.double() - e).abs()
                assert not (off > torch.maximum(allowed, off_torch.nan_to_num(0).amax())).any()
                assert torch.equal(o.isnan(), t.isnan())


@pytest.mark.parametrize("op", [op for op in OPS if op.error_inputs_func], ids=lambda op: op.name)
def test_torchs_own_errors(op: Any) -> None:
    for error in op.error_inputs("cpu"):
        s = error.sample_input
        with EVERYTHING, pytest.raises(error.error_type, match=error.error_regex):
            op(s.input, *s.args, **s.kwargs)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.formatted_name)
def test_derivatives(op: Any) -> None:
    """torch's own formulas on our kernels: first and second, and forward mode."""
    with EVERYTHING:
        for s in list(op.sample_inputs("cpu", torch.float64, requires_grad=True))[:4]:
            if s.input.numel() > 100 or not op.supports_autograd:
                continue

            def function(x: Tensor, s: Any = s) -> Tensor:
                result: Tensor = op(x, *s.args, **s.kwargs)
                return result

            x = s.input.detach() * 0.9 + 0.05  # off the kinks
            x.requires_grad_()
            assert torch.autograd.gradcheck(function, x, check_forward_ad=op.supports_forward_ad)
            if op.supports_gradgrad and "prelu" not in op.name:
                assert torch.autograd.gradgradcheck(function, x)


def test_what_kernels_do_not_take_is_torchs() -> None:
    whole, x = torch.arange(-3, 4), sample(12).view(3, 4)
    with EVERYTHING:
        assert torch.equal(torch.tanh(whole), torch.tanh(whole.float()))
        assert torch.tanh(x.to(torch.complex64)).dtype == torch.complex64
        assert torch.tanh(x.to_sparse()).layout == torch.sparse_coo
        assert torch.relu(whole).dtype == torch.int64
        assert torch.softmax(x.half(), 1, dtype=torch.float32).dtype == torch.float32
        assert torch.tanh(torch.empty(3, device="meta")).is_meta
        with pytest.raises(RuntimeError, match="result type"):
            torch.arange(3).tanh_()
        expanded = torch.zeros(1).expand(3)
        with pytest.raises(RuntimeError, match="single memory location"):
            expanded.tanh_()
        out = torch.empty(2)
        with pytest.warns(UserWarning, match="resized"):
            torch.tanh(x, out=out)
        assert out.shape == x.shape
        wide = torch.empty(3, 4, dtype=torch.float64)
        torch.tanh(x, out=wide)
        torch.testing.assert_close(wide, torch.tanh(x).double())
        memory = torch.arange(5.0)
        with pytest.raises(RuntimeError, match="memory"):
            torch.tanh(memory[:4], out=memory[1:])


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda x: x.t(),
    "stepped": lambda x: x[::2, 1::3],
    "expanded": lambda x: x[:1].expand(7, -1),
    "offset": lambda x: x.flatten()[3:],
    "channels last": lambda x: x.reshape(2, 3, 8, 5).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["tanh", "gelu", "elu", "mish", "softplus", "sigmoid"])
def test_layouts(name: str, layout: str) -> None:
    function = getattr(F, name)
    x = LAYOUTS[layout](sample(240).view(12, 20))
    expected = function(x)
    with EVERYTHING:
        result = function(x)
    assert result.stride() == expected.stride()
    torch.testing.assert_close(result, expected)


# --- autograd and tools ---------------------------------------------------------------------------


def test_autograd_stays_torchs() -> None:
    with EVERYTHING:
        x = sample(10).requires_grad_()
        for name in ("tanh", "gelu", "elu", "silu", "mish", "softplus", "sigmoid", "relu"):
            node = getattr(F, name)(x).grad_fn
            assert type(node).__name__.lower() == f"{name}backward0"
        saved = F.gelu(x).grad_fn._saved_self
        assert saved is x
        y = torch.tanh(x)
        kept = y.grad_fn
        y.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
        assert kept is not None


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", dropout=0.0)
    return torch.nn.Sequential(
        layer, torch.nn.Linear(16, 16), torch.nn.Mish(), torch.nn.PReLU(5), torch.nn.Tanh()
    )


def step(model: torch.nn.Module, x: Tensor) -> list[Tensor]:
    loss = F.cross_entropy(model(x)[:, :, 0], torch.arange(4) % 5)
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


@pytest.mark.parametrize("how", ["eager", "deepcopy", "autocast", "inference", "compiled", "jit"])
@pytest.mark.compiler
def test_models(how: str) -> None:
    model, x = network(), torch.randn(4, 5, 16)
    if how == "deepcopy":
        model = copy.deepcopy(model)
    if how == "compiled":
        torch.compiler.reset()
        model = torch.compile(model, backend="aot_eager")  # type: ignore[assignment]
    if how == "jit":
        model = torch.jit.trace(model.eval(), (x,))

    def results() -> Any:
        if how == "inference":
            with torch.inference_mode():
                return model(x)
        with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
            return step(model, x)

    expected = results()
    with EVERYTHING:
        ours = results()
    again = results()
    rough = {"rtol": 3e-2, "atol": 3e-2} if how == "autocast" else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(ours, expected, **rough)
    torch.testing.assert_close(again, expected, rtol=0, atol=0)


def test_functorch_and_export() -> None:
    x = sample(12).view(3, 4)
    for function in (torch.tanh, F.gelu, F.elu, F.mish, torch.sigmoid):
        expected = [
            torch.vmap(torch.func.grad(lambda v: function(v).sum()))(x),  # noqa: B023
            torch.func.jvp(function, (x,), (torch.ones_like(x),))[1],
            torch.func.hessian(lambda v: function(v).sum())(x[0]),  # noqa: B023
        ]
        with EVERYTHING:
            ours = [
                torch.vmap(torch.func.grad(lambda v: function(v).sum()))(x),  # noqa: B023
                torch.func.jvp(function, (x,), (torch.ones_like(x),))[1],
                torch.func.hessian(lambda v: function(v).sum())(x[0]),  # noqa: B023
            ]
        torch.testing.assert_close(ours, expected)
    with EVERYTHING:
        program = torch.export.export(torch.nn.Sequential(torch.nn.GELU(), torch.nn.Tanh()), (x,))
        assert "aten.gelu" in str(program.graph)
        assert "activations_ext" not in str(program.graph)


@pytest.mark.slow
def test_forked_and_spawned_processes() -> None:
    code = """
import multiprocessing, torch, activations_ext
from torch.utils.data import DataLoader

class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return torch.tanh(torch.full((1000,), float(i)))

def child(queue):
    queue.put((len(activations_ext.replaced()), torch.tanh(torch.ones(5)).sum().item()))

if __name__ == "__main__":
    activations_ext.enable(all=True)
    torch.tanh(torch.ones(3))
    for batch in DataLoader(Rows(), batch_size=2, num_workers=2):
        assert batch.shape == (2, 1000)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    count, total = queue.get()
    process.join()
    assert count == len(activations_ext.replaced()) > 0
    print(round(total, 3))
"""
    assert run_python(code) == "3.808\n"

"""Where there is no kernel torch's own function runs: nothing is refused that torch accepts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as torch_functional
from torch import Tensor

from activations_ext import _C, nn
from activations_ext import functional as F
from activations_ext._torchs import torchs
from helpers import DEFAULT_CASES, Case, run_python, sample, torch_lacks

every_case = pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
LACKING = {case.name for case in DEFAULT_CASES if torch_lacks(case.name)}


@pytest.fixture(autouse=True)
def _prototypes() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sparse, nested and masked tensors say that they are new
        yield


def outcome(function: Callable[..., Tensor], input: Tensor, *parameters: float) -> Any:
    """The result, or the type of the error."""
    try:
        return function(input, *parameters)
    except Exception as error:
        return type(error)


def values(result: Any) -> Any:
    if isinstance(result, Tensor):
        if result.is_nested:
            return [part.detach() for part in result.unbind()]
        if result.is_quantized:
            return result.dequantize()
        if result.layout != torch.strided:
            return result.to_dense() if result.dtype != torch.bool else result
        if hasattr(result, "get_data"):
            return result.get_data()
        if hasattr(result, "full_tensor"):
            return result.full_tensor()
    return result


def same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, type):
        assert isinstance(ours, type) and issubclass(ours, theirs), (ours, theirs)  # noqa: PT018
        return
    assert type(ours) is type(theirs)
    assert (ours.dtype, ours.layout) == (theirs.dtype, theirs.layout)
    ours, theirs = values(ours), values(theirs)
    for a, b in zip(*(x if isinstance(x, list) else [x] for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)


def jagged() -> Tensor:
    return torch.nested.nested_tensor(
        [sample(6).view(2, 3), sample(9).view(3, 3)], layout=torch.jagged
    )


def masked() -> Tensor:
    from torch.masked import masked_tensor

    return masked_tensor(sample(6), torch.tensor([True, False] * 3))


STRANGE: dict[str, Callable[[], Tensor]] = {
    "int32": lambda: torch.arange(-3, 9, dtype=torch.int32),
    "int64": lambda: torch.arange(-3, 9),
    "uint8": lambda: torch.arange(9, dtype=torch.uint8),
    "bool": lambda: torch.tensor([True, False]),
    "complex64": lambda: torch.randn(5, dtype=torch.complex64),
    "float8": lambda: torch.randn(5).to(torch.float8_e4m3fn),
    "sparse COO": lambda: torch.eye(3).to_sparse(),
    "sparse CSR": lambda: torch.eye(3).to_sparse_csr(),
    "jagged": jagged,
    "nested": lambda: torch.nested.nested_tensor([sample(6).view(2, 3), sample(9).view(3, 3)]),
    "mkldnn": lambda: sample(12).view(3, 4).cpu().to_mkldnn(),
    "quantized": lambda: torch.quantize_per_tensor(sample(12).cpu(), 0.1, 3, torch.quint8),
    "masked": masked,
}


@pytest.mark.parametrize("kind", STRANGE)
@every_case
def test_what_has_no_kernel_is_torchs(case: Case, kind: str) -> None:
    """The same result, or the same type of error."""
    input = STRANGE[kind]()
    reference = case.activation.reference
    same(
        outcome(case.activation.function, input, *case.parameters),
        outcome(reference, input, *case.parameters),
    )


@pytest.mark.parametrize("kind", ["complex64", "sparse COO", "jagged", "masked"])
@pytest.mark.parametrize("name", ["tanh", "relu", "silu", "sigmoid"])
def test_its_gradient_is_torchs(name: str, kind: str) -> None:
    grads = []
    for function in (getattr(F, name), torchs(name)):
        torch.manual_seed(0)
        input = STRANGE[kind]().detach().requires_grad_()
        try:
            result = function(input)
            result.backward(torch.ones_like(result))
            grads.append(values(input.grad))
        except Exception as error:
            grads.append(type(error))
    if isinstance(grads[1], type):
        assert grads[0] is grads[1]
    else:
        for a, b in zip(*(g if isinstance(g, list) else [g] for g in grads), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["relu", "hardtanh", "tanh", "gelu", "squared_relu"])
@pytest.mark.compiler
def test_inside_compiled_graphs(name: str) -> None:
    for kind in ("int64", "complex64", "jagged"):
        input = STRANGE[kind]()
        expected = outcome(torchs(name), input)
        if isinstance(expected, type):
            continue
        torch._dynamo.reset()
        compiled = torch.compile(getattr(F, name), fullgraph=True, backend="aot_eager")
        same(compiled(input), expected)


def test_in_place_where_there_is_no_kernel() -> None:
    input = torch.arange(-3, 4)
    assert F.relu(input, inplace=True) is input
    assert input.tolist() == [0, 0, 0, 0, 1, 2, 3]
    assert F.relu_(torch.arange(-3, 4)).tolist() == input.tolist()


def test_prelu_rrelu_and_dropout() -> None:
    x, weight = jagged(), torch.tensor([0.3])
    same(outcome(F.prelu, x, weight), outcome(torch.prelu, x, weight))  # type: ignore[arg-type]
    sparse = torch.eye(3).to_sparse()
    assert outcome(F.prelu, sparse, weight) is outcome(torch.prelu, sparse, weight)  # type: ignore[arg-type]
    for kind in (x, sparse):
        parameters = (0.2, 0.2, True)
        same(
            outcome(F.rrelu, kind, *parameters),
            outcome(torch_functional.rrelu, kind, *parameters),
        )
    z = torch.randn(2000, dtype=torch.complex64)
    dropped = F.shift_dropout(z, 0.5, minimum=-1.0)
    assert 800 < int((dropped == -1).sum()) < 1200
    kept = dropped != -1
    torch.testing.assert_close(dropped[kept], -1 + (z[kept] + 1) / 0.5)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_rows(name: str) -> None:
    reference = getattr(torch, name)
    kinds = {**STRANGE, "2d": lambda: torch.arange(12).view(3, 4)}
    for kind, make in kinds.items():
        if kind == "float8":
            continue  # torch's error differs by path
        input = make()
        same(outcome(getattr(F, name), input, -1), outcome(reference, input, -1))


@pytest.mark.parametrize("name", ["gelu", "softplus", "softshrink", "hardshrink", "logsigmoid"])
def test_out(name: str) -> None:
    x, out = sample(12), torch.empty(12)
    result = getattr(F, name)(x, out=out)
    assert result is out
    torch.testing.assert_close(out, getattr(F, name)(x))


@pytest.mark.slow
@pytest.mark.skipif("cuda" in _C.devices(), reason="CUDA's kernels are there")
def test_another_device() -> None:
    """A device without our kernels: the meta tensors of a graph stand for it."""
    program = """
import torch
from torch._subclasses import FakeTensorMode
from activations_ext import functional as F
from activations_ext._call import has_kernel
with FakeTensorMode():
    x = torch.empty(3, 4, device="cuda")
    assert not has_kernel(x)
    w = torch.empty(4, device="cuda")
    for f in (F.elu, F.serlu, F.tanh, F.exp, F.gelu_tanh):
        y = f(x)
        assert y.device.type == "cuda" and y.shape == x.shape
    assert F.prelu(x, w).device.type == "cuda"
    assert F.softmax(x, 1).device.type == "cuda"
    t = torch.empty(3, dtype=torch.int64, device="cuda")
    assert F.cross_entropy(x, t).device.type == "cuda"
    assert F.cross_entropy(x, t, label_smoothing=0.1, z_loss=0.1).device.type == "cuda"
    assert F.binary_cross_entropy_with_logits(x, x.sigmoid()).device.type == "cuda"
    assert F.logsumexp(x, 1).device.type == "cuda"
print("done")
"""
    assert run_python(program).strip().endswith("done")


@pytest.mark.slow
def test_distributed_tensors() -> None:
    program = """
import torch, torch.distributed as dist
dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
from torch.distributed.tensor import DTensor, distribute_tensor, init_device_mesh, Shard
from activations_ext import functional as F
mesh = init_device_mesh("cpu", (1,))
x = distribute_tensor(torch.randn(4, 6), mesh, [Shard(0)]).requires_grad_()
for name in ("relu", "gelu", "silu", "tanh", "sigmoid"):
    y = getattr(F, name)(x)
    assert isinstance(y, DTensor), name
    torch.testing.assert_close(y.full_tensor(), getattr(F, name)(x.full_tensor()))
y = F.softmax(x, 1)
assert isinstance(y, DTensor)
y.sum().backward()
assert isinstance(x.grad, DTensor)
dist.destroy_process_group()
print("done")
"""
    assert run_python(program).strip().endswith("done")


def test_the_modules_stand_in_for_torchs() -> None:
    assert F.linear is torch_functional.linear
    assert F.dropout is torch_functional.dropout
    assert nn.Linear is torch.nn.Linear
    assert nn.Sequential is torch.nn.Sequential
    assert nn.functional is F
    assert nn.init is torch.nn.init
    for module, theirs in ((F, torch_functional), (nn, torch.nn)):
        public = {name for name in dir(theirs) if not name.startswith("_")}
        assert public <= set(dir(module))
        for name in public:
            getattr(module, name)
        with pytest.raises(AttributeError, match="nothing_of_the_kind"):
            _ = module.nothing_of_the_kind
        with pytest.raises(AttributeError, match="_private"):
            _ = module._private


@pytest.mark.slow
def test_type_checkers_know_torchs_names(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(
        "import torch\n"
        "import activations_ext.functional as F\n"
        "from activations_ext import nn\n"
        "model = nn.Sequential(nn.Linear(3, 4), nn.Mish())\n"
        "result: torch.Tensor = F.mish(F.linear(torch.ones(3), torch.ones(4, 3)))\n"
        "loss: torch.Tensor = F.cross_entropy(result, result, z_loss=1e-4, focal_gamma=2)\n"
        "F.binary_cross_entropy_with_logits(result, result, focal_gamma=2)\n"
        "nn.CrossEntropyLoss(z_loss=1e-4), nn.BCEWithLogitsLoss(focal_gamma=2)\n"
        "F.relu(result, no_argument_either=1)\n"
        "reveal_type(nn.Linear)\n"
        "nn.Linear(3, 4, no_such_argument=1)\n".replace("\\\n", "\n")
    )
    root = str(Path(__file__).resolve().parent.parent)
    checked = run_python(
        "import sys; from mypy import api; print(api.run(sys.argv[1:])[0])",
        *("--config-file", os.devnull, "--cache-dir", str(tmp_path / "cache"), str(program)),
        PYTHONPATH=root,
        MYPYPATH=root,
    )
    assert "torch.nn.modules.linear.Linear" in checked
    assert "no_such_argument" in checked
    assert "no_argument_either" in checked
    assert checked.count("error:") == 2, checked

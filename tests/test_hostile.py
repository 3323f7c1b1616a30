"""Nothing that a caller passes ends the process or reads foreign memory: arguments of operators,
of ``grad_fn``, and what hooks of saved tensors give back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from activations_ext import _C
from activations_ext import functional as F
from helpers import DEFAULT_CASES, run_python, sample

OPERATORS = torch.ops.activations_ext
seed = torch.tensor(7)


def leaf(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, dtype=dtype).requires_grad_()


def losses(rows: int, reduction: str = "none") -> Tensor:
    return F.cross_entropy(leaf(rows, 10), torch.arange(rows) % 10, reduction=reduction)


GRAPHS: dict[str, Callable[[], Tensor]] = {
    **{str(case): lambda case=case: case(leaf(64)) for case in DEFAULT_CASES},
    "prelu": lambda: F.prelu(leaf(8, 8), leaf(8)),
    "rrelu": lambda: F.rrelu(leaf(64), training=True),
    "shift_dropout": lambda: F.shift_dropout(leaf(64)),
    "softmax": lambda: F.softmax(leaf(8, 8), 1),
    "log_softmax": lambda: F.log_softmax(leaf(8, 8), 0),
    "cross_entropy, none": lambda: losses(64),
    "cross_entropy, mean": lambda: losses(64, "mean"),
    "cross_entropy, sum": lambda: losses(64, "sum"),
}
"""Results whose ``grad_fn`` is one of ours."""


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("wrong", ["shape", "dtype"])
def test_grad_fn_called_with_a_wrong_gradient(name: str, wrong: str) -> None:
    result = GRAPHS[name]()
    grad = torch.ones(3) if wrong == "shape" else torch.ones_like(result, dtype=torch.float64)
    with torch.no_grad():
        if wrong == "dtype" and name.startswith(("cross_entropy", "shift_dropout")):
            assert result.grad_fn(grad).isfinite().all()  # no other tensor's dtype has to agree
            return
        with pytest.raises(RuntimeError, match=r"'grad_output' to have the (shape|dtype).*but got"):
            result.grad_fn(grad)


def test_grad_fn_of_thousands_of_rows_called_with_one_number() -> None:
    """It was read 4096 times, one number after another."""
    with pytest.raises(RuntimeError, match=r"'grad_output'.*\[4096\].*\[1\]"):
        losses(4096).grad_fn(torch.ones(1))


LIES: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda saved: saved.t() if saved.dim() == 2 else saved[:1],
    "half": lambda saved: saved.half() if saved.is_floating_point() else saved.int(),
    "double": lambda saved: saved.double() if saved.is_floating_point() else saved.int(),
    "meta": lambda saved: saved.to("meta"),
    "empty": lambda saved: saved[:0] if saved.dim() else saved,
    "expanded": lambda saved: saved.new_zeros(()).expand(2, *saved.shape),
    "freed": lambda saved: freed(saved.clone()),
}


def freed(tensor: Tensor) -> Tensor:
    tensor.untyped_storage().resize_(0)
    return tensor


def with_hook(unpack: Callable[[int, Tensor], Tensor], make: Callable[[], Tensor]) -> Tensor:
    """The result of ``make``, whose i-th saved tensor comes back as ``unpack(i, tensor)``."""
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> int:
        saved.append(tensor.detach())
        return len(saved) - 1

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda i: unpack(i, saved[i])):
        return make()


SAVING: dict[str, Callable[[], Tensor]] = {
    "elu": lambda: F.elu(leaf(9, 5)),
    "relu": lambda: F.relu(leaf(9, 5)),
    "gelu": lambda: F.gelu(leaf(9, 5)),
    "prelu": lambda: F.prelu(leaf(9, 5), leaf(5)),
    "prelu, overwritten": lambda: F.prelu(leaf(9, 5) * 1, leaf(5)) * 1,
    "rrelu": lambda: F.rrelu(leaf(9, 5), training=True),
    "shift_dropout": lambda: F.shift_dropout(leaf(9, 5)),
    "softmax": lambda: F.softmax(leaf(9, 5), 1),
    "cross_entropy": lambda: F.cross_entropy(leaf(9, 5), torch.arange(9) % 5, reduction="none"),
    "cross_entropy, mean": lambda: F.cross_entropy(leaf(9, 5), torch.arange(9) % 5),
    "cross_entropy, more": lambda: F.cross_entropy(
        leaf(9, 5), torch.arange(9) % 5, weight=torch.rand(5), label_smoothing=0.1, z_loss=0.1
    ),
    "cross_entropy, probabilities": lambda: F.cross_entropy(leaf(9, 5), torch.rand(9, 5)),
    "logsumexp": lambda: F.logsumexp(leaf(9, 5), 1),
    "kl_divergence": lambda: F.kl_divergence(leaf(9, 5), torch.rand(9, 5), reduction="none"),
    "js_divergence": lambda: F.js_divergence(leaf(9, 5), torch.rand(9, 5), reduction="none"),
    "binary_cross_entropy_with_logits": lambda: F.binary_cross_entropy_with_logits(
        leaf(9, 5), torch.rand(9, 5)
    ),
    "gaussian_mixture_nll_loss": lambda: F.gaussian_mixture_nll_loss(
        leaf(9, 3), leaf(9, 3, 2), leaf(9, 3, 2), torch.randn(9, 2), scale_by="exp"
    ),
}

WITH_TORCHS_NODES = ("cross_entropy, more", "cross_entropy, probabilities", "logsumexp")


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("name", SAVING)
def test_hooks_that_give_back_something_else(name: str, lie: str) -> None:
    """One saved tensor after the other: it raises, or there is a gradient of some numbers."""
    if lie == "freed" and name in WITH_TORCHS_NODES:
        pytest.skip("torch's own nodes crash, as they do in a graph of torch's functions alone")
    for position in range(6):
        result = with_hook(
            lambda i, tensor, at=position: LIES[lie](tensor) if i == at else tensor, SAVING[name]
        )
        error = ""
        try:
            result.backward(torch.ones_like(result))
        except (RuntimeError, NotImplementedError, IndexError) as raised:
            error = str(raised)
        assert "INTERNAL ASSERT" not in error


def test_half_statistics_do_not_become_a_gradient() -> None:
    """They did, of NaN."""

    def half_numbers(_: int, tensor: Tensor) -> Tensor:
        return tensor.half() if tensor.shape == (4,) and tensor.is_floating_point() else tensor

    loss = with_hook(half_numbers, lambda: F.cross_entropy(leaf(4, 5), torch.arange(4)))
    with pytest.raises(RuntimeError, match=r"to be a tensor of Float of shape \[4\].*Half"):
        loss.backward()


@pytest.mark.parametrize("weight", [torch.empty(0), torch.ones(8, dtype=torch.float64)], ids=str)
def test_prelu_over_its_gradient_looks_at_the_weight(weight: Tensor) -> None:
    """An empty one was divided by."""
    result = with_hook(
        lambda _, tensor: weight if tensor.dim() == 1 else tensor,
        lambda: F.prelu(leaf(8, 8), leaf(8)) * 1,
    )
    with pytest.raises(RuntimeError, match=r"prelu.*'weight'"):
        result.sum().backward()


def meta(tensor: Tensor) -> Tensor:
    return tensor.to("meta")


x = torch.randn(6, 4)
rows = torch.zeros(6)
classes = torch.zeros(6, dtype=torch.int64)
MIXED: dict[str, Callable[[], Any]] = {
    "binary, weight": lambda: OPERATORS.binary_cross_entropy_with_logits(
        x, x, meta(x), None, 1, 0.0
    ),
    "binary, pos_weight": lambda: OPERATORS.binary_cross_entropy_with_logits(
        x, x, None, meta(x), 1, 2.0
    ),
    "binary, target": lambda: OPERATORS.binary_cross_entropy_with_logits(
        x, meta(x), None, None, 1, 0.0
    ),
    "binary, gradient": lambda: OPERATORS.binary_cross_entropy_with_logits_backward(
        meta(x), x, x, None, None, 1, 0.0
    ),
    "statistics, target": lambda: OPERATORS.row_statistics(
        x, 1, meta(classes), None, None, 0.0, -100, 0.0, 1.0, False, False, False
    ),
    "statistics, weight": lambda: OPERATORS.row_statistics(
        x, 1, None, meta(x[0]), None, 0.0, -100, 0.0, 1.0, False, False, False
    ),
    "statistics, class_weight": lambda: OPERATORS.row_statistics(
        x, 1, None, x, meta(x[0]), 0.0, -100, 0.0, 1.0, False, False, False
    ),
    **{
        f"statistics backward, {i}": lambda i=i: OPERATORS.row_statistics_backward(
            *(
                meta(argument) if i == at and isinstance(argument, Tensor) else argument
                for at, argument in enumerate(
                    (
                        *(rows, rows, rows, rows, x, 1, classes, x, x[0], 0.1, -100, 0.0, 1.0),
                        *[rows] * 3,
                    )
                )
            )
        )
        for i in (0, 1, 2, 3, 4, 6, 7, 8, 13, 14, 15)
    },
    "divergence": lambda: OPERATORS.row_divergence(x, meta(x), 1, 0, 0.0, 1.0),
    **{
        f"divergence backward, {i}": lambda i=i: OPERATORS.row_divergence_backward(
            *(meta(a) if i == at else a for at, a in enumerate((rows, x, x))),
            1,
            0,
            0.0,
            1.0,
            meta(rows.expand(5, *rows.shape)) if i == 3 else rows.expand(5, *rows.shape),
        )
        for i in range(4)
    },
    "rrelu": lambda: OPERATORS.rrelu_with_seed(x, meta(seed), 0.1, 0.3),
    "rrelu in place": lambda: OPERATORS.rrelu_with_seed_(x.clone(), meta(seed), 0.1, 0.3),
    "rrelu backward": lambda: OPERATORS.rrelu_with_seed_backward(x, x, meta(seed), 0.1, 0.3),
    "shift_dropout": lambda: OPERATORS.shift_dropout_with_seed(x, meta(seed), 0.1, 0.0),
    "shift_dropout in place": lambda: OPERATORS.shift_dropout_with_seed_(
        x.clone(), meta(seed), 0.1, 0.0
    ),
    "prelu": lambda: OPERATORS.prelu(x, meta(x[0])),
    "prelu backward": lambda: OPERATORS.prelu_backward(meta(x), x, x[0]),
    "softmax backward": lambda: OPERATORS.softmax_backward(x, meta(x), 1),
    "mixture": lambda: OPERATORS.mixture_nll(
        x, x[:, :, None], x[:, :, None], meta(x[:, :1]), 0, 0.0
    ),
    "mixture backward": lambda: OPERATORS.mixture_nll_backward(
        meta(rows), x, x[:, :, None], x[:, :, None], x[:, :1], 0, 0.0
    ),
    **{
        f"{case} backward": lambda case=case: case.operator("_backward")(
            meta(x), x, *case.parameters
        )
        for case in DEFAULT_CASES
    },
}


@pytest.mark.parametrize("name", MIXED)
def test_operators_of_tensors_on_different_devices(name: str) -> None:
    """The Meta kernel came first and returned memory that nobody had written."""
    with pytest.raises(RuntimeError, match=r"(expected|Expected).*device"):
        MIXED[name]()


FREED: dict[str, Callable[[Tensor], Any]] = {
    **{str(case): case for case in DEFAULT_CASES},
    **{f"{case} in place": lambda x, c=case: c(x, inplace=True) for case in DEFAULT_CASES[:3]},
    "cross_entropy": lambda x: F.cross_entropy(x, torch.zeros(300, dtype=torch.int64)),
    "cross_entropy, more": lambda x: F.cross_entropy(
        x, torch.zeros(300, dtype=torch.int64), label_smoothing=0.1
    ),
    "cross_entropy, weight": lambda x: F.cross_entropy(
        torch.ones(3, 300), torch.zeros(3, dtype=torch.int64), weight=x[:, 0]
    ),
    "cross_entropy, probabilities": lambda x: F.cross_entropy(torch.ones_like(x), x),
    "logsumexp": lambda x: F.logsumexp(x, 0),
    "kl_divergence": lambda x: F.kl_divergence(x, torch.ones(300, 70)),
    "js_divergence, teacher": lambda x: F.js_divergence(torch.ones(300, 70), x),
    "softmax": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, 0),
    "prelu": lambda x: F.prelu(x, torch.ones(70)),
    "prelu, weight": lambda x: F.prelu(torch.ones(3, 300), x[:, 0]),
    "rrelu": lambda x: F.rrelu(x, training=True),
    "shift_dropout": lambda x: F.shift_dropout(x),
    "binary_cross_entropy_with_logits": lambda x: F.binary_cross_entropy_with_logits(
        x, torch.ones_like(x)
    ),
    "binary_cross_entropy_with_logits, target": lambda x: F.binary_cross_entropy_with_logits(
        torch.ones_like(x), x
    ),
    "gaussian_mixture_nll_loss": lambda x: F.gaussian_mixture_nll_loss(
        torch.ones(300, 70), torch.ones(300, 70, 1), torch.ones(300, 70, 1), x[:, :1]
    ),
}


@pytest.mark.parametrize("left", [0, 4], ids=["nothing", "one number"])
@pytest.mark.parametrize("name", FREED)
def test_tensors_whose_storage_was_freed(name: str, left: int) -> None:
    for tensor in (torch.ones(300, 70), torch.ones(70, 300).t()):
        tensor.untyped_storage().resize_(left)
        with pytest.raises(RuntimeError, match=r"storage|not allocated"):
            FREED[name](tensor)


def test_freed_targets() -> None:
    target = freed(torch.zeros(300, dtype=torch.int64))
    for options in ({}, {"label_smoothing": 0.1}, {"z_loss": 1.0}):
        with pytest.raises(RuntimeError, match=r"storage|not allocated"):
            F.cross_entropy(torch.ones(300, 70), target, **options)


def test_set_kernels_takes_its_own_capsule_only() -> None:
    import datetime

    with pytest.raises(TypeError, match=r"set_kernels.*KernelTable.*datetime"):
        _C.set_kernels(datetime.datetime_CAPI)
    assert torch.equal(F.relu(x), torch.relu(x))


@pytest.mark.slow
def test_a_kernel_module_may_be_imported_twice() -> None:
    """It aborted at exit."""
    code = """
import gc, importlib, sys
import activations_ext
for name in ("_cpu_default", "_cpu_avx2", "_cpu_avx512"):
    for _ in range(3):
        sys.modules.pop(f"activations_ext.{name}", None)
        try:
            importlib.import_module(f"activations_ext.{name}")
        except ImportError:
            pass
        gc.collect()
print("done")
"""
    assert run_python(code) == "done\n"


def test_lying_gradients_of_sampled_values_stay_inside() -> None:
    """What may be overwritten is a gradient of the input's dtype, shape and device."""
    values = sample(1000).requires_grad_()
    result = with_hook(lambda _, tensor: tensor[:10], lambda: F.elu(values) * 2)
    with pytest.raises(RuntimeError, match="shape"):
        result.sum().backward()

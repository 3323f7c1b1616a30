"""Times the losses and softmax against torch's, torch.compile's and, where it is installed, ONNX
Runtime's, and writes losses-<instruction set>.md.

python -m benchmarks.losses [--seconds 2] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as reference
from torch import Tensor

from activations_ext import functional as F
from benchmarks import tables
from benchmarks.timing import Contender, interleaved

SHAPES = ((2048, 32_000), (1024, 128_256), (4096, 1000), (8192, 10), (128, 10))
SOFTMAX_SHAPES = ((2048, 32_000), (4096, 1000), (24_576, 256), (24_576, 64), (1, 128_256))
DTYPES = (torch.float32, torch.bfloat16)
Compute = Callable[[Tensor], Tensor]
COLUMNS = ("ours", "torch", "torch.compile", "ONNX Runtime")
FOCAL = "cross_entropy, focal_gamma=2"
CLASSES = "cross_entropy, return_argmax"
SCALED = "cross_entropy, logit_scale"
BINARY = "binary_cross_entropy_with_logits"
FOCAL_BINARY = BINARY + ", focal_gamma=2"


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    log_p = reference.log_softmax(logits, 1).gather(1, target[:, None])[:, 0]
    return -((1 - log_p.exp()) ** 2 * log_p).mean()


def binary_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    p = logits.sigmoid()
    rest = 1 - (p * target + (1 - p) * (1 - target))
    losses = reference.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (rest**2 * losses).mean()


def loss_and_classes(logits: Tensor, target: Tensor) -> Tensor:
    logits.detach().argmax(1)
    return reference.cross_entropy(logits, target)


def loss_of_scaled(logits: Tensor, target: Tensor) -> Tensor:
    return reference.cross_entropy(logits / 0.7, target)


def divergence(logits: Tensor, teacher: Tensor) -> Tensor:
    p, q = logits.log_softmax(1), teacher.log_softmax(1)
    return reference.kl_div(p, q, reduction="batchmean", log_target=True)


def jensen_shannon(logits: Tensor, teacher: Tensor) -> Tensor:
    a, b = logits.log_softmax(1), teacher.log_softmax(1)
    log_m = torch.logaddexp(a, b) - 0.6931471805599453
    of = partial(reference.kl_div, log_m, reduction="batchmean", log_target=True)
    return 0.5 * (of(a) + of(b))


def ours_with_classes(logits: Tensor, target: Tensor) -> Tensor:
    result: Tensor = F.cross_entropy(logits, target, return_argmax=True)[0]
    return result


# Ours, and what one writes with torch.
COMPOSITES: dict[str, tuple[Callable[..., Any], Callable[..., Tensor]]] = {
    FOCAL: (partial(F.cross_entropy, focal_gamma=2.0), focal_loss),
    FOCAL_BINARY: (
        partial(F.binary_cross_entropy_with_logits, focal_gamma=2.0),
        binary_focal_loss,
    ),
    CLASSES: (ours_with_classes, loss_and_classes),
    SCALED: (partial(F.cross_entropy, logit_scale=1 / 0.7), loss_of_scaled),
    "kl_divergence": (F.kl_divergence, divergence),
    "js_divergence": (F.js_divergence, jensen_shannon),
}


def functions_of(name: str) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Ours and torch's."""
    return COMPOSITES.get(name) or (getattr(F, name), getattr(reference, name))


def times(
    name: str, input: Tensor, both: bool, seconds: float, *target: Tensor, **options: int
) -> dict[str, float]:
    """Milliseconds of one function by column, forward or forward and backward."""
    logits = input.detach().requires_grad_(both)
    ours, torchs = functions_of(name)
    torch.compiler.reset()
    functions = {"ours": ours, "torch": torchs, "torch.compile": torch.compile(torchs)}

    def contender(function: Callable[..., Tensor]) -> Contender:
        def run() -> None:
            result = function(logits, *target, **options)
            if both:
                torch.autograd.grad(result, logits, torch.ones_like(result))

        return Contender(run)

    contenders = {column: contender(function) for column, function in functions.items()}
    if name.endswith("softmax") and not both and input.dtype == torch.float32:
        operator = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[name]
        contenders |= onnx_runtime(operator, input, axis=-1)
    measured = interleaved(contenders, seconds)
    return {column: 1e3 * value for column, value in measured.items()}


def onnx_runtime(operator: str, input: Tensor, **attributes: Any) -> dict[str, Contender]:
    """ONNX Runtime's operator, into memory that exists already."""
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return {}
    kind = onnx.TensorProto.FLOAT
    values = [onnx.helper.make_tensor_value_info(n, kind, list(input.shape)) for n in "xy"]
    node = onnx.helper.make_node(operator, ["x"], ["y"], **attributes)
    graph = onnx.helper.make_graph([node], operator, values[:1], values[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    model.ir_version = 9
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Its threads would spin between its runs, on the processors of the other contenders.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    binding, output = session.io_binding(), torch.empty_like(input)
    binding.bind_input("x", "cpu", 0, "float32", list(input.shape), input.data_ptr())
    binding.bind_output("y", "cpu", 0, "float32", list(output.shape), output.data_ptr())

    def run() -> Tensor:
        session.run_with_iobinding(binding)
        return output  # which the binding knows by its address only

    return {"ONNX Runtime": Contender(run)}


def row(name: str, shape: tuple[int, ...], dtype: torch.dtype, both: bool, seconds: float) -> str:
    input, options = torch.randn(shape, dtype=dtype), {}
    target: tuple[Tensor, ...] = ()
    if name.startswith("cross_entropy"):
        target = (torch.randint(0, shape[1], shape[:1]),)
    elif name in (BINARY, FOCAL_BINARY):
        target = (torch.rand(shape, dtype=dtype),)
    elif name.endswith("divergence"):
        target = (torch.randn(shape, dtype=dtype),)
    else:
        options = {"dim": 1}
    measured = times(name, input, both, seconds, *target, **options)
    cells = [name, " × ".join(map(str, shape)), str(dtype).removeprefix("torch.")]
    cells += ["forward+backward" if both else "forward"]
    cells += [f"{measured[c]:.3f}" if c in measured else "" for c in COLUMNS]
    cells += [f"{measured[c] / measured['ours']:.2f}" if c in measured else "" for c in COLUMNS[1:]]
    return f"| {' | '.join(cells)} |"


def rows() -> list[tuple[str, tuple[int, ...], torch.dtype]]:
    losses = [("cross_entropy", shape, dtype) for shape in SHAPES for dtype in DTYPES]
    maps = [("softmax", shape, dtype) for shape in SOFTMAX_SHAPES for dtype in DTYPES]
    maps += [("log_softmax", shape, torch.float32) for shape in SOFTMAX_SHAPES]
    binary = [(name, (2**20,), dtype) for name in (BINARY, FOCAL_BINARY) for dtype in DTYPES]
    names = [name for name in COMPOSITES if name != FOCAL_BINARY]
    more = [(n, s, d) for n in names for s in ((2048, 32_000), (8192, 10)) for d in DTYPES]
    return [*losses, *more, *maps, *binary]


def table(seconds: float) -> str:
    ratios = [f"{column} / ours" for column in COLUMNS[1:]]
    lines = [
        f"# Losses and softmax\n\n{tables.machine()}. Medians in milliseconds; ratios to ours.\n",
        f"| function | input | dtype | pass | {' | '.join((*COLUMNS, *ratios))} |",
        f"| --- | --- | --- | --- |{' ---: |' * (len(COLUMNS) + len(ratios))}",
    ]
    lines += [row(*what, both, seconds) for what in rows() for both in (False, True)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables.keep_pages()
    tables.write("losses", table, seconds=2.0, description=__doc__ or "")

"""The benchmark's targets: a table of the least speedup over torch."""

from __future__ import annotations

from dataclasses import dataclass

from activations_ext import cpu_capability

KI, MI = 2**10, 2**20

RELU_LIKE = (
    "relu",
    "relu6",
    "leaky_relu",
    "prelu",
    "prelu_single",
    "rrelu",
    "squared_relu",
    "hardtanh",
    "threshold",
    "hardsigmoid",
    "hardswish",
    "softsign",
    "softshrink",
    "hardshrink",
)
"""A few comparisons, products and quotients."""

EXP_TYPE = (
    "elu",
    "selu",
    "celu",
    "serlu",
    "sigmoid",
    "tanh",
    "logsigmoid",
    "tanhshrink",
    "softplus",
    "gelu",
    "gelu_tanh",
    "silu",
    "mish",
    "exp",
)
"""At least one exponential or its like."""

FORWARD, BACKWARD, BOTH, INPLACE = "forward", "backward", "forward+backward", "in-place"


@dataclass(frozen=True)
class Target:
    """Asks for ``ratio`` in rows that agree in every field; None agrees with anything."""

    ratio: float
    size: int
    names: tuple[str, ...] | None = None
    dtype: str | None = None
    modes: tuple[str, ...] | None = None
    huge_pages: bool = False
    """Of a run in which torch, too, asks for huge pages (THP_MEM_ALLOC_ENABLE=1)."""

    def covers(self, name: str, dtype: str, size: int, mode: str, huge_pages: bool) -> bool:
        return (
            self.size == size
            and (self.names is None or name in self.names)
            and self.dtype in (None, dtype)
            and (self.modes is None or mode in self.modes)
            and self.huge_pages == huge_pages
        )


# The first that matches a row counts, so exceptions stand before the rule.
TARGETS: tuple[Target, ...] = (
    # Small tensors: the call itself.
    Target(1.0, 4 * KI, modes=(FORWARD, BOTH)),
    # A tensor of the caches' size: the arithmetic.
    Target(8.0, MI, ("mish",), "float32", (FORWARD, BACKWARD)),
    Target(1.4, MI, ("silu", "gelu"), "float32", (FORWARD, BACKWARD)),
    Target(15.0, MI, ("rrelu",), "float32", (FORWARD,)),
    Target(15.0, MI, ("prelu", "prelu_single"), "float32", (BACKWARD,)),
    Target(
        4.0,
        MI,
        ("elu", "selu", "celu", "softplus", "gelu_tanh", "tanh"),
        "float32",
        (FORWARD,),
    ),
    Target(1.0, MI, RELU_LIKE, "float32", (FORWARD,)),
    Target(8.0, MI, ("mish",), "bfloat16", (BACKWARD,)),
    Target(4.0, MI, EXP_TYPE, "bfloat16", (FORWARD,)),
    Target(1.5, MI, RELU_LIKE, "bfloat16", (FORWARD,)),
    Target(1.5, MI, None, "bfloat16", (BACKWARD,)),
    # A tensor far beyond the caches: memory, and page faults of a fresh one.
    Target(3.0, 32 * MI, None, "float32", (FORWARD, BACKWARD)),
    Target(1.0, 32 * MI, None, "float32", (FORWARD, BACKWARD), huge_pages=True),
    Target(1.0, 32 * MI, None, "float32", (INPLACE,)),
)

AVX2_TARGETS: tuple[Target, ...] = (
    Target(1.15, MI, ("exp", "sigmoid", "silu"), "float32", (FORWARD,)),
    Target(2.2, MI, ("tanh",), "float32", (FORWARD,)),
    Target(3.8, MI, ("elu", "selu"), "float32", (FORWARD,)),
    Target(3.3, MI, ("celu",), "float32", (FORWARD,)),
    Target(2.5, MI, ("softplus", "logsigmoid", "gelu_tanh"), "float32", (FORWARD,)),
    Target(1.0, MI, ("gelu",), "float32", (FORWARD,)),
    Target(4.0, MI, ("mish",), "float32", (FORWARD, BACKWARD)),
    Target(1.0, MI, ("exp", "sigmoid", "silu", "tanh", "logsigmoid"), "float32", (BACKWARD,)),
    Target(1.4, MI, ("elu", "selu", "celu"), "float32", (BACKWARD,)),
    Target(1.2, MI, ("softplus",), "float32", (BACKWARD,)),
    Target(1.15, MI, ("gelu",), "float32", (BACKWARD,)),
    Target(2.2, MI, ("gelu_tanh",), "float32", (BACKWARD,)),
)
"""The same on a machine without AVX-512."""


def target(
    name: str,
    dtype: str,
    size: int,
    mode: str,
    *,
    huge_pages: bool = False,
    capability: str | None = None,
) -> float | None:
    """The least ratio asked of this row on the instruction set, None if nothing is."""
    for candidate in AVX2_TARGETS if (capability or cpu_capability()) == "AVX2" else TARGETS:
        if candidate.covers(name, dtype, size, mode, huge_pages):
            return candidate.ratio
    return None

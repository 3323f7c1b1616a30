"""PyTorch's activations as fused, vectorised kernels, under torch's own names.

``activations_ext.functional`` stands in for ``torch.nn.functional`` and ``activations_ext.nn`` for
``torch.nn``: same arguments, same defaults, same values, same errors.
"""

from activations_ext import _build  # noqa: F401, I001 — before everything that is compiled
from activations_ext import _inductor  # noqa: F401 — waits for torch.compile
from activations_ext import compiled, export, functional, likelihood, monitor, nn
from activations_ext._kernels import check_targets, cpu_capability, empty_cache
from activations_ext.names import get
from activations_ext.replacement import disable, enable, enabled, replaced
from activations_ext.reproducibility import reproducible

# A literal, which setuptools can read without importing what it is about to build.
__version__ = "0.2.0"

__all__ = [
    "__version__",
    "check_targets",
    "compiled",
    "cpu_capability",
    "disable",
    "empty_cache",
    "enable",
    "enabled",
    "export",
    "functional",
    "get",
    "likelihood",
    "monitor",
    "nn",
    "replaced",
    "reproducible",
]

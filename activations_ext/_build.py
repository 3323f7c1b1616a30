"""Says in one sentence why the compiled half of the package is not there or does not fit.

Imported before it: a mangled symbol that is missing would be all that Python says.
"""

from __future__ import annotations

from pathlib import Path

import torch

_FOLDER = Path(__file__).parent

try:
    # Needs no torch to be loaded, so that it can tell for which one it was built.
    from activations_ext._cpu_default import built_for
except ModuleNotFoundError as error:
    raise ImportError(
        f"activations_ext in {_FOLDER} has not been compiled: where this is the source tree it "
        "hides an installed package, so leave the directory, or compile here with `pip install "
        "--no-build-isolation --editable .`"
    ) from error


def check(built_for: str, found: str) -> None:
    """Raise ImportError unless both are of one minor version, as the C++ interface wants it."""
    if built_for.split(".")[:2] != found.split(".")[:2]:
        raise ImportError(
            f"activations_ext was built for torch {built_for}, but torch {found} is installed: "
            "build it again with `pip install --no-build-isolation --force-reinstall --no-deps` "
            "and the path to its sources"
        )


check(built_for, torch.__version__)

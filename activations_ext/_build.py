"""Says in one sentence why the compiled half of the package is not there or does not fit.

Imported before it: a mangled symbol that is missing would be all that Python says.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import torch

_FOLDER = Path(__file__).parent


def import_compiled(name: str) -> ModuleType:
    """The compiled module ``activations_ext.<name>``. Raises ImportError where there is none."""
    try:
        return importlib.import_module(f"activations_ext.{name}")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"activations_ext in {_FOLDER} has not been compiled ({name} is missing): where this "
            "is the source tree it hides an installed package, so leave the directory, or compile "
            "here with `pip install --no-build-isolation --editable .`"
        ) from error


def check(built_for: str, found: str) -> None:
    """Raise ImportError unless both are of one minor version, as the C++ interface wants it."""
    if built_for.split(".")[:2] != found.split(".")[:2]:
        raise ImportError(
            f"activations_ext was built for torch {built_for}, but torch {found} is installed: "
            "build it again with `pip install --no-build-isolation --force-reinstall --no-deps` "
            "and the path to its sources"
        )


def check_only_copy() -> None:
    """Raise ImportError if a copy of the package in another folder has registered its operators.

    torch would end the process as the second copy registers them.
    """
    namespace = torch.ops.activations_ext
    loaded = vars(namespace).setdefault("loaded_from", _FOLDER)
    if loaded != _FOLDER:
        raise ImportError(
            f"activations_ext in {_FOLDER} cannot be imported: this process has already loaded "
            f"the copy in {loaded}"
        )


# Needs no torch to be loaded, so that it can tell for which one it was built.
check(import_compiled("_cpu_default").built_for, torch.__version__)
check_only_copy()
import_compiled("_C")

"""Chooses the compiled half that was built for the torch that runs: it becomes ``_C``.

A wheel holds one for each minor version of torch that it knows, because torch's C++ interface
changes with the minor version. Where none fits, ImportError says so in one sentence; Python alone
would name a mangled symbol.
"""

from __future__ import annotations

import importlib
import re
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

import torch

_FOLDER = Path(__file__).parent
_SUFFIXES = tuple(EXTENSION_SUFFIXES)


def import_compiled(name: str) -> ModuleType:
    """The compiled module ``activations_ext.<name>``. Raises ImportError if there is none."""
    try:
        return importlib.import_module(f"activations_ext.{name}")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"activations_ext in {_FOLDER} has not been compiled ({name} is missing): where this "
            "is the source tree it hides an installed package, so leave the directory, or compile "
            "here with `pip install --no-build-isolation --editable .`"
        ) from error


def built_for(folder: Path = _FOLDER) -> list[str]:
    """The minor versions of torch that ``folder`` has a compiled module for, oldest first."""
    names = (path.name for path in folder.glob("_C_torch*") if path.name.endswith(_SUFFIXES))
    found = (re.match(r"_C_torch(\d)(\d+)\.", name) for name in names)
    versions = sorted({(int(match[1]), int(match[2])) for match in found if match})
    return [f"{major}.{minor}" for major, minor in versions]


def choose(known: list[str], found: str) -> str:
    """The module for torch ``found``. Raises ImportError if ``known`` lacks its minor version."""
    major, minor = found.split(".")[:2]
    if known and f"{major}.{minor}" not in known:
        raise ImportError(
            f"activations_ext in {_FOLDER} was built for torch {' and '.join(known)}, but torch "
            f"{found} is installed: install one of those, or build it for this one, in the folder "
            "of its sources, with `pip install --no-build-isolation --force-reinstall --no-deps .`"
        )
    return f"_C_torch{major}{minor}"


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


_name = choose(built_for(), torch.__version__)
check_only_copy()
_C = import_compiled(_name)
sys.modules["activations_ext._C"] = _C
setattr(sys.modules["activations_ext"], "_C", _C)  # noqa: B010 — mypy knows no such attribute

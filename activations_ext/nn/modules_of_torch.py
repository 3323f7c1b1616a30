"""``import activations_ext.nn.utils`` is ``import torch.nn.utils``, and so for every module of
torch.nn that this package has no own of: to change a program's imports is to replace their text."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class _Existing(Loader):
    """Gives a module that is there already, as it is."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system has put the other name's in its place


class _Finder(MetaPathFinder):
    def __init__(self, package: str, torchs: str, own: dict[str, ModuleType]) -> None:
        self.package, self.torchs, self.own = package, torchs, own

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(self.package + "."):
            return None
        rest = fullname.removeprefix(self.package + ".")
        module = self.own.get(rest)
        if module is None:
            if "." not in rest and PathFinder.find_spec(fullname, path) is not None:
                return None  # a file of this package
            try:
                module = importlib.import_module(f"{self.torchs}.{rest}")
            except ModuleNotFoundError:
                return None
        return ModuleSpec(fullname, _Existing(module))


def alias(package: str, torchs: str, own: dict[str, ModuleType]) -> None:
    """Find the modules in ``torchs`` under ``package`` as well; ``own`` ones under their names."""
    sys.meta_path.insert(0, _Finder(package, torchs, own))

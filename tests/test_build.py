"""The import error where the compiled half is missing, or was built for another torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import activations_ext
from activations_ext import _C, _build, cpu_capability

ROOT = Path(__file__).resolve().parent.parent

# An editable installation would find the compiled modules in its own folder.
PLAIN_IMPORT = (
    "import sys\n"
    "sys.meta_path = [f for f in sys.meta_path if 'ditable' not in repr(f)]\n"
    "import activations_ext\n"
)


def test_it_was_built_for_the_torch_that_runs() -> None:
    assert torch.__version__.startswith(_C.built_for)
    assert ".".join(_C.built_for.split(".")[:2]) in _build.built_for()
    assert sys.modules["activations_ext._C"] is activations_ext._C is _C


@pytest.mark.parametrize("found", ["2.13.0", "2.13.1+cu130", "2.13.0a0+git123"])
def test_the_module_of_torchs_minor_version_is_chosen(found: str) -> None:
    assert _build.choose(["2.12", "2.13", "2.14"], found) == "_C_torch213"


def test_versions_are_found_by_the_modules_names(tmp_path: Path) -> None:
    for name in ("_C_torch213.so", "_C_torch29.so", "_C_torch214.so", "_C_torch215.txt", "_C.so"):
        (tmp_path / name).touch()
    assert _build.built_for(tmp_path) == ["2.9", "2.13", "2.14"]


@pytest.mark.parametrize("found", ["2.12.1", "2.15.0+cpu", "3.13.0"])
def test_another_minor_version_is_refused_in_a_sentence(found: str) -> None:
    with pytest.raises(ImportError) as raised:
        _build.choose(["2.13", "2.14"], found)
    text = str(raised.value)
    assert "built for torch 2.13 and 2.14" in text
    assert f"torch {found} is installed" in text
    assert "pip install --no-build-isolation" in text
    assert "\n" not in text


@pytest.mark.slow
def test_a_source_tree_that_is_not_compiled_says_so(tmp_path: Path) -> None:
    """As after `pip install .`, when Python is started in the sources' folder."""
    ignore = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "activations_ext", tmp_path / "activations_ext", ignore=ignore)
    command = [sys.executable, "-c", PLAIN_IMPORT]
    tried = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert tried.returncode != 0
    last = tried.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: activations_ext in")
    assert "has not been compiled" in last
    assert "--editable ." in last


OPERATORS = _build.choose([], torch.__version__)
KERNELS = f"_cpu_{cpu_capability().lower()}"


@pytest.mark.parametrize("name", [OPERATORS, KERNELS])
@pytest.mark.slow
def test_a_compiled_module_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns(f"{name}.*", "__pycache__")
    shutil.copytree(ROOT / "activations_ext", tmp_path / "activations_ext", ignore=ignore)
    command = [sys.executable, "-c", PLAIN_IMPORT]
    tried = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert tried.returncode == 1
    last = tried.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: activations_ext in")
    assert f"has not been compiled ({name} is missing)" in last


@pytest.mark.slow
def test_a_second_copy_in_one_process_is_refused(tmp_path: Path) -> None:
    """torch ended the process: operators are registered once."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "activations_ext", tmp_path / "activations_ext", ignore=ignore)
    program = (
        f"{PLAIN_IMPORT}"
        "first = activations_ext.__file__\n"
        "for name in [n for n in sys.modules if n.startswith('activations_ext')]:\n"
        "    del sys.modules[name]\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "try:\n"
        "    import activations_ext\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", program]
    tried = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert tried.returncode == 0, tried.stderr
    assert "this process has already loaded the copy in" in tried.stdout

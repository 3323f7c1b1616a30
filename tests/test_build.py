"""What the import says where the compiled half is missing, or was built for another torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from activations_ext._cpu_default import built_for

from activations_ext import _build

ROOT = Path(__file__).resolve().parent.parent


def test_it_was_built_for_the_torch_that_runs() -> None:
    assert built_for == torch.__version__
    for found in ("2.13.0", "2.13.1+cu130", "2.13.0a0+git123"):
        _build.check("2.13.0+cpu", found)


@pytest.mark.parametrize("found", ["2.12.1", "2.14.0+cpu", "3.13.0"])
def test_another_minor_version_is_refused_in_a_sentence(found: str) -> None:
    with pytest.raises(ImportError) as raised:
        _build.check("2.13.0+cpu", found)
    text = str(raised.value)
    assert "built for torch 2.13.0+cpu" in text
    assert f"torch {found} is installed" in text
    assert "pip install --no-build-isolation" in text
    assert "\n" not in text


def test_a_source_tree_that_is_not_compiled_says_so(tmp_path: Path) -> None:
    """As after `pip install .`, when Python is started in the sources' folder."""
    ignore = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "activations_ext", tmp_path / "activations_ext", ignore=ignore)
    # An editable installation would find the compiled modules in its own folder.
    program = (
        "import sys\n"
        "sys.meta_path = [f for f in sys.meta_path if 'ditable' not in repr(f)]\n"
        "import activations_ext\n"
    )
    tried = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert tried.returncode != 0
    last = tried.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: activations_ext in")
    assert "has not been compiled" in last
    assert "--editable ." in last

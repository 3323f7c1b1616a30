"""The README's code runs, and its figures are those of the committed measurements."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import activations_ext
from benchmarks import report
from benchmarks.report import Row

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BENCHMARKS = (ROOT / "docs/benchmarks.md").read_text()
RESULTS = ROOT / "benchmarks/results"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)


LINEAR = "linear_cross_entropy"


def run_blocks(text: str, names: dict[str, object]) -> int:
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    try:
        for block in blocks:
            exec(block, names)
    finally:
        activations_ext.disable()
    return len(blocks)


def test_the_code_runs() -> None:
    names: dict[str, object] = {}
    assert run_blocks(README, names) == 3
    assert names["x"].grad.shape == (8, 64, 28, 28)  # type: ignore[attr-defined]
    assert eval("loss.shape == () and lse.shape == (512,)", names)
    assert eval("isinstance(model[1], torch.nn.PReLU)", names)


def test_the_code_of_the_pages_runs() -> None:
    """With what each page takes for granted."""
    network = torch.nn.Linear(4, 3)
    batches = [(torch.randn(8, 4), torch.randint(3, (8,)))] * 3
    common = {"torch": torch, "F": activations_ext.functional, "nn": activations_ext.nn}
    assert run_blocks((ROOT / "docs/likelihoods.md").read_text(), {}) == 1
    monitored = {
        "model": torch.nn.Sequential(network, torch.nn.ReLU()),
        "batches": batches,
        "loss": torch.nn.functional.cross_entropy,
        "optimizer": torch.optim.SGD(network.parameters(), 0.1),
    }
    assert run_blocks((ROOT / "docs/monitor.md").read_text(), monitored) == 1
    logits, target = torch.randn(8, 5, requires_grad=True) * 1, torch.randint(5, (8,))
    hidden, weight = torch.randn(8, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    tensors = {"logits": logits, "target": target, "hidden": hidden, "weight": weight}
    tensors |= {
        f"teacher_{name}": tensors[name].detach() for name in ("logits", "hidden", "weight")
    }
    assert run_blocks((ROOT / "docs/losses.md").read_text(), common | tensors) == 3


@pytest.mark.parametrize("results", ["speed.json", "avx2/speed.json"])
def test_the_table_is_the_one_measured(results: str) -> None:
    written = json.loads((RESULTS / results).read_text())
    table = report.overview([Row.from_json(fields) for fields in written["rows"]])
    command = re.escape(f"<!-- speed: python -m benchmarks.report benchmarks/results/{results} -->")
    block = re.search(rf"{command}\n(.*?)<!-- /speed -->", BENCHMARKS, flags=re.DOTALL)
    assert block is not None
    assert block[1].strip() == f"{report.machine_line(written['machine'])}:\n\n{table}"


def cell(page: Path, row: str, column: int) -> str:
    """Of the first line of a table that starts with ``row``."""
    line = next(line for line in page.read_text().splitlines() if line.startswith(f"| {row} |"))
    return line.strip("| ").split(" | ")[column].strip()


def ratio(page: Path, row: str, column: int) -> str:
    return cell(page, row, column).rpartition("=")[2].strip()


def test_the_figures_are_those_measured() -> None:
    """Each line of README's table, from the table that it names."""
    programs, losses = RESULTS / "programs-avx512.md", RESULTS / "losses-avx512.md"
    linear, speed = RESULTS / "linear-avx512.md", ROOT / "docs/benchmarks.md"
    model = ROOT / "docs/language_model.md"
    step, memory = (
        [float(cell(model, row, column).split()[0]) for row in ("torch's cross_entropy", LINEAR)]
        for column in (3, 4)
    )
    mish = "convolutions, Mish, training step"
    in_chunks = "torch's linear_cross_entropy in chunks"
    share = float(cell(linear, LINEAR, 3)) / float(cell(linear, in_chunks, 3))

    def loss(shape: str) -> str:
        return cell(losses, f"cross_entropy | {shape} | float32 | forward+backward", 8)

    expected = [
        f"{step[0] / step[1]:.2f}, with {memory[1] / memory[0]:.2f} of the memory",
        ratio(programs, mish, 2),
        ratio(programs, mish, 3),
        ratio(programs, "GPT-2, training step", 2),
        f"{cell(linear, in_chunks, 2)}, with {share:.2f} of the memory",
        loss("2048 × 32000"),
        loss("8192 × 10"),
        *(cell(speed, name, 3) for name in ("mish", "gelu", "relu")),
    ]
    table = README.partition("<!-- figures:")[2].partition("<!-- /figures -->")[0]
    written = [line.split(" | ")[1] for line in table.splitlines()[3:] if line.startswith("| ")]
    assert written == expected


def test_readme_stays_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_claim_of_exactness_is_the_one_measured() -> None:
    rows = json.loads((RESULTS / "accuracy.json").read_text())["rows"]
    assert rows
    assert all(row["met"] for row in rows)


LINKS = [
    (page, path)
    for page in PAGES
    for path in re.findall(r"\]\(([^)#: ]+)(?:#[^)]*)?\)", page.read_text())
]


@pytest.mark.parametrize(("page", "path"), LINKS, ids=lambda x: getattr(x, "name", x))
def test_links_lead_somewhere(page: Path, path: str) -> None:
    assert (page.parent / path).exists()

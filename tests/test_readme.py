"""The README's code runs, and its figures are those of the committed measurements."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import activations_ext
from benchmarks import report
from benchmarks.report import Row

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
RESULTS = ROOT / "benchmarks/results"


def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # it saves a network
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 7
    names: dict[str, object] = {}
    try:
        for block in blocks:
            exec(block, names)
    finally:
        activations_ext.disable()
    assert names["x"].grad.shape == (8, 64, 28, 28)  # type: ignore[attr-defined]
    assert eval("loss.shape == () and lse.shape == entropy.shape == (512,)", names)
    assert eval("isinstance(model[1], torch.nn.PReLU)", names)


@pytest.mark.parametrize("results", ["speed.json", "avx2/speed.json"])
def test_the_table_is_the_one_measured(results: str) -> None:
    written = json.loads((RESULTS / results).read_text())
    table = report.overview([Row.from_json(fields) for fields in written["rows"]])
    command = re.escape(f"<!-- speed: python -m benchmarks.report benchmarks/results/{results} -->")
    block = re.search(rf"{command}\n(.*?)<!-- /speed -->", README, flags=re.DOTALL)
    assert block is not None
    assert block[1].strip() == f"{report.machine_line(written['machine'])}:\n\n{table}"


def test_the_claim_of_exactness_is_the_one_measured() -> None:
    rows = json.loads((RESULTS / "accuracy.json").read_text())["rows"]
    assert rows
    assert all(row["met"] for row in rows)


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(path: str) -> None:
    assert (ROOT / path).exists()

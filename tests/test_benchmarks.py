"""The benchmarks run and report what was measured. Nothing here depends on how long anything
takes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from activations_ext.registry import ACTIVATIONS, Activation
from benchmarks import accuracy, cuda, cuda_report, instructions, report, sass, speed, targets
from benchmarks.references import truth_of
from benchmarks.report import Row
from benchmarks.targets import BACKWARD, FORWARD, INPLACE
from benchmarks.timing import Contender, copy_contender, interleaved
from helpers import away_from_kinks, case_of


def a_row(**changes: object) -> Row:
    fields: dict[str, object] = {
        "name": "elu",
        "mode": FORWARD,
        "dtype": "float32",
        "size": 2**20,
        "bytes_moved": 2**23,
        "ours": 1e-3,
        "torch": 5e-3,
        "copy": 0.5e-3,
    }
    return Row(**(fields | changes))  # type: ignore[arg-type]


def test_contenders_take_turns() -> None:
    order: list[str] = []
    contenders = {
        name: Contender(lambda name=name: order.append(name), lambda: order.append("prepare"))
        for name in "abc"
    }
    times = interleaved(contenders, seconds=0.0)
    assert times.keys() == {*"abc"}
    assert all(time > 0 for time in times.values())
    assert set(order[::2]) == {"prepare"}
    assert order[1::4] == order[3::4]  # once untimed
    runs = order[1::4]
    rounds = [runs[i : i + 3] for i in range(len(runs) - 15, len(runs), 3)]
    assert all(sorted(turn) == [*"abc"] for turn in rounds)
    assert {turn[0] for turn in rounds} == {*"abc"}


def test_a_copy_moves_the_bytes_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []
    monkeypatch.setattr(torch.Tensor, "copy_", lambda self, source: copied.append((self, source)))
    copy_contender(8192).run()
    ((to, source),) = copied
    assert to.nbytes + source.nbytes == 8192


def test_the_targets_are_the_issues() -> None:
    target = partial(targets.target, capability="AVX512")
    assert target("relu", "float32", 2**12, FORWARD) == 1
    assert target("elu", "float32", 2**20, FORWARD) == 4
    assert target("mish", "float32", 2**20, BACKWARD) == 8
    assert target("gelu", "float32", 2**20, FORWARD) == 1.4
    assert target("rrelu", "float32", 2**20, FORWARD) == 15
    assert target("prelu", "float32", 2**20, BACKWARD) == 15
    assert target("exp", "bfloat16", 2**20, FORWARD) == 4
    assert target("relu", "bfloat16", 2**20, BACKWARD) == 1.5
    assert target("silu", "float32", 2**25, FORWARD) == 3
    assert target("silu", "float32", 2**25, INPLACE) == 1
    assert target("silu", "float32", 12345, FORWARD) is None
    target = partial(targets.target, capability="AVX2")
    assert target("elu", "float32", 2**20, FORWARD) == 3.8
    assert target("gelu", "float32", 2**20, BACKWARD) == 1.15
    assert target("relu", "float32", 2**20, FORWARD) is None


def test_a_row_says_whether_its_target_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "cpu_capability", lambda: "AVX512")
    assert a_row().ratio == pytest.approx(5)
    assert a_row().gigabytes_per_second == pytest.approx(8.388608)
    assert a_row().fraction_of_copy == pytest.approx(0.5)
    assert a_row().met is True
    assert a_row(torch=3.9e-3).met is False
    assert a_row(size=77).met is None
    large = a_row(size=2**25)
    assert large.with_huge_pages(a_row(ours=1e-3, torch=0.9e-3)).met is False
    assert large.with_huge_pages(a_row(ours=1e-3, torch=1.1e-3)).met is True


@pytest.mark.slow
def test_speed_writes_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(speed, "LARGE", 2**17)  # the size measured again with huge pages
    options = ["--sizes=4096,128K", "--only=elu,prelu,rrelu,shift_dropout", "--dtypes=float32"]
    speed.main([*options, "--no-compile", "--seconds=0.001", f"--out={tmp_path}"])
    torch.set_num_threads(threads)
    written = json.loads((tmp_path / "speed.json").read_text())
    rows = [Row.from_json(fields) for fields in written["rows"]]
    assert {row.name for row in rows} == {"elu", "prelu", "rrelu", "shift_dropout"}
    assert all(min(row.ours, row.torch, row.copy) > 0 for row in rows)
    assert written["machine"]["torch"] == torch.__version__
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    markdown = (tmp_path / "speed.md").read_text()
    for row in rows:
        assert "| " + " | ".join(row.cells()) + " |" in markdown
    assert "shift_dropout" in capsys.readouterr().out
    assert "| elu | " in report.overview(rows)


@pytest.mark.parametrize(
    "option", ["--sizes=0", "--sizes=many", "--dtypes=int8", "--only=no_such_activation"]
)
def test_speed_refuses_what_it_cannot_measure(option: str) -> None:
    with pytest.raises(SystemExit):
        speed.parse_options([option])


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.name)
def test_references_are_right(activation: Activation) -> None:
    """torch's float64 is good to 1e-12 between −4 and 4, where nothing cancels that much."""
    truth, case = truth_of(activation), case_of(activation.name)
    input = away_from_kinks(case, (1000,))
    value = case.differentiable_reference(input)
    torch.testing.assert_close(truth.value(input), value, rtol=1e-12, atol=1e-12)
    (slope,) = torch.autograd.grad(value.sum(), input)
    torch.testing.assert_close(truth.slope(input), slope, rtol=1e-12, atol=1e-12)
    root = truth.slope_root
    if root != float("inf"):
        assert truth.slope(torch.tensor(root, dtype=torch.float64)).abs() < 1e-6


def test_errors_are_counted_in_ulp() -> None:
    exact = torch.tensor([1.0, 1.5, -8.0], dtype=torch.float64)
    eps = torch.finfo(torch.float32).eps
    actual = torch.tensor([1.0, 1.5 + 3 * eps, -8.0 - 16 * eps])
    assert accuracy.largest_error(actual, exact) == 3
    actual[0] = torch.nan
    assert accuracy.largest_error(actual, exact) == float("inf")
    # A subnormal result is not judged.
    assert accuracy.largest_error(torch.zeros(1), torch.tensor([1e-40]).double()) == 0


def test_every_pattern_is_there_once() -> None:
    for dtype, finite in ((torch.bfloat16, 2**16 - 2**8), (torch.float16, 2**16 - 2**11)):
        assert accuracy.every_pattern(dtype).view(torch.int16).unique().numel() == finite


@pytest.mark.slow
def test_accuracy_writes_what_it_measured(tmp_path: Path) -> None:
    accuracy.main(["--only=relu,tanhshrink", f"--out={tmp_path}"])
    written = json.loads((tmp_path / "accuracy.json").read_text())
    relu, tanhshrink = written["rows"]
    assert relu["ordinary"] == {"ours": 0, "torch": 0}
    assert 0 < tanhshrink["ordinary"]["ours"] <= 2 < tanhshrink["ordinary"]["torch"]
    assert "| tanhshrink |" in (tmp_path / "accuracy.md").read_text()


def test_the_gpus_benchmark_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    monkeypatch.setattr(cuda, "SUBJECTS", cuda.SUBJECTS[:2])
    monkeypatch.setattr(cuda, "LOSSES", cuda.LOSSES[:1])
    monkeypatch.setattr(cuda, "ROWS", cuda.ROWS[:1])
    options = ["--device", "cpu", "--scale", "4K", "--rounds", "1"]
    monkeypatch.setattr("sys.argv", ["cuda", *options, "--out", str(tmp_path)])
    cuda.main()
    rows = json.loads((tmp_path / "cuda.json").read_text())["rows"]
    assert {row["group"] for row in rows} == set(cuda.GROUPS)
    assert len(rows) == 2 + 1 + 8 + 4 + 8
    assert all(row["seconds"]["ours"] > 0 for row in rows)
    assert all(set(row["met"]) <= set(cuda_report.TARGETS[row["group"]]) for row in rows)
    assert (tmp_path / "cuda.png").exists()


def test_the_shortest_way_that_moves_all_packs_is_counted() -> None:
    code = (
        "S2R R0, SR_TID.X",
        "@P0 BRA `(.L_x_1)",  # past the loads: the packs would be left out
        "LDG.E.128 R4, [R2]",
        "BRA P1, `(.L_x_2)",
        "CALL.REL.NOINC `(slow)",
        "FADD R4, R4, R4",
        "STG.E.EF.128 [R2], R4",
        "@P2 BRA `(.L_x_0)",
        "EXIT",
    )
    labels = {".L_x_0": 2, ".L_x_1": 8, ".L_x_2": 6}
    kernel = sass.Kernel("f", code, labels, registers=33)
    assert kernel.shortest({}) == 3
    assert kernel.shortest({"LDG.E.128": 1, "STG.E.EF.128": 1}) == 7
    assert kernel.shortest({"LDG.E.128": 2, "STG.E.EF.128": 2}) == 11
    assert kernel.shortest({"LDS": 1}) is None
    assert kernel.loops() == [range(2, 8)]
    assert kernel.threads() == 1536
    assert instructions.share("H100", 141.6, 8) == pytest.approx(0.5, abs=0.01)

"""The CUDA kernels without a GPU: nvcc compiles them, and their sources run on the host.

tests/cuda_on_host.h has the threads of a block as fibers; the same headers that nvcc compiles are
compiled for the host with it, under AddressSanitizer and UBSan.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers import COMPILER

ROOT = Path(__file__).resolve().parent.parent


def toolkit() -> Path | None:
    """The directory of CUDA's headers and nvcc."""
    named = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    found = [
        Path(home)
        for home in (
            *named,
            "/usr/local/cuda",
            *sorted(map(str, Path("/usr/local").glob("cuda-*"))),
        )
    ]
    return next((home for home in found if (home / "bin/nvcc").exists()), None)


TOOLKIT = toolkit()
pytestmark = pytest.mark.skipif(TOOLKIT is None, reason="no CUDA toolkit")


def run_on_host(name: str, csrc: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Compile tests/cuda_<name>.cpp against ``csrc`` and run it."""
    program = str(directory / name)
    command = [*COMPILER, "-std=c++20", "-O0", "-fsanitize=address,undefined"]
    command += ["-fno-sanitize-recover=all", "-ffp-contract=off", f"-I{csrc}", f"-I{ROOT}/tests"]
    command += [f"-isystem{TOOLKIT}/include", f"{ROOT}/tests/cuda_{name}.cpp", "-o", program]
    compiled = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in compiled.stderr and "asan" in compiled.stderr:
        pytest.skip("the compiler comes without its sanitizers")
    assert compiled.returncode == 0, compiled.stderr[-3000:]
    return subprocess.run([program], capture_output=True, text=True)


# The program that finds it, the file under csrc/cuda/, what stands there and what is planted.
PLANTED = {
    "a write beyond the end": (
        "pointwise",
        "pointwise_sweep.cuh",
        "i < count - in_packs;",
        "i <= count - in_packs;",
    ),
    "a tail that is left out": (
        "pointwise",
        "pointwise_sweep.cuh",
        "i < count - in_packs;",
        "i < head;",
    ),
    "a head where the tail is": (
        "pointwise",
        "pointwise_sweep.cuh",
        "i < head ? i : i + in_packs",
        "i + in_packs",
    ),
    "packs of another start": (
        "pointwise",
        "pointwise_sweep.cuh",
        "alike ? (count - head)",
        "true ? (count - head)",
    ),
    "a missing barrier": ("prelu", "prelu_sweep.cuh", "__syncthreads();", ""),
    "a number too many": ("table", "random_sweep.cuh", "if (i >= count) break;", ""),
    "another thread's number": (
        "table",
        "random_sweep.cuh",
        "w * kCountersInChunk",
        "(3 - w) * kCountersInChunk",
    ),
    "sums overwritten before all have read them": (
        "rows",
        "rows.cuh",
        "__syncthreads();  // before anyone writes the next",
        "",
    ),
    "a row's last classes left out": (
        "rows",
        "rows.cuh",
        "Pack<S>::kCount + rank(); i < end;",
        "Pack<S>::kCount + rank(); i < first;",
    ),
    "a warp's sums left out": ("rows", "rows.cuh", "int warp = 1; warp", "int warp = 2; warp"),
    "a component that two threads have": (
        "mixture",
        "mixture_rows.cuh",
        "c += kThreads) {\n      const T one",
        "c += 1) {\n      const T one",
    ),
    "a gradient without its last component": (
        "mixture",
        "mixture_rows.cuh",
        "c < job.components; c += kThreads) {\n      const T weight",
        "c + 1 < job.components; c += kThreads) {\n      const T weight",
    ),
    "a channel too many": ("prelu", "prelu_sweep.cuh", "channel < at.channels && k", "k"),
}


PROGRAMS = ("accuracy", "mixture", "pointwise", "prelu", "rows", "table")
Runs = dict[str, Future[subprocess.CompletedProcess[str]]]


def run_planted(fault: str, directory: Path) -> subprocess.CompletedProcess[str]:
    name, file, sound, faulty = PLANTED[fault]
    shutil.copytree(ROOT / "csrc", directory / "csrc")
    sweep = directory / "csrc/cuda" / file
    assert sweep.read_text().count(sound) == 1
    sweep.write_text(sweep.read_text().replace(sound, faulty))
    return run_on_host(name, directory / "csrc", directory)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """What the selected tests ask for, by as many compilers at once as there are processors."""
    items = [item for item in request.session.items if item.path == request.path]
    asked = {item.callspec.params.get("run") for item in items if hasattr(item, "callspec")}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        programs = {
            name: pool.submit(run_on_host, name, ROOT / "csrc", tmp_path_factory.mktemp("program"))
            for name in asked.intersection(PROGRAMS)
        }
        planted = {
            fault: pool.submit(run_planted, fault, tmp_path_factory.mktemp("planted"))
            for fault in asked.intersection(PLANTED)
        }
        yield programs | planted


@pytest.mark.parametrize("run", PROGRAMS)
def test_the_kernels_on_the_host(run: str, runs: Runs) -> None:
    result = runs[run].result()
    assert (result.returncode, result.stdout) == (0, "clean\n"), result.stdout + result.stderr


@pytest.mark.parametrize("run", PLANTED)
def test_the_net_holds(run: str, runs: Runs) -> None:
    """A fault planted in the sources is found."""
    assert runs[run].result().returncode != 0


@pytest.mark.parametrize(
    ("source", "kernels"),
    [("pointwise_kernels", 400), ("row_kernels", 400), ("mixture_kernels", 3 * 64)],
)
def test_nvcc_compiles_every_kernel(source: str, kernels: int, tmp_path: Path) -> None:
    """For every dtype and each generation of cards; none has a stack frame or spills registers."""
    command = [str(TOOLKIT / "bin/nvcc"), "-std=c++20", "--expt-relaxed-constexpr", "-Xptxas", "-v"]
    command += [f"-gencode=arch=compute_{card},code=sm_{card}" for card in (80, 90, 100)]
    command += ["--threads", "0", "-fatbin", str(ROOT / f"csrc/cuda/{source}.cu")]
    command += ["-o", str(tmp_path / "kernels.fatbin")]
    compiled = subprocess.run(command, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr[-3000:]
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill", compiled.stderr)
    assert len(frames) >= kernels
    assert set(frames) == {("0", "0")}

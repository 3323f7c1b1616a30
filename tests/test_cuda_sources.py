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
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from benchmarks import instructions, sass
from helpers import COMPILER
from programs import compiled

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
pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(TOOLKIT is None, reason="no CUDA toolkit"),
]


class Fault(NamedTuple):
    """What is planted in the sources, in place of what stands there once between two contexts: an
    expression, or a statement if ``sound`` ends with a semicolon."""

    file: str
    sound: str
    faulty: str
    before: str = ""
    after: str = ""

    def plant(self, csrc: Path, number: int) -> None:
        path = csrc / "cuda" / self.file
        text, found = path.read_text(), self.before + self.sound + self.after
        assert text.count(found) == 1, f"{found!r} is in {self.file} {text.count(found)} times"
        chosen = f"cuda_on_host::planted == {number}"
        if self.sound.endswith(";"):
            both = f"if ({chosen}) {{ {self.faulty} }} else {{ {self.sound} }}"
        else:
            both = f"({chosen} ? ({self.faulty}) : ({self.sound}))"
        path.write_text(text.replace(found, self.before + both + self.after))


FAULTS: dict[str, dict[str, Fault]] = {
    "accuracy": {},
    "mixture": {
        "a component that two threads have": Fault(
            "mixture_rows.cuh", "c += kThreads", "c += 1", after=") {\n      const T one"
        ),
        "a gradient without its last component": Fault(
            "mixture_rows.cuh",
            "c < job.components",
            "c + 1 < job.components",
            after="; c += kThreads) {\n      const T weight",
        ),
    },
    "pointwise": {
        "a write beyond the end": Fault("sweep.cuh", "if (place(k) >= left) break;", ""),
        "a tail that is left out": Fault(
            "sweep.cuh", "edge < plan.count - in_packs", "edge < plan.begin"
        ),
        "a head where the tail is": Fault(
            "sweep.cuh", "edge < plan.begin ? edge : edge + in_packs", "edge + in_packs"
        ),
        "packs of another start": Fault("sweep.cuh", "alike", "true", after=" ? Reading::kAligned"),
        "shifted packs up to the ends": Fault(
            "sweep.cuh",
            "if (reading != Reading::kShifted || packs == 0) return;",
            "return;",
        ),
        "a shift by another word": Fault(
            "packs.cuh",
            "past & 8 ? words[i + 2] : words[i]",
            "past & 8 ? words[i + 1] : words[i]",
        ),
        "packs over the end of a row": Fault(
            "sweep.cuh", "walk.sizes[0].size % Pack<S>::kCount == 0", "true"
        ),
        "the numbers of another input": Fault(
            "sweep.cuh", "in.data[input]", "in.data[0]", before="load(input, "
        ),
        "the strides of another dimension": Fault(
            "walk.h", "strides[input][d]", "strides[input][0]", after=";"
        ),
        "the numbers of another output": Fault(
            "sweep.cuh", "all.numbers[output]", "all.numbers[0]", before="numbers[k] = "
        ),
        "an edge of the first output only": Fault(
            "sweep.cuh", "out.data[output][i]", "out.data[0][i]", after=" = result"
        ),
    },
    "binary": {
        "a weight for the other one": Fault(
            "binary_cross_entropy.cuh", "where(positive, given, one)", "where(positive, one, given)"
        ),
        "the losses of all but the first parts left out": Fault(
            "binary_cross_entropy.cuh", "part < parts", "part < 1"
        ),
        "the sum of one thread": Fault(
            "binary_cross_entropy.cuh", "double(mine)", "threadIdx.x == 0 ? double(mine) : 0.0"
        ),
        "a gradient of grad_output alone": Fault(
            "binary_cross_entropy.cuh", "Compute<S>(scale)", "Compute<S>(1.0)", after=";"
        ),
        "plans of fewer inputs": Fault("binary_kernels.cu", "job.inputs[input]", "job.inputs[0]"),
    },
    "channels": {
        "a missing barrier": Fault(
            "channel_sweep.cuh",
            "__syncthreads();",
            "",
            after="\n      if (int(threadIdx.x) < half)",
        ),
        "parts put together too early": Fault(
            "channel_sweep.cuh", "__syncthreads();", "", after="  // before they are put together"
        ),
        "sums that others have not read": Fault(
            "channel_sweep.cuh", "__syncthreads();", "", after="  // the sums before have been read"
        ),
        "the weight of the channel before": Fault(
            "channel_sweep.cuh", "channel + 1 == at.channels ? 0 : channel + 1", "channel"
        ),
        "a part of a sum left out": Fault("channel_sweep.cuh", "1", "2", before="int row = "),
    },
    "rows": {
        "sums overwritten before all have read them": Fault(
            "rows.cuh", "__syncthreads();", "", after="  // before anyone writes the next"
        ),
        "a row's last classes left out": Fault(
            "rows.cuh", "edge(side) < (side == 0 ? first : end)", "edge(side) < first"
        ),
        "a warp's sums left out": Fault("rows.cuh", "1", "2", "int warp = "),
        "a row that is not in shared memory": Fault("rows.cuh", "*shared(i) = units;", ""),
        "another thread's shared memory": Fault(
            "rows.cuh",
            "int(i - span_.first) / Loaded::kCount",
            "int(i - span_.first) / Loaded::kCount / 2",
        ),
        "a block of a cluster left out": Fault("rows.cuh", "1", "2", "int rank = "),
        "blocks that do not wait for the cluster": Fault(
            "rows.cuh", "cluster_barrier();", "", after="\n  mine = *shared_of"
        ),
        "sums overwritten before the cluster has read them": Fault(
            "rows.cuh", "cluster_barrier();", "", after="  // before anyone writes the next"
        ),
        "a part of a row that two blocks have": Fault(
            "rows.cuh", "split * each < classes ? split * each : classes", "0", before="begin = "
        ),
        "a tile stored before all have written it": Fault(
            "tiles.cuh", "__syncthreads();", "", after="  // all have been written"
        ),
        "a tile read before all is there": Fault(
            "tiles.cuh", "__syncthreads();", "", after="  // all are there"
        ),
        "a tile without its last numbers": Fault("tiles.cuh", "i < count()", "false"),
        "a pack of one row only": Fault("tiles.cuh", "++column == classes_", "false"),
        "columns taken for rows": Fault("rows.cuh", "kApart ? 32 : 1", "1"),
        "a weight for each logit that forgets its class'": Fault(
            "statistics_rows.cuh", "weight * weights[i + k]", "weight"
        ),
        "a part of a split row left out": Fault("statistics_rows.cuh", "1", "2", "int split = "),
        "the losses of one block only": Fault(
            "cross_entropy_rows.cuh", "part < parts", "part < 1", after=" ?"
        ),
        "the gradient of an ignored row": Fault(
            "statistics_rows.cuh",
            "gradient.of_loss != nullptr && target.kind == TargetKind::kClass",
            "gradient.of_loss != nullptr",
        ),
        "packs of rows that stand elsewhere": Fault(
            "row_kernels.cu", "!alike<S>(shape, first, other)", "false"
        ),
    },
    "table": {
        "a number too many": Fault(
            "packs.cuh", "i + k < count", "true", after=") data[i + k] = pack"
        ),
        "a pack over the end": Fault(
            "packs.cuh", "i >= kCount && i + 2 * kCount <= count", "i >= kCount"
        ),
        "another thread's number": Fault(
            "random_sweep.cuh", "w * kCountersInChunk", "(3 - w) * kCountersInChunk"
        ),
    },
}
"""By the program, tests/cuda_<name>.cpp, that finds them."""


def compile_for_host(name: str, directory: Path) -> Path:
    """The program with all of its faults, of which the environment variable PLANTED chooses one."""
    shutil.copytree(ROOT / "csrc", directory / "csrc")
    for number, fault in enumerate(FAULTS[name].values(), 1):
        fault.plant(directory / "csrc", number)
    command = [*COMPILER, "-std=c++20", "-O0", "-fsanitize=address,undefined"]
    command += ["-fno-sanitize-recover=all", "-ffp-contract=off", f"-I{directory}/csrc"]
    command += [f"-I{ROOT}/tests", f"-isystem{TOOLKIT}/include", f"{ROOT}/tests/cuda_{name}.cpp"]
    program, _ = compiled(command, directory / "csrc")
    return program


Run = Future[subprocess.CompletedProcess[str]]
SOUND = "sound"


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], Run]]:
    """What the selected tests ask for, by as many processes at once as there are processors."""
    items = [item for item in request.session.items if item.path == request.path]
    asked = {item.callspec.params.get("asked") for item in items if hasattr(item, "callspec")}
    asked.discard(None)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        programs = {
            name: pool.submit(compile_for_host, name, tmp_path_factory.mktemp("program"))
            for name in sorted({name for name, _ in asked})
        }

        def run(name: str, fault: str) -> subprocess.CompletedProcess[str]:
            numbers = dict(zip((SOUND, *FAULTS[name]), map(str, count()), strict=False))
            environment = {**os.environ, "PLANTED": numbers[fault]}
            program = [str(programs[name].result())]
            return subprocess.run(program, env=environment, capture_output=True, text=True)

        yield {pair: pool.submit(run, *pair) for pair in sorted(asked)}


@pytest.mark.parametrize("asked", [(name, SOUND) for name in FAULTS], ids=lambda pair: pair[0])
def test_the_kernels_on_the_host(asked: tuple[str, str], runs: dict[tuple[str, str], Run]) -> None:
    result = runs[asked].result()
    assert (result.returncode, result.stdout) == (0, "clean\n"), result.stdout + result.stderr


@pytest.mark.parametrize(
    "asked",
    [(name, fault) for name, faults in FAULTS.items() for fault in faults],
    ids=lambda pair: pair[1],
)
def test_the_net_holds(asked: tuple[str, str], runs: dict[tuple[str, str], Run]) -> None:
    """A fault planted in the sources is found."""
    assert runs[asked].result().returncode != 0


def test_views_are_walked_in_the_order_of_the_output() -> None:
    """The launcher's part of reading inputs in place, on the CPU's tensors."""
    from torch.utils import cpp_extension

    libraries = cpp_extension.library_paths()
    command = [*COMPILER, "-std=c++20", "-O1", f"-I{ROOT}/csrc", f"-isystem{TOOLKIT}/include"]
    command += [f"-isystem{path}" for path in cpp_extension.include_paths()]
    command += [f"{ROOT}/tests/cuda_walk.cpp", f"{ROOT}/csrc/device/layout.cpp"]
    command += [f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"]
    command += [f"-L{path}" for path in libraries] + ["-ltorch_cpu", "-lc10"]
    command += [f"-Wl,-rpath,{path}" for path in libraries]
    program, _ = compiled(command)
    result = subprocess.run([program], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "clean\n"), result.stdout + result.stderr


CARDS = os.environ.get("CUDA_CARDS", "90").split(",")
"""What the kernels are compiled for. CUDA_CARDS=75,80,90,100 takes four times as long."""


@pytest.mark.parametrize(
    ("source", "kernels"),
    [
        ("pointwise_kernels", 316),
        ("binary_kernels", 100),
        ("row_kernels", 400),
        ("mixture_kernels", 64),
    ],
)
def test_nvcc_compiles_every_kernel(source: str, kernels: int) -> None:
    """For every dtype; none has a stack frame or spills registers."""
    command = [str(TOOLKIT / "bin/nvcc"), "-std=c++20", "--expt-relaxed-constexpr", "-Xptxas", "-v"]
    command += [f"-gencode=arch=compute_{card},code=sm_{card}" for card in CARDS]
    command += ["--threads", "0", "-fatbin", str(ROOT / f"csrc/cuda/{source}.cu")]
    _, messages = compiled(command)
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill", messages)
    assert len(frames) >= kernels * len(CARDS)
    assert set(frames) == {("0", "0")}


SOME_KERNELS = """
#include "cuda/pointwise_sweep.cuh"
#include "cuda/softmax_rows.cuh"
#include "cuda/statistics_rows.cuh"

namespace activations_ext::cuda {
using Warp = Team<32, By::kPacks>;
using Block = Team<kRowThreads, By::kPacks>;
#define POINTWISE(F, S)                                                              \
  template __global__ void pointwise<Pass::kForward, F, S>(F, Outputs<S, 1>, Inputs<S, 1>, Plan); \
  template __global__ void pointwise<Pass::kBackward, F, S>(F, Outputs<S, 1>, Inputs<S, 2>, Plan);
#define SOFTMAX(F, S, T, K)                                                                       \
  template __global__ void softmax_rows<F, S, T, K>(RowShape, Matrix<const void*>, Matrix<void*>); \
  template __global__ void softmax_backward_rows<F, S, T, K>(RowShape, Matrix<const void*>,        \
                                                             Matrix<const void*>, Matrix<void*>);
#define STATISTICS(S, W, C, T)                                                                   \
  template __global__ void row_statistics<S, W, C, T>(StatisticsRows, StatisticsResults, int64_t*, \
                                                      TeamSums<Compute<S>>*);                     \
  template __global__ void row_statistics_backward<S, W, C, T>(StatisticsRows, StatisticsGradient);
POINTWISE(GELU, float)
POINTWISE(Mish, BFloat16)
SOFTMAX(Softmax, float, Warp, Keep::kInRegisters)
SOFTMAX(Softmax, BFloat16, Block, Keep::kInShared)
SOFTMAX(LogSoftmax, Half, Block, Keep::kNowhere)
STATISTICS(float, With::kNothing, false, Block)
STATISTICS(BFloat16, With::kNothing, false, Block)
STATISTICS(BFloat16, With::kLogitWeights, true, Warp)
}  // namespace activations_ext::cuda
"""


@pytest.fixture(scope="module")
def some_kernels(tmp_path_factory: pytest.TempPathFactory) -> list[sass.Kernel]:
    try:
        sass.tool("nvdisasm")
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    source = tmp_path_factory.mktemp("sass") / "some.cu"
    source.write_text(SOME_KERNELS)
    return list(sass.kernels(source))


def test_packs_are_loaded_before_the_first_is_stored(some_kernels: list[sass.Kernel]) -> None:
    """Two of each input, in the pointwise sweep: read in the machine code, in its order."""
    pointwise = [kernel for kernel in some_kernels if "::pointwise<" in kernel.name]
    assert len(pointwise) == 4
    for kernel in pointwise:
        inputs = 1 if "Pass)0" in kernel.name else 2
        opcodes = [kernel.opcode(at) for at in range(len(kernel.instructions))]
        first_store = next(at for at, o in enumerate(opcodes) if o.startswith("STG.E.EF.128"))
        loads = [o for o in opcodes[:first_store] if o.startswith("LDG.E.128")]
        assert len(loads) >= 2 * instructions.PACKS * inputs  # aligned; rows of other strides
        assert kernel.shortest({"LDG.E.128": 2 * inputs, "STG.E.EF.128": 2}) is not None
        assert instructions.in_flight(kernel, instructions.PACKS * inputs) >= 32


def test_main_loops_of_rows_move_packs_and_nothing_narrower(
    some_kernels: list[sass.Kernel],
) -> None:
    """A loop once loaded number by number what was handed on by reference."""
    rows = [kernel for kernel in some_kernels if instructions.ROW.search(kernel.name)]
    assert len(rows) == 12
    for kernel in rows:
        loops = instructions.main_loops(kernel)
        if "Keep)0" in kernel.name:  # in registers: once, without a loop
            assert kernel.shortest({"LDG.E.128": 4, "STG.E.EF.128": 4}) is not None
            continue
        assert loops, kernel.name
        for loop in loops:
            moves = {o for o in map(kernel.opcode, loop) if o.startswith(("LDG", "STG"))}
            assert moves <= {"LDG.E.128", "STG.E.EF.128"}, (kernel.name, moves)
        two = "softmax_backward" in kernel.name or "With)2" in kernel.name
        loads = instructions.AHEAD * (2 if two else 1)
        assert instructions.in_flight(kernel, loads) >= 32, kernel.name

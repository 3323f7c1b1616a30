"""Builds the C++ part of activations_ext; everything else about the package is in pyproject.toml.

pip install --no-build-isolation .

Build isolation would compile against a torch of pip's choosing instead of the one that will run.
What the build uses: torch (headers, libraries, build command), pybind11 (headers, of which torch
carries a copy), ninja and setuptools.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn

from setuptools import Extension, setup
from setuptools.command.build_py import build_py
from setuptools.modified import newer_group


def cuda_toolkit() -> Path | None:
    """The newest place that has nvcc and CUDA's headers, unless CUDA_HOME or CUDA_PATH names one.

    torch goes by the nvcc on the PATH, which may be a wrapper far from the headers.
    """
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(name):
            return Path(os.environ[name])
    likely = [Path("/usr/local/cuda"), *sorted(Path("/usr/local").glob("cuda-*"), reverse=True)]
    if nvcc := shutil.which("nvcc"):
        likely.append(Path(nvcc).resolve().parent.parent)
    fits = (p for p in likely if (p / "bin/nvcc").exists() and (p / "include/cuda.h").exists())
    return next(fits, None)


TOOLKIT = cuda_toolkit()
if TOOLKIT is not None:
    os.environ["CUDA_HOME"] = str(TOOLKIT)  # before torch looks

try:
    import torch
    from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension
except ModuleNotFoundError as missing:
    if missing.name != "torch":
        raise
    raise SystemExit(
        "activations_ext is compiled against the torch that it will run with, and this Python has "
        f"none ({sys.executable}).\nInstall torch first, then build without isolation:\n"
        "    pip install torch setuptools ninja\n"
        "    pip install --no-build-isolation ."
    ) from None

HEADERS = sorted(str(path) for path in Path("csrc").rglob("*.h*") if path.suffix in (".h", ".cuh"))
COMMON_FLAGS = ["-O3", "-std=c++20", "-fvisibility=hidden", "-Wall", "-g0"]

# The kernels keep NaN, infinities and the order of operations; what is given up (errno, traps)
# nobody can read from Python. Contraction would make results depend on the instruction set.
KERNEL_FLAGS = [*COMMON_FLAGS, "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
INSTRUCTION_SETS = {"_cpu_default": []}
if platform.machine() in ("x86_64", "AMD64"):
    INSTRUCTION_SETS["_cpu_avx2"] = ["-mavx2", "-mfma", "-mf16c"]
    INSTRUCTION_SETS["_cpu_avx512"] = [
        *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c"),
        "-mprefer-vector-width=512",
    ]

# Compiled before anything else, so that an unfit machine fails with a sentence and not with
# pages of template errors. GCC has _Float16 on x86 since version 12.
PROBE = """
#include <Python.h>
#include <concepts>
#if !defined(__GNUC__)
#error "the SIMD code needs the vector extension of GCC or Clang"
#elif !defined(__clang__) && __GNUC__ < 12
#error "this GCC is older than version 12"
#endif
template <std::floating_point T> constexpr T twice(T x) { return x + x; }
static_assert([]<class T>(T x) { return twice(x); }(1.0) == 2.0);
"""


# CUDA's kernels are compiled where they can run: with a CUDA build of torch. A wheel goes without
# them: the same one then serves torch's builds with CUDA and without.
ALLOWED = os.environ.get("ACTIVATIONS_EXT_CUDA", "1") != "0"
WITH_CUDA = ALLOWED and TOOLKIT is not None and torch.version.cuda is not None
NVCC_FLAGS = ["-O3", "-std=c++20", "--expt-relaxed-constexpr", "-Xcompiler", "-fvisibility=hidden"]


def fail(text: str) -> NoReturn:
    raise SystemExit(f"\nactivations_ext cannot be built: {text}")


def check_compiler() -> None:
    """End with a plain sentence if the compiler is missing or too old."""
    compiler = os.environ.get("CXX", "c++")
    command = [*shlex.split(compiler), "-std=c++20", "-fsyntax-only", "-x", "c++"]
    command += [f"-I{sysconfig.get_path('include')}", "-"]
    try:
        probe = subprocess.run(command, input=PROBE, capture_output=True, text=True)
    except OSError as error:
        fail(
            f"the C++ compiler {compiler!r} does not run ({error.strerror}).\nInstall GCC 12 or "
            "newer (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; macOS: "
            "xcode-select --install),\nor name another compiler in the environment variable CXX."
        )
    if "Python.h" in probe.stderr:
        fail("Python's headers are missing (Debian, Ubuntu: apt install python3-dev).")
    if probe.returncode != 0:
        fail(
            f"the C++ compiler {compiler!r} will not do. GCC 12 or newer is needed "
            "(a recent Clang may serve);\nthe environment variable CXX names the one to use. "
            f"It said:\n{probe.stderr}"
        )


def openmp() -> tuple[list[str], list[str]]:
    """Flags to compile and to link; without them at::parallel_for runs on one thread only."""
    if sys.platform != "darwin":
        return ["-fopenmp"], ["-fopenmp"]
    # Apple's Clang has no omp.h and wants the option handed through. The library is torch's own.
    homebrew = Path("/opt/homebrew/opt/libomp/include")
    if not homebrew.is_dir():
        print("omp.h was not found (brew install libomp): the kernels will run on one thread.")
        return [], []
    return ["-Xpreprocessor", "-fopenmp", f"-I{homebrew}"], ["-lomp"]


def extensions() -> list[Extension]:
    compile_openmp, link_openmp = openmp()
    # torch's own C++ library, also with a compiler that would add one: an exception cannot pass
    # from one to another.
    shared_library = ["-l:libstdc++.so.6"] if sys.platform == "linux" else []
    folders = [".", "kinds", "device", "cpu", "ops", "autograd", "aten"]
    bindings = [path for folder in folders for path in Path("csrc", folder).glob("*.cpp")]
    if WITH_CUDA:
        bindings += [*Path("csrc/cuda").glob("*.cpp"), *Path("csrc/cuda").glob("*.cu")]
    operators = (CUDAExtension if WITH_CUDA else CppExtension)(
        "activations_ext._C_torch" + "".join(torch.__version__.split(".")[:2]),
        sorted(str(path) for path in bindings),
        depends=HEADERS,
        extra_compile_args={"cxx": [*COMMON_FLAGS, *compile_openmp], "nvcc": NVCC_FLAGS},
        extra_link_args=[*link_openmp, *shared_library],
    )
    # One module per instruction set, so that the linker cannot choose an AVX-512 copy of an inline
    # function for an older machine. They know no torch, so that one of each serves all versions.
    kernels = [
        Extension(
            f"activations_ext.{module}",
            sorted(str(path) for path in Path("csrc/cpu/kernels").glob("*.cpp")),
            language="c++",
            depends=[*HEADERS, "setup.py"],
            define_macros=[("CPU_MODULE", module)],
            extra_compile_args=[*KERNEL_FLAGS, *instructions],
            # The compiler's helpers for float16 are newer than many systems' libgcc: from libgcc.a.
            extra_link_args=["-lgcc"] if sys.platform == "linux" else [],
        )
        for module, instructions in INSTRUCTION_SETS.items()
    ]
    return [operators, *kernels]


class Build(BuildExtension):
    """torch's build command with one lasting object directory for each extension.

    pip hands over an empty temporary directory every time; a lasting one lets ninja compile only
    what has changed, headers included. The kernel modules share their sources, so that in one
    directory each would overwrite the other's objects.
    """

    def finalize_options(self) -> None:
        super().finalize_options()
        self.objects = Path("build", sys.implementation.cache_tag)

    def build_extensions(self) -> None:
        check_compiler()
        os.environ.setdefault("MAX_JOBS", str(os.cpu_count() or 1))  # ninja would take two more
        if WITH_CUDA:
            # Not for the cards of this machine, which may have none: CUDA 12.8 is the first to know
            # Blackwell. Other cards compile what the last entry's PTX says.
            known = tuple(map(int, torch.version.cuda.split("."))) >= (12, 8)
            cards = "7.5;8.0;9.0;10.0+PTX" if known else "7.5;8.0;9.0+PTX"
            os.environ.setdefault("TORCH_CUDA_ARCH_LIST", cards)
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        knows_torch = "._C_torch" in ext.name
        # ninja would compile the kernels again for another torch, whose commands differ.
        made = Path(self.get_ext_fullpath(ext.name))
        if not knows_torch and not newer_group([*ext.sources, *ext.depends], made):
            return
        folder = f"torch-{torch.__version__}" if knows_torch else ext.name
        self.build_temp = str(self.objects / folder)
        super().build_extension(ext)


class Package(build_py):
    """With the headers that the code of torch.compile includes (activations_ext/_inductor.py).

    An editable installation finds them where they are.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for header in HEADERS:
            if header.endswith(".h"):
                to = Path(
                    self.build_lib, "activations_ext/include", Path(header).relative_to("csrc")
                )
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(header, to)


setup(ext_modules=extensions(), cmdclass={"build_ext": Build, "build_py": Package})

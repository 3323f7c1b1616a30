"""Tables that are written for the instruction set in use."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from activations_ext import cpu_capability

RESULTS = Path(__file__).resolve().parent / "results"


KEEPS_PAGES = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
"""Settings of malloc: page faults of fresh results are not the kernel's, and hit whichever runs
first."""


def keep_pages() -> None:
    """Starts this program again with these settings, unless it has them."""
    if KEEPS_PAGES.items() - os.environ.items():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **KEEPS_PAGES})


def machine() -> str:
    return f"{cpu_capability()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def write(name: str, table: Callable[[float], str], seconds: float, description: str) -> None:
    """The command line: prints ``table(seconds)`` and writes it into ``name-<capability>.md``."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=seconds, help="for each measurement")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    # Inductor's cache does not tell one ATEN_CPU_CAPABILITY from another (torch 2.13): what was
    # compiled for AVX-512 and is found again on AVX2 ends the process.
    with tempfile.TemporaryDirectory(prefix="inductor-") as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        text = table(arguments.seconds)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{name}-{cpu_capability().lower()}.md").write_text(text)

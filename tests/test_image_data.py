"""Files of images and texts that somebody else made: what is wrong with them ends in a sentence."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from common import DataError
from image_data import load_images, read_idx
from shakespeare_text import read_texts


def pixels(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(count).integers(0, 256, (count, 3072), dtype=np.uint8)


def write_cifar10(directory: Path, batch: Any, protocol: int = 2) -> Path:
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        content = batch if isinstance(batch, bytes) else pickle.dumps(batch, protocol)
        (directory / name).write_bytes(content)
    return directory


@pytest.mark.parametrize("protocol", [2, 4])
def test_cifar10(protocol: int, tmp_path: Path) -> None:
    data = pixels(4)
    write_cifar10(tmp_path, {b"data": data, b"labels": [3, 1, 0, 2]}, protocol)
    images = load_images(tmp_path)
    assert images.train.shape == (20, 3, 32, 32)
    assert images.train_labels.tolist() == [3, 1, 0, 2] * 5
    back = images.test * (images.test.max() - images.test.min()).reciprocal()
    expected = data.reshape(-1, 3, 32, 32).astype(np.float32) / float(data.max() - data.min())
    assert np.allclose(back - back.min(), expected - expected.min(), atol=1e-5)


class Calls:
    """Pickled, a call of ``function``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def crafted(dtype: str, shape: tuple[int, ...], content: bytes) -> Calls:
    """An array with the state that the file says, whatever the bytes are."""

    class Array(Calls):
        def __reduce__(self) -> Any:
            state = (1, shape, np.dtype(dtype), False, content)
            return (*np.zeros(0).__reduce__()[:2], state)

    return Array(int)


LABELS = [0, 1]
BATCHES: dict[str, Any] = {
    "object dtype": {b"data": crafted("O", (2, 384), b"A" * 6144), b"labels": LABELS},
    "float dtype": {b"data": pixels(2).astype(np.float32), b"labels": LABELS},
    "too short": {b"data": crafted("u1", (2, 3072), b"A" * 100), b"labels": LABELS},
    "negative size": {b"data": crafted("u1", (-2, -3072), b"A" * 6144), b"labels": LABELS},
    "no array": {b"data": [1, 2], b"labels": LABELS},
    "no labels": {b"data": pixels(2)},
    "ragged labels": {b"data": pixels(2), b"labels": [[0], [1, 2]]},
    "None": {b"data": pixels(2), b"labels": [None, 1]},
    "text": {b"data": pixels(2), b"labels": ["cat", "dog"]},
    "fractions": {b"data": pixels(2), b"labels": [0.5, 1.0]},
    "negative label": {b"data": pixels(2), b"labels": [-1, 1]},
    "huge label": {b"data": pixels(2), b"labels": [1, 2**40]},
    "too few labels": {b"data": pixels(2), b"labels": [1]},
    "a list": [1, 2],
    "a call": {b"data": Calls(print, "called"), b"labels": LABELS},
    "a dtype of strings": Calls(np.dtype, "S1000000000000"),
    "a huge memo": b"\x80\x02]r" + struct.pack("<I", 2**31 - 1) + b".",
    "nothing": b"",
    "truncated": pickle.dumps({b"data": pixels(2), b"labels": LABELS}, 2)[:-100],
}


@pytest.mark.parametrize("name", BATCHES)
def test_batches_of_cifar10_that_are_none(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="is not a batch of CIFAR-10"):
        load_images(write_cifar10(tmp_path, BATCHES[name]))
    assert capsys.readouterr().out == ""


def idx(*sizes: int, data: bytes = b"", kind: bytes = b"\0\0\x08") -> bytes:
    return kind + bytes([len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + data


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (idx(2, 2, 2, data=bytes(7)), "holds 7 bytes"),
        (idx(2, 2, 2, data=bytes(9)), "holds more"),
        (idx(2, 2, 2, data=bytes(10**7)), "holds more"),
        (idx(2**32 - 1, 2**32 - 1, 2**32 - 1), "too short"),
        (idx(*[1] * 64, data=b"\0"), "64 dimensions and not 3"),
        (idx(8, data=bytes(8)), "1 dimensions and not 3"),
        (idx(2, 2, 2, kind=b"\0\0\x0d"), "not an idx file of bytes"),
        (b"\0\0\x08\x03\0\0", "ends within its header"),
        (b"", "not an idx file"),
    ],
    ids=[str(i) for i in range(9)],
)
def test_idx_files_that_are_none(
    content: bytes, text: str, compressed: bool, tmp_path: Path
) -> None:
    path = tmp_path / ("images.gz" if compressed else "images")
    path.write_bytes(gzip.compress(content) if compressed else content)
    with pytest.raises(DataError, match=text):
        read_idx(path, 3)


def test_an_idx_file(tmp_path: Path) -> None:
    for path, write in ((tmp_path / "a", bytes), (tmp_path / "a.gz", gzip.compress)):
        path.write_bytes(write(idx(2, 1, 3, data=bytes(range(6)))))
        assert read_idx(path, 3).tolist() == [[[0, 1, 2]], [[3, 4, 5]]]


def test_a_compressed_file_is_unpacked_as_far_as_its_header_says(tmp_path: Path) -> None:
    """4 GB of zeros are 4 MB of gzip's."""
    import resource

    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(idx(10, 2, 2))
        for _ in range(300):
            file.write(bytes(2**20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="holds more"):
        read_idx(path, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100 * 1024


def write_archive(path: Path, *members: tarfile.TarInfo, content: bytes = b"") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(content))
    return path


def test_links_in_an_archive_of_texts_are_not_followed(tmp_path: Path) -> None:
    link = tarfile.TarInfo("a_gut.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "missing"
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
        link.type = kind
        with pytest.raises(DataError, match="holds no file"):
            read_texts(write_archive(tmp_path / "texts.tar.gz", link))


def test_an_archive_that_ends_early_or_announces_too_much(tmp_path: Path) -> None:
    text = tarfile.TarInfo("a_gut.txt")
    text.size = 10
    path = write_archive(tmp_path / "texts.tar.gz", text, content=b"0123456789")
    assert read_texts(path) == "0123456789"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="cannot be read"):
        read_texts(path)
    text.size = 2**40
    path.write_bytes(gzip.compress(text.tobuf()))
    with pytest.raises(DataError, match=r"cannot be read|more than"):
        read_texts(path)

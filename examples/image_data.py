"""Real images for the examples: a directory of the user's, Debian's Fashion-MNIST, or digits."""

from __future__ import annotations

import gzip
import io
import math
import pickle
import pickletools
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor

from common import DataError

# Where Debian's package dataset-fashion-mnist puts its files.
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")

DEFLATE = 1032  # bytes that one byte of gzip's format unpacks to, at most

Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Images:
    """Images (N, C, H, W) in float32, standardised with the training set's mean and deviation."""

    name: str
    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor

    @property
    def classes(self) -> int:
        return int(torch.cat([self.train_labels, self.test_labels]).max()) + 1


def load_images(directory: Path | None = None) -> Images:
    """The images in ``directory``; without one, Fashion-MNIST if installed, else the digits."""
    if directory is None:
        return load_idx(FASHION_MNIST) if FASHION_MNIST.is_dir() else load_digits()
    if not directory.is_dir():
        raise DataError(f"{directory} is not a directory")
    if (directory / "data_batch_1").is_file():
        return load_cifar10(directory)
    return load_idx(directory)


def load_idx(directory: Path) -> Images:
    """The four files of MNIST and its successors, compressed or not."""
    train, train_labels, test, test_labels = (
        read_idx(find(directory, f"{part}-{kind}-idx{dimensions}-ubyte"), dimensions)
        for part in ("train", "t10k")
        for kind, dimensions in (("images", 3), ("labels", 1))
    )
    return standardised(
        directory.resolve().name, train[:, None], train_labels, test[:, None], test_labels
    )


def find(directory: Path, name: str) -> Path:
    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"{directory} has neither {name}[.gz] (MNIST's layout) nor data_batch_1 (CIFAR-10's)"
    )


def read_idx(path: Path, dimensions: int) -> Bytes:
    """One idx file: two zeros, the type (8: bytes), the number of sizes, the sizes, the bytes."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4)
            if head[:3] != b"\0\0\x08" or len(head) < 4:
                raise DataError(f"{path} is not an idx file of bytes")
            if head[3] != dimensions:
                raise DataError(f"{path} has {head[3]} dimensions and not {dimensions}")
            sizes = file.read(4 * dimensions)
            if len(sizes) < 4 * dimensions:
                raise DataError(f"{path} ends within its header")
            shape = struct.unpack(f">{dimensions}I", sizes)
            count = math.prod(shape)
            # Before anything is allocated: a file cannot hold more than it could unpack to.
            if count > path.stat().st_size * (DEFLATE if path.suffix == ".gz" else 1):
                raise DataError(f"{path} announces shape {shape}, but is too short for it")
            data = file.read(count + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(data) != count:
        held = f"{len(data)} bytes" if len(data) < count else "more"
        raise DataError(f"{path} announces shape {shape} and holds {held}")
    return np.frombuffer(data, np.uint8).reshape(shape)


class PickledArray:
    """A stand-in for an array while a pickle is read: a shape and bytes, nothing else.

    numpy would believe whatever the file says about the type of the elements.
    """

    def __init__(self, *_: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> Bytes:
        """Raises ValueError or TypeError where the file holds no array of bytes in C order."""
        _, shape, dtype, fortran, content = self.state
        if not isinstance(dtype, PickledType) or dtype.name not in ("u1", "|u1", b"u1", b"|u1"):
            raise TypeError("not an array of bytes")
        if fortran or not isinstance(content, bytes):
            raise TypeError("not in C order")
        array: Bytes = np.frombuffer(content, np.uint8).reshape(shape)
        return array


class PickledType:
    """A stand-in for a numpy.dtype: its name."""

    def __init__(self, name: object = None, *_: object) -> None:
        self.name = name

    def __setstate__(self, _: object) -> None:
        """Byte order and alignment, of which a byte has none."""


def encoded(text: str, encoding: str) -> bytes:
    """Python 3 writes bytes into a pickle of Python 2's format as text in latin1."""
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError(f"text encoded in {encoding} has no place in a file of images")
    return text.encode("latin1")


class ImageUnpickler(pickle.Unpickler):
    """A pickle may call anything; the functions that CIFAR-10's call are replaced by harmless
    ones."""

    ALLOWED: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): PickledArray,
        ("numpy._core.multiarray", "_reconstruct"): PickledArray,
        ("numpy", "ndarray"): None,
        ("numpy", "dtype"): PickledType,
        ("_codecs", "encode"): encoded,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of images")
        return self.ALLOWED[module, name]


def unpickled(content: bytes) -> Any:
    """The unpickled object. Raises whatever unpickling raises."""
    # The memo is as long as the largest place in it, whatever else there is in the file.
    for _, argument, _ in pickletools.genops(content):
        if isinstance(argument, int) and argument > max(len(content), 2**16):
            raise pickle.UnpicklingError(f"a place {argument} in a file of {len(content)} bytes")
    return ImageUnpickler(io.BytesIO(content), encoding="bytes").load()


def load_cifar10(directory: Path) -> Images:
    """CIFAR-10, version for Python: five training batches and one test batch, pickled."""

    def read(name: str) -> tuple[Bytes, list[int]]:
        path = directory / name
        try:
            batch = unpickled(path.read_bytes())
            images, labels = batch[b"data"].array().reshape(-1, 3, 32, 32), batch[b"labels"]
            if not isinstance(labels, list) or len(labels) != len(images):
                raise TypeError("labels that are not a list of one for each image")
            if not all(type(label) is int and 0 <= label < 256 for label in labels):
                raise TypeError("labels that are not whole numbers from 0 to 255")
        except Exception as error:  # a pickle may raise anything
            raise DataError(f"{path} is not a batch of CIFAR-10: {error!r}") from error
        return images, labels

    images, labels = zip(*(read(f"data_batch_{i}") for i in range(1, 6)), strict=True)
    test, test_labels = read("test_batch")
    return standardised(
        directory.resolve().name, np.concatenate(images), np.concatenate(labels), test, test_labels
    )


def load_digits() -> Images:
    """1,797 handwritten digits of 8×8 that come with scikit-learn; every sixth is for the test."""
    from sklearn import datasets

    digits = datasets.load_digits()
    images, labels = digits.images[:, None], digits.target
    held_out = np.arange(len(labels)) % 6 == 0
    return standardised(
        "scikit-learn's digits",
        images[~held_out],
        labels[~held_out],
        images[held_out],
        labels[held_out],
    )


def standardised(name: str, train: Any, train_labels: Any, test: Any, test_labels: Any) -> Images:
    """Numbers to tensors; images are (N, C, H, W)."""
    for images, labels in ((train, train_labels), (test, test_labels)):
        if len(images) != len(labels) or len(images) == 0:
            raise DataError(f"{name}: {len(images)} images but {len(labels)} labels")
    if train.shape[1:] != test.shape[1:]:
        raise DataError(f"{name}: train images {train.shape[1:]}, test images {test.shape[1:]}")
    deviation, mean = torch.std_mean(torch.tensor(train, dtype=torch.float32))

    def images_of(array: Any) -> Tensor:
        return (torch.tensor(array, dtype=torch.float32) - mean) / deviation.clamp_min(1e-6)

    def labels_of(array: Any) -> Tensor:
        return torch.tensor(np.asarray(array), dtype=torch.int64)

    return Images(
        name, images_of(train), labels_of(train_labels), images_of(test), labels_of(test_labels)
    )

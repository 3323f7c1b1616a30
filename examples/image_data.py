"""Real images for the examples: a directory of the user's, Debian's Fashion-MNIST, or digits."""

from __future__ import annotations

import gzip
import pickle
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common import DataError

# Where Debian's package dataset-fashion-mnist puts its files.
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


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
        read_idx(find(directory, name))
        for name in (
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        )
    )
    for images in (train, test):
        if images.ndim != 3:
            raise DataError(f"images in {directory} have {images.ndim - 1} dimensions and not 2")
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


def read_idx(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """One idx file: two zeros, the type (8: bytes), the number of sizes, the sizes, the bytes."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(f"{path} is not an idx file of bytes")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(f"{path} ends within its header")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    data = np.frombuffer(content, np.uint8, offset=start)
    if data.size != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path} announces shape {shape} and holds {data.size} bytes")
    return data.reshape(shape)


class ArrayUnpickler(pickle.Unpickler):
    """A pickle may call anything; CIFAR-10's needs no more than what makes an array."""

    ALLOWED = (
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of images")
        if module.startswith("numpy.core"):
            module = module.replace("numpy.core", "numpy._core")  # its name since NumPy 2
        return super().find_class(module, name)


def load_cifar10(directory: Path) -> Images:
    """CIFAR-10, version for Python: five training batches and one test batch, pickled."""

    def read(name: str) -> tuple[Any, Any]:
        try:
            with (directory / name).open("rb") as file:
                batch = ArrayUnpickler(file, encoding="bytes").load()
            return np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32), batch[b"labels"]
        except (OSError, EOFError, KeyError, TypeError, ValueError, pickle.PickleError) as error:
            raise DataError(f"{directory / name} is not a batch of CIFAR-10: {error!r}") from error

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

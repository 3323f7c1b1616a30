"""What the examples share: their options' types, pictures and numbers in files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from activations_ext import cpu_capability

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class DataError(Exception):
    """The data cannot be used; the message says why."""


@contextmanager
def explained(parser: argparse.ArgumentParser) -> Iterator[None]:
    """A DataError ends the program with its text, as a wrong option does."""
    try:
        yield
    except DataError as error:
        parser.error(str(error))


def figure_options(
    name: str, description: str, seeds: int | None = None
) -> argparse.ArgumentParser:
    """Where a figure and its numbers go and, of one that trains, on which images and how often."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    directory = Path("build/figures")
    parser.add_argument("--plot", type=Path, default=directory / f"{name}.png", help="the picture")
    parser.add_argument("--json", type=Path, default=directory / f"{name}.json", help="the numbers")
    if seeds is not None:
        parser.add_argument("--data", type=Path, metavar="DIR", help="images, as train_images.py's")
        parser.add_argument("--seeds", type=positive, default=seeds, help=" ")
    return parser


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def new_figure(*rows_and_columns: int, **options: Any) -> tuple[Figure, Any]:
    """matplotlib's figure and axes, for which no screen is needed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(*rows_and_columns, layout="constrained", **options)


def save_figure(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"The picture is in {path}.")


def save_numbers(numbers: dict[str, Any], path: Path) -> None:
    """As JSON, with the versions and machine that they depend on."""
    machine = {
        "torch": torch.__version__,
        "capability": cpu_capability(),
        "threads": torch.get_num_threads(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine} | numbers) + "\n")
    print(f"The numbers are in {path}.")

"""What csrc/math/minimax.py prints is what stands in the sources."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

SOURCES = Path(__file__).parents[1] / "csrc"
sys.path.insert(0, str(SOURCES / "math"))
import minimax  # noqa: E402

NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
HEADERS = [path.read_text() for path in SOURCES.rglob("*h") if path.suffix in (".h", ".cuh")]


def numbers(text: str) -> list[np.float32]:
    return [np.float32(number) for number in NUMBER.findall(text)]


def standing_tables() -> dict[str, list[list[np.float32]]]:
    found = {}
    for header in HEADERS:
        for name, rows in re.findall(
            r"constexpr (?:Pieces|Octaves)<.*?> (\w+) = \{(.*?)\}\};", header, re.S
        ):
            found[name] = [numbers(row) for row in re.findall(r"\{([^{}]+)", rows)]
    return found


@pytest.mark.parametrize("name", minimax.POLYNOMIALS)
@pytest.mark.slow
def test_polynomials(name: str) -> None:
    """The coefficients stand in a function of that name, constants beside it included."""
    (header,) = (text for text in HEADERS if re.search(rf"constexpr \S+ {name}\(", text))
    standing = {abs(number) for number in numbers(header)}
    coefficients, _ = minimax.POLYNOMIALS[name].fit()
    for coefficient in coefficients:
        assert abs(np.float32(minimax.digits(coefficient))) in standing, coefficient


def test_every_table_is_printed() -> None:
    assert set(standing_tables()) == set(minimax.TABLES)


@pytest.mark.parametrize("name", minimax.TABLES)
@pytest.mark.slow
def test_tables(name: str) -> None:
    """One piece of each: all of them take minutes."""
    table, standing = minimax.TABLES[name], standing_tables()[name]
    assert {len(row) for row in standing} == {table.count}
    place = sum(map(ord, name)) % table.count
    printed, _ = table.column(table.first + place)
    assert [row[place] for row in standing] == [np.float32(minimax.digits(c)) for c in printed]

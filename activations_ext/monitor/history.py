"""The past windows, of which a limited number is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

KEPT = 512


@dataclass(frozen=True)
class Moment:
    """One complete window, still on the device: numbers by layer."""

    step: int
    """The last step of the window."""
    shares: dict[str, Tensor]
    """The shares of dead units and of saturated slopes."""
    gradient_norms: dict[str, Tensor]


class History:
    """Complete windows in order. Where there are more than ``KEPT``, every second one goes, and of
    those to come every second, fourth, … is kept."""

    def __init__(self) -> None:
        self.stride = 1
        self._moments: list[Moment] = []
        self._appended = 0

    def append(self, moment: Moment) -> None:
        if self._appended % self.stride == 0:
            self._moments.append(moment)
        self._appended += 1
        if len(self._moments) > KEPT:
            del self._moments[1::2]
            self.stride *= 2

    def clear(self) -> None:
        self._moments.clear()
        self.stride, self._appended = 1, 0

    def __len__(self) -> int:
        return len(self._moments)

    def __iter__(self) -> Iterator[Moment]:
        return iter(self._moments)

    def __getitem__(self, place: int) -> Moment:
        return self._moments[place]

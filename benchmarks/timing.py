"""Interleaved timing of several ways to do one thing, so that all see the same noise."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch

TURN_SECONDS = 200e-6
"""One measurement lasts at least this long; the clock itself takes some 50 ns."""
ROUNDS = range(5, 301)


@dataclass(frozen=True)
class Contender:
    """Something to time."""

    run: Callable[[], object]
    prepare: Callable[[], object] | None = None
    """Runs before each run, untimed: an in-place function needs its input restored."""

    def turn(self, count: int) -> float:
        """The time of one of ``count`` runs, after one that is not timed."""
        run, prepare = self.run, self.prepare or (lambda: None)
        prepare()
        run()
        prepare()
        start = perf_counter()
        for _ in range(count):
            run()
        return (perf_counter() - start) / count


def interleaved(contenders: Mapping[str, Contender], seconds: float) -> dict[str, float]:
    """The median time of one run of each contender, in seconds.

    All of them take their turn once a round, each round starting with another one, so that a slow
    moment of the machine meets all alike. A turn begins with a run that is not timed: what the one
    before has left in the caches is not what is measured. As many rounds as fit into ``seconds``,
    but not fewer than ``ROUNDS`` begins with.
    """
    with _no_garbage_collection():
        repeats = {name: _repeats(contender) for name, contender in contenders.items()}
        # The first full round also says how many there can be.
        start = perf_counter()
        times = {name: [contenders[name].turn(repeats[name])] for name in contenders}
        round_seconds = perf_counter() - start
        rounds = int(seconds / round_seconds)
        rounds = min(max(rounds, ROUNDS.start), ROUNDS.stop - 1)
        names = list(contenders)
        for turn in range(1, rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                times[name].append(contenders[name].turn(repeats[name]))
    return {name: statistics.median(samples) for name, samples in times.items()}


def _repeats(contender: Contender) -> int:
    """How many timed runs make a turn; warms the contender up on the way."""
    contender.turn(1)
    if contender.prepare is not None:
        return 1
    count = 1
    while True:
        seconds = contender.turn(count) * count
        if seconds >= TURN_SECONDS:
            return count
        # At most ten times as many: the first runs are slower than later ones.
        wanted = count * TURN_SECONDS / max(seconds, 1e-9) * 1.2
        count = max(count + 1, min(10 * count, int(wanted)))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def copy_contender(bytes_moved: int) -> Contender:
    """A copy that reads half of ``bytes_moved`` and writes half, into memory that exists already:
    the floor of anything that moves as much."""
    source = torch.ones(max(bytes_moved // 8, 1))
    target = torch.zeros_like(source)
    return Contender(lambda: target.copy_(source))

"""Time calls in turns: whatever disturbs the machine then disturbs all of them alike."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from repflow_pl.quartiles import Quartiles

Name = TypeVar("Name")

#: Seconds that a turn of a fast call lasts at least.
TURN = 0.03
FEWEST_TURNS, MOST_TURNS = 3, 15


def in_turns(
    calls: Mapping[Name, Callable[[], object]], budget: float, wait: Callable[[], None]
) -> dict[Name, list[float]]:
    """Seconds of one call of each, turn by turn; `budget` seconds decide on the number of turns.

    A fast call is repeated within its turn, after one call that is not timed: nobody pays for the
    caches and waiting threads that the one before left. `wait` returns when the device is done.
    """
    repeats = {name: _repeats(call, wait) for name, call in calls.items()}
    times: dict[Name, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    while True:
        for name, call in calls.items():
            if repeats[name] > 1:
                call()
            times[name].append(seconds_of(call, wait, repeats[name]))
        done = len(next(iter(times.values())))
        spent = time.perf_counter() - begin
        if done >= MOST_TURNS or (done >= FEWEST_TURNS and spent * (done + 1) / done > budget):
            return times


def _repeats(call: Callable[[], object], wait: Callable[[], None]) -> int:
    """How many calls make a turn; the first call of all warms up and is not counted."""
    first = seconds_of(call, wait)
    if first > 10 * TURN:  # it is slow however warm; and calling it again would cost much
        return 1
    return max(1, math.ceil(TURN / seconds_of(call, wait)))


def seconds_of(call: Callable[[], object], wait: Callable[[], None], repeats: int = 1) -> float:
    """Of one call, where so many follow one another."""
    wait()
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return (time.perf_counter() - begin) / repeats


def columns(name: str, spread: Quartiles | None, digits: int = 5) -> dict[str, str]:
    """A record's columns of a median and its quartiles, empty where there are none."""
    values = () if spread is None else (spread.median, spread.low, spread.high)
    shown = [f"{value:.{digits}g}" for value in values] or [""] * 3
    return dict(zip((f"{name}median", f"{name}q25", f"{name}q75"), shown, strict=True))


def csv_of(lines: Sequence[Mapping[str, object]]) -> str:
    """A record of one line or more, all of the same columns; None is an empty cell."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()

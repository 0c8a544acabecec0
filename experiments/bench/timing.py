"""Time calls in turns: whatever disturbs the machine then disturbs all of them alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: Seconds that a turn of a fast call lasts at least.
TURN = 0.03
FEWEST_TURNS, MOST_TURNS = 3, 15


@dataclass(frozen=True)
class Quartiles:
    """A median, its lower and upper quartile, and the number of turns behind them."""

    median: float
    low: float
    high: float
    n: int


def quartiles(values: list[float]) -> Quartiles:
    """Of one value or more; the quartiles of three values lie between them."""
    if len(values) == 1:
        return Quartiles(values[0], values[0], values[0], 1)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(median, low, high, len(values))


def in_turns(
    calls: Mapping[str, Callable[[], None]], budget: float, wait: Callable[[], None]
) -> dict[str, list[float]]:
    """Seconds of one call of each, turn by turn; `budget` seconds decide on the number of turns.

    A fast call is repeated within its turn, after one call that is not timed: nobody pays for the
    caches and waiting threads that the one before left. `wait` returns when the device is done.
    """
    repeats = {name: _repeats(call, wait) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    while True:
        for name, call in calls.items():
            if repeats[name] > 1:
                call()
            times[name].append(_seconds(call, repeats[name], wait))
        done = len(next(iter(times.values())))
        spent = time.perf_counter() - begin
        if done >= MOST_TURNS or (done >= FEWEST_TURNS and spent * (done + 1) / done > budget):
            return times


def _repeats(call: Callable[[], None], wait: Callable[[], None]) -> int:
    """How many calls make a turn; the first call of all warms up and is not counted."""
    first = _seconds(call, 1, wait)
    if first > 10 * TURN:  # it is slow however warm; and calling it again would cost much
        return 1
    return max(1, math.ceil(TURN / _seconds(call, 1, wait)))


def _seconds(call: Callable[[], None], repeats: int, wait: Callable[[], None]) -> float:
    wait()
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return (time.perf_counter() - begin) / repeats

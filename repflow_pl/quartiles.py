"""A median and what half of the measured values lie between. Pure functions, of nothing but Python:
also where the layer alone is installed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Quartiles:
    """The three quartiles, and the number of values behind them."""

    low: float
    median: float
    high: float
    n: int

    def columns(self, name: str) -> dict[str, float]:
        """Of a CSV, in the order that all of them have: `<name>_median` and the two others."""
        return {f"{name}_median": self.median, f"{name}_q25": self.low, f"{name}_q75": self.high}


def quartiles(values: Sequence[float]) -> Quartiles:
    """Of one value or more; the quartiles of three values lie between them.

    >>> quartiles([4.0, 1.0, 3.0, 2.0, 5.0])
    Quartiles(low=2.0, median=3.0, high=4.0, n=5)
    """
    if len(values) == 1:
        return Quartiles(values[0], values[0], values[0], 1)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(low, median, high, len(values))


def quartiles_over(values: Sequence[float], others: Sequence[float]) -> Quartiles:
    """Of the first values over the second, turn by turn.

    >>> quartiles_over([2.0, 8.0], [1.0, 4.0]).low
    2.0
    """
    return quartiles([one / other for one, other in zip(values, others, strict=True)])

"""Means with 95 % intervals over seeds. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtrit

LEVEL = 0.95

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Estimate:
    """A mean over n runs, and half the width of its 95 % interval where n allows one."""

    mean: float
    half_width: float | None
    """None for a single run, which says nothing of its own spread."""
    n: int


@dataclass(frozen=True)
class Quartiles:
    """A median and what half of the values lie between."""

    low: float
    median: float
    high: float


def quartiles(values: Sequence[float]) -> Quartiles:
    """The three quartiles of two values or more.

    >>> quartiles([4.0, 1.0, 3.0, 2.0, 5.0])
    Quartiles(low=2.0, median=3.0, high=4.0)
    """
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


def mean_interval(values: Sequence[float]) -> Estimate:
    """The mean and its Student-t interval: t(0.975, n - 1) * s / sqrt(n), s with n - 1 degrees.

    The runs are taken as independent draws from one normal distribution.
    Errors: ValueError without any value.

    >>> mean_interval([1.0, 2.0, 3.0])
    Estimate(mean=2.0, half_width=2.484137711732149, n=3)
    """
    n = len(values)
    if n == 0:
        raise ValueError("a mean needs at least one value")
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    quantile = float(stdtrit(n - 1, (1 + LEVEL) / 2))
    return Estimate(mean, quantile * math.sqrt(variance / n), n)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> Estimate | None:
    """Mean and interval of a - b over the seeds that both have; None where they share none.

    Runs of one seed share their draw of the data, so differences within a seed spread less than
    the two rows do.
    """
    shared = sorted(a.keys() & b.keys())
    return mean_interval([a[seed] - b[seed] for seed in shared]) if shared else None


def verdict(difference: Estimate | None) -> Verdict:
    """Whether "the first is better" is shown, contradicted, or left open by a difference.

    It is shown where the whole interval lies above 0, contradicted where it lies below. One seed
    has no interval and decides nothing; nor does an interval without width: accuracies are whole
    numbers of videos, so two or three runs may agree by chance and pretend to certainty.
    """
    if difference is None or difference.half_width is None or difference.half_width < 1e-9:
        return "undecided"
    if difference.mean - difference.half_width > 0:
        return "holds"
    if difference.mean + difference.half_width < 0:
        return "fails"
    return "undecided"

"""Estimates with intervals over seeds and test videos, and what they decide. Pure functions.

Two sources of chance are crossed in a table's figures: the seed of a run, which moves all its
answers, and which videos happen to be in the test part, which all runs share; and videos that were
cut from one source are alike. The variance of a mean over both is put together from what seeds and
groups of videos contribute (Cornfield and Tukey, "Average values of mean squares in factorials",
Ann. Math. Stat. 1956), each with the quantile of its own degrees of freedom (Cochran,
"Approximate significance levels of the Behrens-Fisher test", Biometrics 1964): few seeds, many
groups. A bootstrap that resamples groups and seeds estimates the same variance, but from two or
three seeds it falls short of it by a half or a third and knows nothing of its own uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import stdtrit

LEVEL = 0.95
SEED_FREEDOM = 2
"""A verdict rests on so many degrees of freedom over seeds or more: three seeds, or two on two
splits. The intervals of fewer are right only where seeds spread normally, which two cannot show."""

EVEN = 0.02
"""Two rows are even where a difference as large as this is ruled out: 2 points, less than most of
those that the paper prints."""

Verdict = Literal["holds", "fails", "even", "undecided"]
MOST_SEEDS = 100
NO_VARIANCE = 1e-18
"""Less is rounding."""
LEAST_LOG_P = math.log(1e-9)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean, its 95 % interval where there is more than one run, and how surely it is not 0."""

    mean: float
    low: float | None
    high: float | None
    n: int
    """Seeds."""
    p: float | None = None
    """Of a mean as far from 0, or farther, where the truth is 0 (two-sided)."""
    freedom: int = 0
    """Degrees of freedom over seeds: of all splits together."""
    p_even: float | None = None
    """Of a mean as near to 0, or nearer, where the truth is EVEN away from it or more."""


@dataclass(frozen=True)
class Answers:
    """Of a row's runs on one test part."""

    values: Floats
    """[seeds, videos]: 1 where the answer is right, else 0; or the differences of two rows."""
    groups: npt.NDArray[np.int64]
    """[videos], from 0: videos of one number are alike."""


@dataclass(frozen=True)
class _Spread:
    """A mean's variance: what seeds contribute, and what groups of videos do beyond it."""

    mean: float
    seeds: float
    groups: float
    seed_freedom: int
    group_freedom: int

    @property
    def is_none(self) -> bool:
        """Where nothing spreads, which is chance: accuracies are whole numbers of videos."""
        return max(self.seeds, self.groups) <= NO_VARIANCE

    def half_width(self, p: float) -> float:
        """Half of the interval that leaves out the truth with probability p."""
        return math.hypot(
            *(
                float(stdtrit(freedom, 1 - p / 2)) * math.sqrt(variance)
                for variance, freedom in (
                    (self.seeds, self.seed_freedom),
                    (self.groups, self.group_freedom),
                )
                if variance > NO_VARIANCE
            )
        )

    @property
    def p(self) -> float | None:
        """At which the interval just ends at 0."""
        return self._p_of(abs(self.mean))

    @property
    def p_even(self) -> float | None:
        """At which the interval just ends at EVEN: two one-sided tests (Schuirmann, J.
        Pharmacokinet. Biopharm. 1987), each at half of the level, as the printed interval is."""
        return self._p_of(EVEN - abs(self.mean))

    def _p_of(self, half: float) -> float | None:
        """At which the interval is of this half width; 1 where that is not above 0. None where
        nothing spreads: it proves nothing."""
        if self.is_none:
            return None

        def beyond(log_p: float) -> float:
            return half - self.half_width(math.exp(log_p))

        if beyond(LEAST_LOG_P) >= 0:
            return math.exp(LEAST_LOG_P)
        if beyond(0.0) <= 0:  # a mean of 0: SciPy before 1.16 takes a half's quantile for 1e-17
            return 1.0
        return math.exp(float(brentq(beyond, LEAST_LOG_P, 0.0)))


def accuracy(parts: Sequence[Answers]) -> Estimate:
    """The mean over a row's splits, seeds and videos, with an interval that stays within 0 and 1.

    The interval is Wilson's ("Probable inference", JASA 1927) with as many independent videos as
    would give this variance. One seed has none: it says nothing of its own spread; nor has a part
    whose videos are all alike: they say nothing of other ones.
    """
    seeds = len(parts[0].values)
    if seeds == 1 or _of_one_group(parts):
        return Estimate(_crossed(parts).mean, None, None, seeds)
    return _wilson(parts)


def accuracy_of_one(network: Answers) -> Estimate:
    """That of one trained network, with an interval over the videos alone: what another seed would
    reach it does not say."""
    return _wilson([network])


def _wilson(parts: Sequence[Answers]) -> Estimate:
    spread = _crossed(parts)
    p = spread.mean
    half = spread.half_width(1 - LEVEL)
    # t^2 / n of Wilson's formula; a row without any mistake is as sure as its groups are many
    t = float(stdtrit(spread.group_freedom, (1 + LEVEL) / 2))
    h = half**2 / (p * (1 - p)) if half else t**2 / _groups(parts)
    centre = (p + h / 2) / (1 + h)
    reach = math.sqrt(h * p * (1 - p) + h**2 / 4) / (1 + h)
    low, high = max(0.0, min(p, centre - reach)), min(1.0, max(p, centre + reach))
    return Estimate(p, low, high, len(parts[0].values), freedom=spread.seed_freedom)


def difference(a: Sequence[Answers], b: Sequence[Answers]) -> Estimate:
    """Mean and interval of a - b, compared video by video and seed by seed; see `accuracy` for what
    has none.

    Errors: ValueError where the two were not asked the same.
    """
    spread, n = _crossed(_pairs(a, b)), len(a[0].values)
    return Estimate(spread.mean, None, None, n) if _of_one_group(a) else _symmetric(spread, n, -1.0)


def seeds_needed(a: Sequence[Answers], b: Sequence[Answers], comparisons: int) -> int | None:
    """With how many seeds a difference as large, spreading as it does, would be decided among so
    many comparisons; None where no number of seeds (up to 100) makes up for so few test videos, as
    for those that are all alike, or on which nothing spreads."""
    spread, n = _crossed(_pairs(a, b)), len(a[0].values)
    if _of_one_group(a) or spread.is_none:
        return None
    for more in range(n + 1, MOST_SEEDS + 1):
        freedom = len(a) * (more - 1)
        then = replace(spread, seeds=spread.seeds * n / more, seed_freedom=freedom)
        half, apart = then.half_width((1 - LEVEL) / comparisons), abs(spread.mean)
        if freedom >= SEED_FREEDOM and half < max(apart, EVEN - apart):
            return more
    return None


def mean_interval(values: Sequence[float], least: float = 0.0) -> Estimate:
    """The mean and its Student-t interval, t(0.975, n - 1) * s / sqrt(n), within `least` and 1.

    The runs are taken as independent draws from one normal distribution: over seeds alone.
    Errors: ValueError without any value.

    >>> round(mean_interval([0.1, 0.2, 0.3]).high, 4)
    0.4484
    """
    n = len(values)
    if n == 0:
        raise ValueError("a mean needs at least one value")
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / max(1, n - 1)
    return _symmetric(_Spread(mean, variance / n, 0.0, n - 1, 0), n, least)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> Estimate | None:
    """Mean and interval of a - b over the seeds that both have; None where they share none.

    For runs whose answers were not kept: it leaves out that other videos could have been tested.
    """
    shared = sorted(a.keys() & b.keys())
    return mean_interval([a[seed] - b[seed] for seed in shared], -1.0) if shared else None


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number (Holm, Scand. J. Statist. 1979).

    With no true difference anywhere the chance of any corrected value below 0.05 is 0.05 at most.
    None, which is not known yet, stays None and counts, so that no verdict goes when it comes.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.04, 0.09, None, 0.09]
    """
    known = sorted((p, k) for k, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, k) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(p_values) - rank)))
        corrected[k] = highest
    return corrected


def verdict(
    estimate: Estimate | None, corrected: float | None, corrected_even: float | None = None
) -> Verdict:
    """Whether "the first is better" is shown, contradicted, makes no difference worth the name, or
    is left open by a difference.

    Args:
        corrected: the difference's p-value, corrected for the number of comparisons.
        corrected_even: its `p_even`, likewise.
    """
    if estimate is None or estimate.freedom < SEED_FREEDOM:
        return "undecided"
    if corrected is not None and corrected < 1 - LEVEL:
        return "holds" if estimate.mean > 0 else "fails"
    if corrected_even is not None and corrected_even < 1 - LEVEL:
        return "even"
    return "undecided"


def _pairs(a: Sequence[Answers], b: Sequence[Answers]) -> list[Answers]:
    pairs = []
    for one, other in zip(a, b, strict=True):
        if one.values.shape != other.values.shape or (one.groups != other.groups).any():
            raise ValueError("a difference is of the same seeds on the same videos")
        pairs.append(Answers(one.values - other.values, one.groups))
    return pairs


def _crossed(parts: Sequence[Answers]) -> _Spread:
    """The average over parts of the mean over seeds x videos.

    With T[k, j] the sum of seed k over group j of n[j] videos, N videos and K seeds in a part:
    `seeds` is the variance of the seeds' means, `groups` that of a ratio of sums over groups
    (Cochran, "Sampling Techniques", 1977, eq. 6.13), and `both` that of what is left of T without
    either, which is contained in each and counted once.
    """
    means, groups, seeds, both = [], 0.0, 0.0, 0.0
    for part in parts:
        count, videos = part.values.shape
        n = np.bincount(part.groups).astype(float)
        sums = np.stack([np.bincount(part.groups, row, len(n)) for row in part.values])
        by_seed = sums.sum(1) / videos
        means.append(float(by_seed.mean()))
        correction = len(n) / max(1, len(n) - 1)
        by_group = sums.mean(0) - means[-1] * n
        groups += correction * float((by_group**2).sum()) / videos**2
        if count > 1:
            rest = sums - by_seed[:, None] * n - by_group
            seeds += float(by_seed.var(ddof=1)) / count
            both += correction * float((rest**2).sum()) / (videos**2 * count * (count - 1))
    splits = len(parts)
    return _Spread(
        mean=math.fsum(means) / splits,
        seeds=seeds / splits**2,
        groups=max(0.0, groups - both) / splits**2,
        seed_freedom=sum(len(part.values) - 1 for part in parts),
        group_freedom=_groups(parts) - splits,
    )


def _symmetric(spread: _Spread, n: int, least: float) -> Estimate:
    """An interval around the mean, cut off at `least` and 1; none where nothing spreads."""
    p = None if n == 1 else spread.p
    if p is None:
        return Estimate(spread.mean, None, None, n)
    half = spread.half_width(1 - LEVEL)
    low, high = max(least, spread.mean - half), min(1.0, spread.mean + half)
    return Estimate(spread.mean, low, high, n, p, spread.seed_freedom, spread.p_even)


def _of_one_group(parts: Sequence[Answers]) -> bool:
    return not all(part.groups.any() for part in parts)


def _groups(parts: Sequence[Answers]) -> int:
    return sum(int(part.groups.max()) + 1 for part in parts)

"""The statistics against independent formulas, and the interval's coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from repflow_pl.report.stats import Estimate, mean_interval, paired_difference, verdict


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_interval_is_that_of_scipys_t_distribution(n: int) -> None:
    values = np.random.default_rng(n).normal(0.6, 0.05, n)
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    estimate = mean_interval(list(values))
    assert estimate.n == n
    assert estimate.half_width is not None
    assert estimate.mean - estimate.half_width == pytest.approx(low, rel=1e-9)
    assert estimate.mean + estimate.half_width == pytest.approx(high, rel=1e-9)


def test_printed_quantiles() -> None:
    # Any table of Student's t: 12.706 with one degree of freedom, 4.303 with two.
    assert mean_interval([0.0, 2.0]).half_width == pytest.approx(12.706, abs=5e-4)
    assert mean_interval([-1.0, 0.0, 1.0]).half_width == pytest.approx(4.303 / 3**0.5, abs=5e-4)


def test_interval_covers_the_truth_in_95_of_100_samples() -> None:
    samples = np.random.default_rng(0).normal(0.7, 0.03, (4000, 3))
    estimates = [mean_interval(list(sample)) for sample in samples]
    covered = np.mean([abs(e.mean - 0.7) <= (e.half_width or 0.0) for e in estimates])
    # Four standard errors of a share of 0.95 among 4000.
    assert covered == pytest.approx(0.95, abs=0.014)


def test_one_value_has_no_interval_and_none_is_refused() -> None:
    assert mean_interval([0.5]) == Estimate(0.5, None, 1)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


def test_paired_difference_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.7, 0.1, 6), rng.normal(0.6, 0.1, 6)
    b = b + a  # a strong correlation, which an unpaired interval would throw away
    interval = stats.ttest_rel(a, b).confidence_interval(0.95)
    estimate = paired_difference(dict(enumerate(a)), dict(enumerate(b)))
    assert estimate is not None and estimate.half_width is not None
    assert estimate.mean - estimate.half_width == pytest.approx(interval.low, rel=1e-9)
    assert estimate.mean + estimate.half_width == pytest.approx(interval.high, rel=1e-9)


def test_only_shared_seeds_are_paired() -> None:
    assert paired_difference({0: 0.9, 1: 0.5, 7: 0.0}, {1: 0.25, 2: 0.1}) == Estimate(0.25, None, 1)
    assert paired_difference({0: 0.9}, {1: 0.9}) is None


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (Estimate(0.10, 0.05, 3), "holds"),
        (Estimate(-0.10, 0.05, 3), "fails"),
        (Estimate(0.04, 0.05, 3), "undecided"),
        (Estimate(-0.04, 0.05, 3), "undecided"),
        (Estimate(0.0, 0.0, 3), "undecided"),
        (Estimate(0.1, 1e-17, 2), "undecided"),
        (Estimate(0.50, None, 1), "undecided"),
        (None, "undecided"),
    ],
)
def test_verdict(difference: Estimate | None, expected: str) -> None:
    assert verdict(difference) == expected

"""The statistics against independent formulas, and what they promise by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from repflow_pl.report.stats import (
    EVEN,
    Answers,
    Estimate,
    accuracy,
    accuracy_of_one,
    difference,
    holm,
    mean_interval,
    paired_difference,
    seeds_needed,
    verdict,
)

Sizes = tuple[int, int, int, int]
SHAPES: Sizes = (1, 5, 320, 1)
"""Splits, seeds, groups a split and videos a group, as motion_shapes has them."""
UCF101: Sizes = (3, 2, 70, 3)


def net(
    rng: np.random.Generator,
    sizes: Sizes,
    seed_sd: float,
    difficulty: list[npt.NDArray[np.float64]],
    mean: float = 0.0,
) -> list[Answers]:
    """A network's answers on videos of known difficulty: right where the sum of its own taste in
    groups, its seed's luck and chance is above it."""
    splits, seeds, groups, per_group = sizes
    parts = []
    for split in range(splits):
        taste = np.repeat(rng.normal(0, 0.35, groups), per_group)
        luck = rng.normal(0, seed_sd, (seeds, 1))
        chance = rng.normal(0, 0.8, (seeds, groups * per_group))
        right = mean + taste + luck + chance > difficulty[split]
        parts.append(Answers(right.astype(float), np.repeat(np.arange(groups), per_group)))
    return parts


def videos(rng: np.random.Generator, sizes: Sizes) -> list[npt.NDArray[np.float64]]:
    """How hard the videos of each split are; those of a group are alike."""
    splits, _, groups, per_group = sizes
    return [
        np.repeat(rng.normal(0, 0.7, groups), per_group) + rng.normal(0, 0.5, groups * per_group)
        for _ in range(splits)
    ]


@pytest.mark.long
@pytest.mark.parametrize("sizes", [SHAPES, UCF101], ids=["shapes", "ucf101"])
@pytest.mark.parametrize("seed_sd", [0.1, 0.3])
def test_intervals_cover_the_truth_in_93_to_97_of_100_draws(sizes: Sizes, seed_sd: float) -> None:
    rng = np.random.default_rng(3)
    mean = 0.4
    deviation = float(np.sqrt(0.7**2 + 0.5**2 + 0.35**2 + 0.8**2 + seed_sd**2))
    truth = float(stats.norm.cdf(mean / deviation))
    draws, one, two = 1500, 0, 0
    for _ in range(draws):
        hard = videos(rng, sizes)
        a, b = (net(rng, sizes, seed_sd, hard, mean) for _ in range(2))
        top1, apart = accuracy(a), difference(a, b)
        one += top1.low <= truth <= top1.high
        two += apart.low <= 0.0 <= apart.high
    assert 0.93 <= one / draws <= 0.97
    assert 0.93 <= two / draws <= 0.97


@pytest.mark.long
@pytest.mark.parametrize("sizes", [SHAPES, UCF101], ids=["shapes", "ucf101"])
def test_at_most_one_table_in_twenty_has_a_false_verdict(sizes: Sizes) -> None:
    """Six claims, all of one row against six others, and no true difference."""
    rng = np.random.default_rng(5)
    tables, wrong = 400, 0
    for _ in range(tables):
        hard = videos(rng, sizes)
        first, *others = (net(rng, sizes, 0.2, hard) for _ in range(7))
        found = [difference(first, other) for other in others]
        corrected = holm([each.p for each in found])
        wrong += any(
            verdict(each, p) != "undecided" for each, p in zip(found, corrected, strict=True)
        )
    assert wrong / tables <= 0.05


@pytest.mark.long
def test_seeds_that_are_added_until_a_claim_is_decided_make_false_verdicts_likelier() -> None:
    """As often as the page of claims says: in one table of nine."""
    rng = np.random.default_rng(11)
    sizes, tables, wrong = (1, 6, 320, 1), 800, 0
    for _ in range(tables):
        hard = videos(rng, sizes)
        first, *others = (net(rng, sizes, 0.2, hard)[0] for _ in range(7))
        for seeds in (3, 4, 5, 6):
            a, *rest = ([Answers(n.values[:seeds], n.groups)] for n in (first, *others))
            found = [difference(a, other) for other in rest]
            corrected = holm([each.p for each in found])
            if any(verdict(e, p) != "undecided" for e, p in zip(found, corrected, strict=True)):
                wrong += 1
                break
    assert 0.09 <= wrong / tables <= 0.13


@pytest.mark.parametrize(
    ("sizes", "top1"), [((1, 3, 320, 1), 0.995), ((1, 5, 4000, 1), 0.6)], ids=["high", "many"]
)
def test_at_most_one_table_in_twenty_calls_two_points_even(sizes: Sizes, top1: float) -> None:
    """Three claims of one row against three others that are all just EVEN worse, where intervals
    are narrow enough to call anything even: of rows near 100 %, and of many videos."""
    rng = np.random.default_rng(8)
    deviation = float(np.sqrt(0.7**2 + 0.5**2 + 0.35**2 + 0.8**2 + 0.05**2))
    means = [deviation * float(stats.norm.ppf(p)) for p in (top1, *[top1 - EVEN] * 3)]
    tables, wrong = 300, 0
    for _ in range(tables):
        hard = videos(rng, sizes)
        first, *others = (net(rng, sizes, 0.05, hard, mean) for mean in means)
        found = [difference(first, other) for other in others]
        even = holm([each.p_even for each in found])
        wrong += any(verdict(each, 1.0, p) == "even" for each, p in zip(found, even, strict=True))
    assert wrong / tables <= 0.05


def test_networks_that_hardly_differ_are_even() -> None:
    rng = np.random.default_rng(9)
    y = (rng.random(640) < 0.97).astype(float)
    one, other = (
        [Answers(np.where(rng.random((3, 640)) < 0.01, 1 - y, y), np.arange(640))] for _ in range(2)
    )
    found = difference(one, other)
    assert verdict(found, found.p, holm([found.p_even] * 6)[0]) == "even"
    assert -EVEN < found.low <= 0 <= found.high < EVEN
    few = difference(*([Answers(a[0].values[:, :40], np.arange(40))] for a in (one, other)))
    assert verdict(few, few.p, few.p_even) == "undecided"


def test_a_true_difference_of_ten_points_is_found() -> None:
    rng = np.random.default_rng(6)
    hard = videos(rng, UCF101)
    better, worse = net(rng, UCF101, 0.1, hard, 0.7), net(rng, UCF101, 0.1, hard, 0.2)
    found = difference(better, worse)
    assert verdict(found, holm([found.p, 0.9, None])[0]) == "holds"
    other_way = difference(worse, better)
    assert verdict(other_way, other_way.p) == "fails"


def test_the_variance_is_that_of_the_balanced_two_way_table() -> None:
    """Against the mean squares of a random-effects analysis of variance, seeds x videos."""
    rng = np.random.default_rng(0)
    seeds, count = 6, 40
    y = 0.5 + rng.normal(0, 0.2, (seeds, 1)) + rng.normal(0, 0.1, count)
    y = y + rng.normal(0, 0.1, (seeds, count))
    rows, columns = y.mean(1), y.mean(0)
    rest = y - rows[:, None] - columns + y.mean()
    ms_rows = count * ((rows - y.mean()) ** 2).sum() / (seeds - 1)
    ms_columns = seeds * ((columns - y.mean()) ** 2).sum() / (count - 1)
    ms_rest = (rest**2).sum() / ((seeds - 1) * (count - 1))
    by_seeds, by_videos = ms_rows / (seeds * count), (ms_columns - ms_rest) / (seeds * count)
    t = [stats.t.ppf(0.975, freedom) for freedom in (seeds - 1, count - 1)]
    half = (t[0] ** 2 * by_seeds + t[1] ** 2 * by_videos) ** 0.5
    zeros = [Answers(np.zeros_like(y), np.arange(count))]
    found = difference([Answers(y, np.arange(count))], zeros)
    assert found.mean == pytest.approx(y.mean())
    assert found.low == pytest.approx(y.mean() - half)
    assert found.high == pytest.approx(min(1.0, y.mean() + half))
    assert found.p < 0.05
    touching = difference([Answers(y - y.mean() + half, np.arange(count))], zeros)
    assert touching.p == pytest.approx(0.05)


def test_with_many_seeds_and_groups_it_agrees_with_a_bootstrap_of_both() -> None:
    """Groups of unequal size, resampled whole; then seeds. What both do together is small here."""
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 8, 120)
    groups = np.repeat(np.arange(120), sizes)
    hard = rng.normal(0, 1.0, 120)[groups] + rng.normal(0, 0.3, len(groups))
    y = (rng.normal(0, 0.5, (40, 1)) + rng.normal(0, 0.2, (40, len(groups))) > hard).astype(float)
    sums = np.stack([np.bincount(groups, row) for row in y])
    means = []
    for _ in range(4000):
        drawn = rng.integers(0, 120, 120)
        seeds = rng.integers(0, 40, 40)
        means.append(sums[seeds][:, drawn].sum() / (40 * sizes[drawn].sum()))
    zeros = [Answers(np.zeros_like(y), groups)]
    found = difference([Answers(y, groups)], zeros)
    bootstrap = float(np.std(means))
    assert (found.high - found.low) / 2 == pytest.approx(2.0 * bootstrap, rel=0.06)


def test_alike_videos_count_for_less() -> None:
    rng = np.random.default_rng(2)
    each = (rng.random((3, 60)) + 0.3 * rng.normal(0, 1, 60) < 0.6).astype(float)
    copied = np.repeat(each, 4, axis=1)
    apart = accuracy([Answers(copied, np.arange(240))])
    together = accuracy([Answers(copied, np.repeat(np.arange(60), 4))])
    once = accuracy([Answers(each, np.arange(60))])
    assert together == once  # three copies of a video say nothing new
    assert apart.low > together.low


def test_no_interval_leaves_0_to_1_and_a_perfect_row_is_not_certain() -> None:
    rng = np.random.default_rng(4)
    for seeds, count, p in itertools.product((2, 3), (10, 300), (0.0, 0.01, 0.5, 0.99, 1.0)):
        y = (rng.random((seeds, count)) < p).astype(float)
        found = accuracy([Answers(y, np.arange(count))])
        assert 0 <= found.low <= found.mean <= found.high <= 1
        assert found.high > found.low
    perfect = accuracy([Answers(np.ones((2, 50)), np.arange(50))])
    assert 0.9 < perfect.low < 0.95 and perfect.high == 1
    far = paired_difference({0: 1.0, 1: 0.1}, {0: 0.0, 1: 0.0})
    assert (far.low, far.high) == (-1.0, 1.0)
    assert mean_interval([0.1, 0.9]).low == 0.0 and mean_interval([0.1, 0.9]).high == 1.0


@pytest.mark.parametrize("right", [0, 1, 96, 319, 320])
def test_one_network_has_wilsons_interval_over_the_videos(right: int) -> None:
    found = accuracy_of_one(Answers((np.arange(320) < right)[None].astype(float), np.arange(320)))
    expected = stats.binomtest(right, 320).proportion_ci(method="wilson")
    assert found.mean == right / 320 and found.n == 1
    # t of 319 degrees of freedom is 0.4 % above the normal quantile
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=4e-4)


def test_one_seed_has_no_interval_and_decides_nothing() -> None:
    one = [Answers(np.ones((1, 50)), np.arange(50))]
    other = [Answers(np.zeros((1, 50)), np.arange(50))]
    assert accuracy(one) == Estimate(1.0, None, None, 1)
    assert verdict(difference(one, other), difference(one, other).p) == "undecided"
    assert mean_interval([0.5]) == Estimate(0.5, None, None, 1)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


@pytest.mark.parametrize("rounding", [0.0, 1e-17, -1e-17])
def test_a_difference_of_exactly_0_is_no_evidence(
    rounding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where SciPy's quantile of one half is off by rounding, as before 1.16."""
    quantile = stats.t.ppf
    monkeypatch.setattr("repflow_pl.report.stats.stdtrit", lambda f, p: quantile(p, f) + rounding)
    same = paired_difference({0: 0.75, 1: 0.25}, {0: 0.25, 1: 0.75})
    assert (same.mean, same.p) == (0.0, 1.0)
    assert same.low < 0
    equal = paired_difference({0: 0.75, 1: 0.25}, {0: 0.75, 1: 0.25})
    assert equal.mean == 0.0 and equal.p is None


def test_videos_that_are_all_alike_have_no_interval_and_decide_nothing() -> None:
    """Of a single person or source: the spread over others is not known, however many seeds."""
    rng = np.random.default_rng(10)
    better, worse = ((rng.random((5, 40)) < p).astype(float) for p in (0.9, 0.3))
    some, one = np.repeat(np.arange(4), 10), np.zeros(40, np.int64)
    for groups in ([one], [some, one]):
        a, b = ([Answers(each, group) for group in groups] for each in (better, worse))
        assert accuracy(a) == Estimate(pytest.approx(better.mean()), None, None, 5)
        assert accuracy([Answers(np.ones((2, 4)), one[:4])]).low is None
        found = difference(a, b)
        assert found == Estimate(pytest.approx(better.mean() - worse.mean()), None, None, 5)
        assert verdict(found, found.p, found.p_even) == "undecided"
        assert seeds_needed(a, b, 1) is None
    assert accuracy([Answers(better, some)]).low is not None


def test_no_number_of_seeds_decides_what_does_not_spread() -> None:
    same = [Answers(np.ones((3, 50)), np.arange(50))]
    assert difference(same, same).p is None and seeds_needed(same, same, 1) is None


def test_only_the_same_videos_are_compared() -> None:
    one, other = (Answers(np.ones((2, n)), np.arange(n)) for n in (4, 5))
    with pytest.raises(ValueError, match="same videos"):
        difference([one], [other])


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_interval_over_seeds_alone_is_that_of_scipys_t_distribution(n: int) -> None:
    values = np.random.default_rng(n).normal(0.6, 0.01, n)
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    estimate = mean_interval(list(values))
    assert (estimate.n, estimate.freedom) == (n, n - 1)
    assert estimate.low == pytest.approx(low, rel=1e-9)
    assert estimate.high == pytest.approx(high, rel=1e-9)


def test_paired_difference_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.7, 0.1, 6), rng.normal(0.1, 0.1, 6)
    b = b + a  # a strong correlation, which an unpaired interval would throw away
    test = stats.ttest_rel(a, b)
    interval = test.confidence_interval(0.95)
    estimate = paired_difference(dict(enumerate(a)), dict(enumerate(b)))
    assert estimate.low == pytest.approx(interval.low, rel=1e-9)
    assert estimate.high == pytest.approx(interval.high, rel=1e-9)
    assert estimate.p == pytest.approx(test.pvalue, rel=1e-9)
    assert paired_difference({0: 0.9, 1: 0.5}, {1: 0.25, 2: 0.1}) == Estimate(0.25, None, None, 1)
    assert paired_difference({0: 0.9}, {1: 0.9}) is None


def test_holm_is_the_textbooks() -> None:
    """Holm 1979: the k-th smallest of m times m - k + 1, never below the one before it."""
    p = [0.01, 0.02, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([None, 0.2]) == [None, 0.4], "what is not known yet may come"


@pytest.mark.parametrize(
    ("estimate", "corrected", "expected"),
    [
        (Estimate(0.10, 0.05, 0.15, 3, 0.01, 2), 0.04, "holds"),
        (Estimate(-0.10, -0.15, -0.05, 3, 0.01, 2), 0.04, "fails"),
        (Estimate(0.10, 0.05, 0.15, 3, 0.01, 2), 0.06, "undecided"),
        (Estimate(0.10, 0.05, 0.15, 2, 0.01, 1), 0.01, "undecided"),
        (Estimate(0.0, 0.0, 0.0, 3, None, 2), None, "undecided"),
        (None, None, "undecided"),
    ],
)
def test_verdict(estimate: Estimate | None, corrected: float | None, expected: str) -> None:
    assert verdict(estimate, corrected) == expected

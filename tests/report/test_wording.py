"""How figures are written."""

from __future__ import annotations

import pytest

from repflow_pl.report import tidy
from repflow_pl.report.stats import Estimate
from repflow_pl.report.wording import percent, points


@pytest.mark.parametrize("videos", [3, 5, 20, 47, 188, 313, 393])
def test_a_figure_between_two_reads_the_same_however_it_was_computed(videos: int) -> None:
    """Whole numbers of 400 videos are often just between two tenths of a point."""
    exact = videos / 400
    ways = [exact, sum([exact / 3] * 3), 1 - (1 - exact), float(f"{exact:.6g}"), exact - 1e-12]
    assert len({percent(each) for each in ways}) == 1
    assert len({points(Estimate(each, None, None, 3)) for each in ways}) == 1


def test_a_csv_is_the_same_whatever_error_a_sum_has() -> None:
    """Where a mean lies just between two of a column's figures, as 637 of 640 does."""
    assert {tidy._percent(637 / 640 + error) for error in (-3e-16, 0.0, 3e-16)} == {99.5312}

"""The table of iterations: how many does the flow layer need?

Piergiovanni and Ryoo (CVPR 2019), Section 4.2: the flow layer after block 3 with 1 to 100
iterations of Alg. 1, its parameters trained or left at their initial values.

    python experiments/table_iterations.py
"""

from __future__ import annotations

import sys

from repflow_pl.cli import main
from repflow_pl.profiles import Profile
from repflow_pl.report.paper import UNVERIFIED_MARK
from repflow_pl.report.table import Ordering, Row, Table
from repflow_pl.specs import DataSpec

BLOCK = 3
COUNTS = (1, 5, 10, 20, 50, 100)
MANY = 20
"""The paper profile's count."""


def iterations(profile: Profile, data: DataSpec) -> Table:
    """The rows differ in `n_iter` and in `learn`."""

    def row(count: int, is_learned: bool) -> Row:
        changes = {} if is_learned else {"learn": ()}
        return Row(
            _name(count, is_learned),
            profile.flow_after(data, BLOCK, n_iter=count, **changes),
            paper=str(count),
            paper_column="learned" if is_learned else "not_learned",
            group="learned" if is_learned else "not learned",
            series="learned" if is_learned else "not learned",
            x=count,
        )

    return Table(
        name="iterations",
        title="How many iterations the flow needs",
        rows=tuple(row(count, is_learned) for is_learned in (False, True) for count in COUNTS),
        paper_csv="iterations",
        source="Section 4.2",
        # so by the paper's figures as they are known here; no text that says it is at hand
        orderings=(
            Ordering(
                f"{_name(MANY, True)} beats {_name(1, True)}{UNVERIFIED_MARK}",
                _name(MANY, True),
                _name(1, True),
            ),
            *(
                Ordering(
                    f"{_name(count, True)} beats not learned{UNVERIFIED_MARK}",
                    _name(count, True),
                    _name(count, False),
                )
                for count in COUNTS
            ),
        ),
        plot="curve",
        x_title="iterations",
    )


def _name(count: int, is_learned: bool) -> str:
    plural = "iteration" if count == 1 else "iterations"
    return f"{count} {plural}, {'learned' if is_learned else 'not learned'}"


if __name__ == "__main__":
    sys.exit(main(iterations))

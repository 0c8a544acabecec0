"""The table of fusions: should appearance go on beside the flow?

Piergiovanni and Ryoo (CVPR 2019), Section 4.2: the flow layer on the RGB input, after block 1 and
after block 3, alone or joined with the features it is computed of: by addition, multiplication or
concatenation, or late, with the class probabilities of the plain RGB network.

    python experiments/table_fusion.py
"""

from __future__ import annotations

import sys

from repflow_pl.cli import main
from repflow_pl.profiles import Profile
from repflow_pl.report.paper import UNVERIFIED_MARK
from repflow_pl.report.table import Ordering, Row, Table
from repflow_pl.specs import DataSpec, late

PLACES = {"RGB input": (0, "rgb_input"), "block 1": (1, "block_1"), "block 3": (3, "block_3")}


def fusion(profile: Profile, data: DataSpec) -> Table:
    """The rows differ in where the flow is computed and in what joins it."""

    def rows_at(place: str) -> list[Row]:
        block, column = PLACES[place]

        def row(kind: str, **changes: str) -> Row:
            spec = profile.flow_after(data, block, **changes)
            if kind == "Late":
                spec = late(profile.rgb(data), spec)
            return Row(f"{kind}, {place}", spec, paper=kind, paper_column=column, group=place)

        return [
            row("None"),
            row("Late"),
            *(row(kind, fuse=kind.lower()) for kind in ("Add", "Multiply", "Concat")),
        ]

    return Table(
        name="fusion",
        title="How to join the flow with appearance",
        rows=tuple(row for place in PLACES for row in rows_at(place)),
        paper_csv="fusion",
        source="Section 4.2",
        # so by the paper's figures as they are known here; no text that says it is at hand
        orderings=tuple(
            Ordering(
                f"after block 3, no fusion beats {kind.lower()}{UNVERIFIED_MARK}",
                "None, block 3",
                f"{kind}, block 3",
            )
            for kind in ("Add", "Multiply", "Concat")
        ),
    )


if __name__ == "__main__":
    sys.exit(main(fusion))

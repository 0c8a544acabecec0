"""The placement table: where in the network should the flow be computed?

Piergiovanni and Ryoo (CVPR 2019), Section 4.2: an RGB network, a TV-L1 network, both, and the flow
layer on the RGB input and after each block. The paper finds block 3 best.

    python experiments/table_placement.py                    # embedded data, two CPU cores
    python experiments/table_placement.py --seeds 3
    python experiments/table_placement.py --data folder --data-root VIDEOS --profile paper
"""

from __future__ import annotations

import dataclasses
import sys

from repflow_pl.cli import main
from repflow_pl.profiles import Profile
from repflow_pl.report.table import Ordering, Row, Table
from repflow_pl.specs import DataSpec


def placement(profile: Profile, data: DataSpec) -> Table:
    """The rows, from a profile's plain RGB network."""
    one_frame = dataclasses.replace(data, clip=dataclasses.replace(data.clip, frames=1))
    shuffled = dataclasses.replace(data, clip=dataclasses.replace(data.clip, order="shuffled"))
    after = {block: f"After block {block}" for block in range(1, 6)}
    on_rgb = "Flow layer on RGB inputs"
    rows = [
        Row("RGB CNN", profile.rgb(data), paper="RGB CNN"),
        Row("Flow CNN", profile.tvl1(data), paper="Flow CNN"),
        Row("Two-stream CNN", profile.two_stream(data), paper="Two-stream CNN"),
        Row(on_rgb, profile.flow_after(data, 0), paper=on_rgb),
        *(Row(name, profile.flow_after(data, k), paper=name) for k, name in after.items()),
        Row("RGB CNN on one frame", profile.rgb(one_frame), control=True),
        Row("After block 3 on shuffled frames", profile.flow_after(shuffled, 3), control=True),
    ]
    return Table(
        name="placement",
        title="Where to compute the flow",
        rows=tuple(rows),
        paper_csv="placement",
        source="Section 4.2",
        orderings=tuple(
            Ordering(f"flow after block 3 beats {worse}", after[3], worse)
            for worse in ("RGB CNN", on_rgb, after[1], after[2], after[4], after[5])
        ),
    )


if __name__ == "__main__":
    sys.exit(main(placement))

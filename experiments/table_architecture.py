"""The table of structures: what does the flow of the flow see?

Piergiovanni and Ryoo (CVPR 2019), Section 4.2: one flow layer after block 3; a second one right
behind it (Flow-of-Flow); with convolutions between them (Flow-Conv-Flow); a third one; and TV-L1
of the TV-L1 fields. The paper finds Flow-Conv-Flow best, and Flow-of-Flow worse than one layer.

    python experiments/table_architecture.py --seeds 3
"""

from __future__ import annotations

import sys

from repflow_pl.cli import main
from repflow_pl.profiles import Profile
from repflow_pl.report.paper import UNVERIFIED_MARK
from repflow_pl.report.table import Ordering, Row, Table
from repflow_pl.specs import DataSpec

BLOCK = 3


def architecture(profile: Profile, data: DataSpec) -> Table:
    """The rows differ in how many flow layers there are and in what stands between them."""
    single, fof, fcf, fcfcf = (
        "Single flow layer",
        "Flow-of-Flow (FoF)",
        "Flow-Conv-Flow (FcF)",
        "Flow-Conv-Flow-Conv-Flow (FcFcF)",
    )
    released = "FcF with the released residual"
    structures = {
        single: profile.flow_after(data, BLOCK),
        fof: profile.flow_after(data, BLOCK, layers=2),
        fcf: profile.flow_after(data, BLOCK, layers=2, convolve=True),
        fcfcf: profile.flow_after(data, BLOCK, layers=3, convolve=True),
    }
    return Table(
        name="architecture",
        title="Flow of flow",
        rows=(
            Row("TV-L1 twice", profile.tvl1_twice(data), paper="TV-L1 twice"),
            *(Row(name, spec, paper=name) for name, spec in structures.items()),
            Row(released, profile.fcf_after(data, BLOCK)),
        ),
        paper_csv="structure",
        source="Section 4.2",
        orderings=(
            Ordering("FcF beats a single flow layer", fcf, single),
            Ordering(f"a single flow layer beats FoF{UNVERIFIED_MARK}", single, fof),
            Ordering(f"FcF beats FcFcF{UNVERIFIED_MARK}", fcf, fcfcf),
            Ordering(f"{released} beats a single flow layer", released, single),
        ),
        notes=(
            "FcF with the released residual adds the averaged RGB features to the flow, as the "
            "released code does; the other rows pass on nothing but flow. The paper says that "
            "nothing is fused; so which of the two its figure is of is not known.",
        ),
    )


if __name__ == "__main__":
    sys.exit(main(architecture))

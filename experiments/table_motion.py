"""The motion table: the flow layer against other representations of motion.

Piergiovanni and Ryoo (CVPR 2019), their comparison with other motion representations:
ActionFlowNet, MFNet, TVNet and RGB-OFF beside the flow layer after block 3, all tested on RGB
alone, at the same backbone, clips and recipe. The paper finds its layer best. The files of
repflow_pl/models and repflow_pl/layers say what is as published and what is not.

    python experiments/table_motion.py                    # embedded data, two CPU cores
    python experiments/table_motion.py --seeds 3
    python experiments/table_motion.py --data folder --data-root VIDEOS --profile paper
"""

from __future__ import annotations

import sys

from repflow_pl.cli import main
from repflow_pl.profiles import Profile
from repflow_pl.report.table import Ordering, Row, Table
from repflow_pl.specs import DataSpec


def motion(profile: Profile, data: DataSpec) -> Table:
    """The rows, all trained as networks with a flow layer are; the plain network as a control."""
    ours = "Flow layer after block 3"
    others = {
        "ActionFlowNet": profile.actionflownet,
        "MFNet": profile.motion_filter,
        "TVNet": profile.tvnet,
        "RGB-OFF": profile.off,
    }
    rows = [
        *(Row(name, profile.motion(data, spec), paper=name) for name, spec in others.items()),
        Row(ours, profile.flow_after(data, 3), paper="Ours"),
        Row("RGB CNN", profile.rgb(data), control=True),
    ]
    return Table(
        name="motion",
        title="Representations of motion",
        rows=tuple(rows),
        paper_csv="motion",
        source="the comparison of motion representations",
        orderings=tuple(Ordering(f"the flow layer beats {name}", ours, name) for name in others),
    )


if __name__ == "__main__":
    sys.exit(main(motion))

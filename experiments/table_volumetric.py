"""The volumetric table: does the flow layer help networks that see motion by themselves?

Piergiovanni and Ryoo (CVPR 2019), Section 4: a 3D and a (2+1)D ResNet on RGB, on TV-L1 fields, and
with the flow layer or Flow-Conv-Flow after block 3.

    python experiments/table_volumetric.py                    # embedded data, two CPU cores
    python experiments/table_volumetric.py --seeds 3
    python experiments/table_volumetric.py --data folder --data-root VIDEOS --profile paper
"""

from __future__ import annotations

import sys

from repflow_pl.cli import main
from repflow_pl.errors import UserError
from repflow_pl.profiles import Profile, build_profile
from repflow_pl.report.table import Ordering, Row, Table
from repflow_pl.specs import DataSpec, RunSpec

BLOCK = 3
NOT_IN_THE_PAPER = "3D ResNet: RGB + FcF"


def volumetric(profile: Profile, data: DataSpec) -> Table:
    """The rows, from a profile's two volumetric backbones."""
    if profile.backbone != build_profile(profile.name, data.name).backbone:
        raise UserError("this table compares two backbones of the profile: leave out --backbone.")
    kinds = {"3D ResNet": profile.backbone_3d, "(2+1)D ResNet": profile.backbone_2plus1d}
    rows = []
    for kind, name in kinds.items():
        of_kind = profile.on(name)
        rows += [
            _row(f"{kind}: RGB", of_kind.rgb(data)),
            _row(f"{kind}: TV-L1 flow", of_kind.tvl1(data)),
            _row(f"{kind}: RGB + Rep. Flow", of_kind.flow_after(data, BLOCK)),
            _row(f"{kind}: RGB + FcF", of_kind.fcf_after(data, BLOCK)),
        ]
    return Table(
        name="volumetric",
        title="Flow in volumetric networks",
        rows=tuple(rows),
        paper_csv="volumetric",
        source="Section 4",
        # By the paper's table of the state of the art; no other ordering here is established.
        orderings=(
            Ordering(
                "the flow layer helps a (2+1)D network",
                "(2+1)D ResNet: RGB + Rep. Flow",
                "(2+1)D ResNet: RGB",
            ),
            Ordering(
                "FcF beats one flow layer in a (2+1)D network",
                "(2+1)D ResNet: RGB + FcF",
                "(2+1)D ResNet: RGB + Rep. Flow",
            ),
        ),
    )


def _row(name: str, spec: RunSpec) -> Row:
    return Row(name, spec, paper=None if name == NOT_IN_THE_PAPER else name)


if __name__ == "__main__":
    sys.exit(main(volumetric))

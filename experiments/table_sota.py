"""The state of the art: every row of the paper's comparison, 2D, (2+1)D and 3D networks.

Piergiovanni and Ryoo (CVPR 2019), Section 4.3: plain, two-stream and other motion networks beside
the flow layer and Flow-Conv-Flow. The picture is accuracy over time per clip.

    python experiments/table_sota.py                    # embedded data, two CPU cores
    python experiments/table_sota.py --data folder --data-root VIDEOS --profile paper --devices 8
"""

from __future__ import annotations

import sys

from repflow_pl.cli import main
from repflow_pl.errors import UserError
from repflow_pl.profiles import Profile, build_profile
from repflow_pl.report.table import Ordering, Row, Table
from repflow_pl.specs import DataSpec, RunSpec, late

BLOCK = 3
CLAIMED = (
    ("Ours (2D CNN + Rep. Flow)", "RGB"),
    ("Ours (2D CNN + Rep. Flow)", "Two-stream"),
    ("Ours (2D CNN + FcF)", "Ours (2D CNN + Rep. Flow)"),
    ("Ours ((2+1)D CNN + Rep. Flow)", "RGB R(2+1)D"),
    ("Ours ((2+1)D CNN + FcF)", "Ours ((2+1)D CNN + Rep. Flow)"),
    ("Ours ((2+1)D CNN + FcF) + Non-local", "Ours ((2+1)D CNN + FcF)"),
    ("Ours ((2+1)D CNN + FcF)", "Two-Stream R(2+1)D"),
)
"""What the paper's figures on Kinetics say of neighbours in its argument; all are verified."""


def sota(profile: Profile, data: DataSpec) -> Table:
    """All 19 rows, in the paper's groups."""
    if profile.backbone != build_profile(profile.name, data.name).backbone:
        raise UserError("this table compares the profile's own backbones: leave out --backbone.")
    groups = {
        "2D CNNs": _plane(profile, data),
        "(2+1)D CNNs": _separable(profile, data),
        "3D CNNs": _volumetric(profile, data),
    }
    return Table(
        name="sota",
        title="State of the art",
        rows=tuple(
            Row(name, spec, paper=name, group=group)
            for group, specs in groups.items()
            for name, spec in specs.items()
        ),
        paper_csv="sota",
        source="Section 4.3",
        orderings=tuple(
            Ordering(f"{better} beats {worse}", better, worse) for better, worse in CLAIMED
        ),
        plot="scatter",
    )


def _plane(profile: Profile, data: DataSpec) -> dict[str, RunSpec]:
    return {
        "RGB": profile.rgb(data),
        "Flow": profile.tvl1(data),
        "Two-stream": profile.two_stream(data),
        "TVNet (+RGB)": late(profile.rgb(data), profile.motion(data, profile.tvnet)),
        "OFF (RGB only)": profile.motion(data, profile.off),
        "OFF (RGB + Flow + RGB Diff)": late(*profile.off_streams(data)),
        "Ours (2D CNN + Rep. Flow)": profile.flow_after(data, BLOCK),
        "Ours (2D CNN + FcF)": profile.fcf_after(data, BLOCK),
    }


def _separable(profile: Profile, data: DataSpec) -> dict[str, RunSpec]:
    plain = profile.on(profile.backbone_2plus1d)
    nonlocal_ = profile.on(profile.backbone_nonlocal_2plus1d)
    return {
        "RGB R(2+1)D": plain.rgb(data),
        "Two-Stream R(2+1)D": plain.two_stream(data),
        "Ours ((2+1)D CNN + Rep. Flow)": plain.flow_after(data, BLOCK),
        "Ours ((2+1)D CNN + FcF)": plain.fcf_after(data, BLOCK),
        "Ours ((2+1)D CNN + FcF) + Non-local": nonlocal_.fcf_after(data, BLOCK),
    }


def _volumetric(profile: Profile, data: DataSpec) -> dict[str, RunSpec]:
    s3d, i3d = profile.on(profile.backbone_s3d), profile.on(profile.backbone_i3d)
    return {
        "RGB S3D": s3d.rgb(data),
        "Two-Stream S3D": s3d.two_stream(data),
        "I3D (RGB)": i3d.rgb(data),
        "I3D (Flow)": i3d.tvl1(data),
        "I3D (Two-Stream)": i3d.two_stream(data),
        "ResNet-101 + Non-local": profile.on(profile.backbone_nonlocal).rgb(data),
    }


if __name__ == "__main__":
    sys.exit(main(sota))

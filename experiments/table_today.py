"""Should I use it today? The flow layer beside what else gives a network motion, at equal cost.

The paper compares its layer with TV-L1 on the hardware of 2018. Here stand beside it, in the same
backbone, clips and recipe:

- RGB differences: Wang et al., "Temporal Segment Networks" (ECCV 2016), Section 3.2;
- the motion vectors that the video file holds: Wu et al., "Compressed Video Action Recognition"
  (CVPR 2018), Eq. (1), see repflow_pl/data/fields/vectors.py;
- RAFT: Teed and Deng (ECCV 2020), the small network of torchvision. Without its weights these two
  rows alone fail; table_runtime.py --table today has their time all the same;
- the temporal shift: Lin et al. (ICCV 2019), see repflow_pl/layers/shift.py;
- 3D and (2+1)D networks of the RGB network's GFLOPs: Tran et al. (CVPR 2018).

The paper has no such table.

    python experiments/table_today.py
    python experiments/table_today.py --data ucf101 --data-root VIDEOS --split all --seeds 2
"""

from __future__ import annotations

import sys

from repflow_pl.cli import main
from repflow_pl.profiles import VARIED, Profile
from repflow_pl.report.table import Ordering, Row, Table
from repflow_pl.specs import DataSpec, RunSpec, late

RGB, DIFFERENCES, TWO_STREAM = "RGB CNN", "RGB differences", "Two-stream CNN"
LAYER, BLOCK_3 = "Flow layer on RGB inputs", "After block 3"
FCF = "Flow-Conv-Flow (FcF)"
VECTORS, RAFT, SHIFT = "Motion vectors", "RAFT", "Temporal Shift"
EQUAL_3D, EQUAL_2PLUS1D = "3D CNN", "(2+1)D CNN"


def today(profile: Profile, data: DataSpec) -> Table:
    """The rows, by where the motion comes from; those of other tables are trained once.

    Where the backbone has no shifted or volumetric counterpart, or this one has no weights to start
    from and should, its row is not there.
    """
    rgb = profile.rgb(data)
    frames, layer, outside, network = (
        "Frames and their differences",
        "The flow layer",
        "Flow from outside the network",
        "The network sees time",
    )
    rows = [
        Row(RGB, rgb, group=frames),
        *_alone_and_late(DIFFERENCES, rgb, profile.seeing(data, "rgb_diff"), frames),
        *_alone_and_late(LAYER, rgb, profile.flow_after(data, 0), layer),
        # what joins best by table_fusion.py, on UCF101: at the RGB input this, after block 3 late
        Row(f"RGB × {LAYER}", profile.flow_after(data, 0, fuse="multiply"), group=layer),
        *_alone_and_late(BLOCK_3, rgb, profile.flow_after(data, 3), layer),
        Row(FCF, profile.flow_after(data, 3, layers=2, convolve=True), group=layer),
        Row("Flow CNN", profile.tvl1(data), group=outside),
        Row(TWO_STREAM, profile.two_stream(data), group=outside),
        *_alone_and_late(VECTORS, rgb, profile.seeing(data, "vectors"), outside),
        *_alone_and_late(RAFT, rgb, profile.seeing(data, "raft"), outside),
    ]
    asked = [(LAYER, TWO_STREAM), (LAYER, DIFFERENCES), (LAYER, f"RGB + {VECTORS}")]
    counterparts = {SHIFT: "tsm", EQUAL_3D: "equal3d", EQUAL_2PLUS1D: "equal2plus1d"}
    for name, ending in counterparts.items():
        if profile.backbone in VARIED and (name == SHIFT or not profile.pretrained):
            backbone = f"{profile.backbone}_{ending}"
            rows.append(Row(name, profile.on(backbone).rgb(data), group=network))
            asked += [(LAYER, name)] if name != EQUAL_3D else []
    return Table(
        name="today",
        title="Should I use it today?",
        rows=tuple(rows),
        plot="scatter",
        to_choose=True,
        orderings=tuple(
            Ordering(f"{better} beats {worse}", better, worse) for better, worse in asked
        ),
        notes=(
            "RGB + another row: the late average with the RGB CNN's class probabilities, at the "
            "time of both.",
            "RGB × the flow layer: multiplied with the frame that its flow starts from. Of the "
            "ways of `experiments/table_fusion.py`, it is the best measured on UCF101 at the RGB "
            "input, as the late average is after block 3.",
            "Motion vectors are those of the encoder that wrote the files. For training they are "
            "kept, made of the decoding that makes the kept frames; where they are read clip by "
            "clip, they come from what the clip's frames are decoded from. Their part of the time "
            "is what is made of them, reading a file is no part of any row's.",
            "RAFT: torchvision's small network. Times taken in turns are of a freshly initialised "
            "one, so a row has them where its weights could not be had.",
            "3D and (2+1)D CNN: as deep as the RGB CNN and narrower, within 3 % of its GFLOPs.",
        ),
    )


def _alone_and_late(name: str, rgb: RunSpec, spec: RunSpec, group: str) -> list[Row]:
    return [Row(name, spec, group=group), Row(f"RGB + {name}", late(rgb, spec), group=group)]


if __name__ == "__main__":
    sys.exit(main(today))

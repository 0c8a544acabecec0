"""Why the places differ: one experiment for each explanation of what the placement table found.

On real video the flow layer after block 3 loses to the same layer on the RGB input, where the paper
has it win. Between the places differ the resolution of the maps, the features that the flow is of,
and what is left behind the layer beside motion; each is changed alone. The paper has no such table.

    python experiments/table_why.py --data ucf101 --data-root VIDEOS --split all --seeds 2
"""

from __future__ import annotations

import dataclasses
import sys

from repflow_pl.cli import main
from repflow_pl.profiles import VARIED, Profile
from repflow_pl.report.table import Ordering, Row, Table
from repflow_pl.specs import DataSpec

RGB, ON_RGB, BLOCK_1, BLOCK_3 = (
    "RGB CNN",
    "Flow layer on RGB inputs",
    "After block 1",
    "After block 3",
)


def why(profile: Profile, data: DataSpec) -> Table:
    """The rows, by what they change; those of other tables are trained once."""
    # One list, read from top to bottom; it is long because the table is.
    order, resolution, features, appearance = (
        "Order of the frames",
        "Resolution",
        "Features",
        "Appearance",
    )
    shuffled = dataclasses.replace(data, clip=dataclasses.replace(data.clip, order="shuffled"))
    on_rgb, after_3 = profile.flow_after(data, 0), profile.flow_after(data, 3)
    grey = dataclasses.replace(on_rgb, model=dataclasses.replace(on_rgb.model, stream="grey"))
    rows = [
        Row(RGB, profile.rgb(data), group=order),
        Row("RGB differences", profile.seeing(data, "rgb_diff"), group=order),
        Row(ON_RGB, on_rgb, group=order),
        Row(f"{ON_RGB}, shuffled", profile.flow_after(shuffled, 0), group=order),
        Row(BLOCK_3, after_3, group=order),
        Row(f"{BLOCK_3}, shuffled", profile.flow_after(shuffled, 3), group=order),
        Row("Flow layer on grey inputs", grey, group=features),
        Row(BLOCK_1, profile.flow_after(data, 1), group=features),
        Row(f"{BLOCK_3}, add", profile.flow_after(data, 3, fuse="add"), group=appearance),
        Row(f"{BLOCK_3}, concat", profile.flow_after(data, 3, fuse="concat"), group=appearance),
    ]
    asked = [
        Ordering("differences of frames alone beat RGB", "RGB differences", RGB),
        Ordering("flow on RGB inputs beats differences of frames", ON_RGB, "RGB differences"),
        Ordering("flow on RGB inputs needs the order", ON_RGB, f"{ON_RGB}, shuffled"),
        Ordering("flow after block 3 needs the order", BLOCK_3, f"{BLOCK_3}, shuffled"),
        Ordering("flow needs the colours", ON_RGB, "Flow layer on grey inputs"),
        Ordering(
            "flow of grey pixels beats flow of learned features",
            "Flow layer on grey inputs",
            BLOCK_1,
        ),
        *(
            Ordering(f"appearance helps after block 3: {kind}", f"{BLOCK_3}, {kind}", BLOCK_3)
            for kind in ("add", "concat")
        ),
    ]
    if profile.backbone in VARIED:
        fine = profile.on(f"{profile.backbone}_fine")
        rows += [
            Row(f"{RGB}, half the stride", fine.rgb(data), group=resolution),
            Row(f"{BLOCK_3}, half the stride", fine.flow_after(data, 3), group=resolution),
        ]
        asked += [
            Ordering("RGB gains by half the stride", f"{RGB}, half the stride", RGB),
            Ordering(
                "flow after block 3 gains by half the stride",
                f"{BLOCK_3}, half the stride",
                BLOCK_3,
            ),
            Ordering(
                "flow on RGB inputs beats flow after block 3 of half the stride",
                ON_RGB,
                f"{BLOCK_3}, half the stride",
            ),
        ]
    return Table(
        name="why",
        title="Why the places differ",
        rows=tuple(rows),
        orderings=tuple(asked),
        notes=(
            "Half the stride: the same weights in number and shapes, on maps of twice the height "
            "and width.",
            "Grey inputs hold the brightness in each of the three channels, all else being equal.",
        ),
    )


if __name__ == "__main__":
    sys.exit(main(why))

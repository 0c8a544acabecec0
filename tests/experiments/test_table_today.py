"""The table of today: whose rows are whose runs, and what it asks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from all_tables import builder

from repflow_pl.report.table import Table
from repflow_pl.specs import DataSpec, LateSpec, ModelSpec, RunSpec
from repflow_pl.tables import Setting


def table(name: str, backbone: str | None = None, pretrained: bool = False) -> Table:
    profile = Setting(backbone=backbone, pretrained=pretrained).profile_of()
    return builder(name)(profile, DataSpec("motion_shapes", profile.clip))


def specs(name: str) -> dict[str, RunSpec]:
    return {row.name: row.spec for row in table(name).rows}


def test_rows_of_other_tables_are_their_runs() -> None:
    """So that each of them is trained once."""
    today = specs("today")
    assert {row: today[row] for row in ("Flow CNN", "Two-stream CNN", "RGB CNN")}.items() <= (
        specs("placement").items()
    )
    assert today["RGB differences"] == specs("why")["RGB differences"]
    fusions = specs("fusion")
    assert today["RGB + Flow layer on RGB inputs"] == fusions["Late, RGB input"]
    assert today["RGB + After block 3"] == fusions["Late, block 3"]
    fcf = "Flow-Conv-Flow (FcF)"
    assert today[fcf] == specs("architecture")[fcf]


def test_the_layer_is_joined_in_the_ways_that_measured_best() -> None:
    measured = pd.read_csv(Path(__file__).parents[2] / "tables/ucf101/fusion.csv").set_index("row")
    joins = measured.top1[~measured.index.str.startswith("None")]
    today, fusions = specs("today"), specs("fusion")
    joined = {"RGB input": "RGB × Flow layer on RGB inputs", "block 3": "RGB + After block 3"}
    for place, row in joined.items():
        best = joins[joins.index.str.endswith(place)].idxmax()
        assert today[row] == fusions[best]


def test_joined_rows_are_the_rgb_network_and_the_row_above() -> None:
    rows = table("today").rows
    joined = [k for k, row in enumerate(rows) if row.name.startswith("RGB + ")]
    assert len(joined) == 5
    for k in joined:
        late = rows[k].spec.model
        assert isinstance(late, LateSpec)
        assert late.members == (rows[0].spec, rows[k - 1].spec)
        assert rows[k].name == f"RGB + {rows[k - 1].name}"


@pytest.mark.long
def test_motion_that_is_seen_by_a_network_of_the_same_recipe() -> None:
    rows = {row.name: row.spec for row in table("today").rows}
    seen = {}
    for name in ("Motion vectors", "RAFT", "Temporal Shift", "3D CNN", "(2+1)D CNN"):
        model = rows[name].model
        assert isinstance(model, ModelSpec)
        assert rows[name].recipe == rows["RGB CNN"].recipe
        seen[name] = (model.backbone, model.stream)
    assert seen == {
        "Motion vectors": ("narrow", "vectors"),
        "RAFT": ("narrow", "raft"),
        "Temporal Shift": ("narrow_tsm", "rgb"),
        "3D CNN": ("narrow_equal3d", "rgb"),
        "(2+1)D CNN": ("narrow_equal2plus1d", "rgb"),
    }


def test_five_questions_of_one_row_fixed_before_any_result() -> None:
    asked = table("today").orderings
    assert len(asked) == 5 and {each.better for each in asked} == {"Flow layer on RGB inputs"}
    assert len({each.worse for each in asked}) == 5


@pytest.mark.parametrize(
    ("backbone", "pretrained", "rows"),
    [("resnet50", False, 18), ("resnet18", True, 16), ("r3d_18", False, 15)],
)
def test_rows_whose_networks_there_are_not_are_left_out(
    backbone: str, pretrained: bool, rows: int
) -> None:
    assert len(table("today", backbone, pretrained).rows) == rows


def test_a_time_of_raft_without_its_weights_is_said_to_be_of_fresh_ones() -> None:
    (said,) = [note for note in table("today").notes if note.startswith("RAFT")]
    assert "freshly initialised" in said

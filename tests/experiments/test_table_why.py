"""The table of whys: each row differs in one thing from the row it is compared with."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from all_tables import builder

from repflow_pl.backbones import backbone_names, pretrained_names
from repflow_pl.profiles import VARIED
from repflow_pl.report.table import Table
from repflow_pl.specs import DataSpec
from repflow_pl.tables import Setting


def why(backbone: str | None = None) -> Table:
    profile = Setting("ucf101", backbone=backbone).profile_of()
    return builder("why")(profile, DataSpec("ucf101", profile.clip))


def differing(a: Any, b: Any) -> set[str]:
    """The names of the fields, at any depth, in which two specs differ."""
    if type(a) is not type(b) or not dataclasses.is_dataclass(a):
        return set()
    found: set[str] = set()
    for field in dataclasses.fields(a):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if left != right:
            found |= differing(left, right) or {field.name}
    return found


def test_a_comparison_changes_one_thing() -> None:
    table = why()
    rows = {row.name: row.spec for row in table.rows}
    changes = [differing(rows[o.better], rows[o.worse]) for o in table.orderings]
    assert changes == [
        {"stream"},
        {"flow", "stream"},  # the flow layer instead of the differences
        {"order"},
        {"order"},
        {"stream"},
        {"stream", "after_block"},  # neither colour nor learned features
        {"fuse"},
        {"fuse"},
        {"backbone"},
        {"backbone"},
        {"backbone", "after_block"},
    ]
    unlike = {row.name for row in table.rows} - {
        n for o in table.orderings for n in (o.better, o.worse)
    }
    assert not unlike, "every row is there for a comparison"


def test_the_variants_of_backbones_are_all_known() -> None:
    for variant in ("fine", "tsm", "equal3d", "equal2plus1d"):
        there_are = {name for name in backbone_names() if name.endswith(f"_{variant}")}
        assert {f"{name}_{variant}" for name in VARIED} == there_are
        with_weights = there_are & {*pretrained_names()}
        assert not with_weights if variant.startswith("equal") else len(with_weights) == 3


@pytest.mark.parametrize(("backbone", "rows"), [("resnet18", 12), ("resnet18_nonlocal", 10)])
def test_half_the_stride_is_asked_where_there_is_such_a_backbone(backbone: str, rows: int) -> None:
    assert len(why(backbone).rows) == rows

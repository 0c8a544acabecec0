"""The volumetric table: its rows are different runs, and learn."""

from __future__ import annotations

import pytest
import torch
from all_tables import builder

from repflow_pl.errors import UserError
from repflow_pl.models.build import build_model
from repflow_pl.profiles import ProfileName
from repflow_pl.report.table import Table
from repflow_pl.specs import DataSpec, spec_hash
from repflow_pl.tables import Setting


def volumetric(profile: ProfileName, backbone: str | None = None) -> Table:
    chosen = Setting(profile=profile, backbone=backbone).profile_of()
    return builder("volumetric")(chosen, DataSpec("motion_shapes", chosen.clip))


@pytest.mark.parametrize("profile", ["demo", pytest.param("paper", marks=pytest.mark.slow)])
def test_every_row_is_another_run_and_learns_from_a_clip(profile: ProfileName) -> None:
    rows = volumetric(profile).rows
    assert len({spec_hash(row.spec) for row in rows}) == len(rows)
    for row in rows:
        channels, frames = (2, 7) if row.spec.model.stream == "tvl1" else (3, 8)
        model = build_model(row.spec.model, classes=3)
        scores = model(torch.randn(2, channels, frames, 32, 32))
        scores.square().sum().backward()
        assert scores.shape == (2, 3) and scores.isfinite().all(), row.name


def test_another_backbone_is_refused() -> None:
    with pytest.raises(UserError, match="leave out --backbone"):
        volumetric("demo", "resnet18")

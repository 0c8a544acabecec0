"""The motion table: its rows are the paper's, can be built, and differ in the motion alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from all_tables import builder

from repflow_pl.models.build import build_model
from repflow_pl.models.loss import training_loss
from repflow_pl.profiles import ProfileName, build_profile
from repflow_pl.report.table import Table
from repflow_pl.specs import DataSpec, TVNetSpec, spec_hash, training_streams_of


def motion(profile: ProfileName, data: str = "motion_shapes") -> Table:
    chosen = build_profile(profile, data)
    return builder("motion")(chosen, DataSpec(data, chosen.clip))


def test_the_layer_is_held_against_each_of_the_others() -> None:
    table = motion("demo")
    assert [o.worse for o in table.orderings] == [r.name for r in table.rows if r.paper][:-1]
    assert {o.better for o in table.orderings} == {"Flow layer after block 3"}


@pytest.mark.parametrize("profile", ["demo", "paper"])
@pytest.mark.parametrize("data", ["motion_shapes", "ut_interaction", "folder"])
def test_rows_differ_in_the_motion_alone(profile: ProfileName, data: str) -> None:
    table = motion(profile, data)
    assert len({spec_hash(row.spec) for row in table.rows}) == len(table.rows) == 6
    plain = {
        dataclasses.replace(
            row.spec, model=dataclasses.replace(row.spec.model, motion=None, flow=None)
        )
        for row in table.rows
        if not row.control
    }
    assert len(plain) == 1, "the same backbone, clips, dropout and recipe"


@pytest.mark.slow  # tests/experiments/test_table_scripts.py trains the demo's rows
@pytest.mark.parametrize("profile", ["demo", "paper"])
def test_every_row_learns_from_a_clip(profile: ProfileName) -> None:
    """One forward and backward pass of each network, the paper's at a reduced size."""
    for row in motion(profile).rows:
        model_spec = row.spec.model
        if isinstance(model_spec.motion, TVNetSpec) and profile == "paper":
            fewer = dataclasses.replace(model_spec.motion, n_iter=3)
            model_spec = dataclasses.replace(model_spec, motion=fewer)
        frames = min(row.spec.data.clip.frames, model_spec.stack + 2)
        clip, fields = torch.randn(2, 3, frames, 64, 64), torch.randn(2, 2, frames - 1, 64, 64)
        inputs = (clip, fields) if len(training_streams_of(model_spec)) > 1 else (clip,)
        model = build_model(model_spec, classes=3)
        scores, loss = training_loss(model, inputs, torch.tensor([0, 2]))
        loss.backward()
        assert scores.shape == (2, 3) and loss.isfinite(), row.name


@pytest.mark.long
@pytest.mark.parametrize("profile", ["demo", "paper"])
def test_off_on_three_streams(profile: ProfileName) -> None:
    chosen = build_profile(profile, "folder")
    runs = chosen.off_streams(DataSpec("folder", chosen.clip))
    assert [run.model.stream for run in runs] == ["rgb", "tvl1", "rgb_diff"]
    for run in runs:
        frames = run.data.clip.frames
        shape = (2, 2, frames - 1) if run.model.stream == "tvl1" else (2, 3, frames)
        with torch.device("meta"):
            model, clip = build_model(run.model, classes=4), torch.randn(*shape, 64, 64)
        assert model(clip).shape == (2, 4)

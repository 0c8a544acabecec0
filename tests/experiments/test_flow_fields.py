"""Flow fields at each place: trained where weights are missing, pictured, found again."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import flow_fields
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from repflow_pl import tables
from repflow_pl.data.upkeep import metadata
from repflow_pl.profiles import Profile, build_profile
from repflow_pl.specs import ClipSpec, DataSpec
from repflow_pl.training import run
from repflow_pl.training.planning.jobs import Job
from repflow_pl.training.recording.result import Latency

PLACES = ["Flow layer on RGB inputs", *(f"After block {k}" for k in range(1, 6))]


@pytest.fixture
def two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo profile with one epoch, whose rate shows in the weights, of small clips that are
    not timed."""
    monkeypatch.setattr(run, "_latency", lambda *_: Latency(1.0, 1.0, 1.0, 1.0, 0.0, 1))
    monkeypatch.setattr(metadata, "TREES", 20)

    def quick(*arguments: object) -> Profile:
        profile = build_profile(*arguments)  # type: ignore[arg-type]
        recipe = dataclasses.replace(profile.recipe, epochs=1, batch=4)
        clip = ClipSpec(frames=4, size=64, crop=(64, 64), views=1, short="hold")
        return dataclasses.replace(profile, recipe=recipe, baseline_recipe=recipe, clip=clip)

    monkeypatch.setattr(tables, "build_profile", quick)


def test_each_component_is_of_its_own_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps of 2 x 2 of clips that are wider than high: a pixel of them is 28 x 32 of the input."""
    monkeypatch.setattr(
        flow_fields, "flow_fields", lambda _, clips: torch.ones(len(clips), 2, 2, 2)
    )
    job = Job("fields", "After block 5", build_profile("demo", "folder").rgb(DataSpec("folder")), 0)
    views = torch.zeros(1, 3, 2, 56, 64, dtype=torch.uint8)
    tvl1s = np.stack([np.full((1, 56, 64), 32.0), np.full((1, 56, 64), 28.0)], 1)
    seen = flow_fields.seen_by(nn.Identity(), job, False, views, tvl1s.astype(np.float32))
    assert seen.lengths == pytest.approx([np.hypot(32, 28)])
    assert seen.likeness == pytest.approx([1.0])


@pytest.mark.long
def test_places_are_trained_once_and_pictured(
    video_folder: Path,
    shared_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    two_steps: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    asked = ["--data", "folder", "--data-root", str(video_folder), "--out", str(tmp_path)]
    asked += ["--wandb", "disabled"]
    assert flow_fields.main(asked) == 0
    assert "6 of 6 places are trained first." in capsys.readouterr().out
    (csv,) = tmp_path.glob("tables/yours/folder-*/fields.csv")
    found = pd.read_csv(csv)
    assert list(found["place"]) == [place for place in PLACES for _ in range(2)]
    assert (found["length_median"] > 0).all() and found["cosine"].between(-1, 1).all()
    before = found[found["weights"] == "untrained"]["cosine"].to_numpy()
    after = found[found["weights"] == "trained"]["cosine"].to_numpy()
    assert (before != after).any()
    assert before[0] > 0.5, "on pixels the layer's flow is TV-L1's, but for scales and warps"

    first = csv.read_bytes()
    (weights, *_) = sorted(tmp_path.glob("runs/*/seed0/last.ckpt"))
    assert flow_fields.main(asked) == 0
    assert "trained first" not in capsys.readouterr().out and csv.read_bytes() == first
    weights.unlink()
    assert flow_fields.main(asked) == 0
    assert "1 of 6 places are trained first." in capsys.readouterr().out
    assert csv.read_bytes() == first

    shutil.rmtree(tmp_path / "runs")
    assert flow_fields.main([*asked[:4], "--split", "all"]) == 2
    assert "name --split 1, 2 or 3" in capsys.readouterr().err

"""Small runs that are trained for real, and a copy of the videos that they were tested on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from repflow_pl.data.index import VideoSet, open_set
from repflow_pl.data.upkeep.facts import facts_of
from repflow_pl.specs import ClipSpec, DataSpec, FlowSpec, ModelSpec, RecipeSpec, RunSpec, late
from repflow_pl.training.planning.jobs import Job, run_folder
from repflow_pl.training.recording.result import Latency
from tests.sweeps import sweep

CLIP = ClipSpec(frames=4, size=64, crop=(48, 48), views=3, crops=2)
RECIPE = RecipeSpec(2, batch=8, lr=1e-3, optimiser="adamw", schedule="one_cycle")


@dataclass(frozen=True)
class Trained:
    """Folders of runs, and the data that they are of."""

    videos: VideoSet
    flow: Path
    """A flow layer after block 3."""
    both: Path
    """The late fusion of it and a network on TV-L1."""


@pytest.fixture(scope="session")
def trained(
    video_folder: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trained]:
    out = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REPFLOW_CACHE", str(shared_cache))
        # How fast the networks are is of no interest here, and is measured for longest.
        latency = Latency(1.0, 1.0, 1.0, 1.0, 0.0, 1)
        patched.setattr("repflow_pl.training.run._latency", lambda *_: latency)
        patched.setattr("repflow_pl.data.upkeep.metadata.TREES", 20)
        videos = open_set("folder", video_folder)
        data = DataSpec("folder", CLIP, videos.fingerprint)
        model = ModelSpec("narrow", flow=FlowSpec(3, n_iter=2, bottleneck=4))
        flow = RunSpec(model, data, RECIPE)
        tvl1 = RunSpec(ModelSpec("narrow", stream="tvl1", stack=2), data, RECIPE)
        specs = (flow, tvl1, late(flow, tvl1))
        jobs = [Job("t", f"row {k}", spec, 0) for k, spec in enumerate(specs)]
        assert not sweep(jobs, videos, out)[0]
        facts_of(videos, out / "runs")
    folders = [run_folder(out, spec, 0) for spec in specs]
    yield Trained(videos, folders[0], folders[2])


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What shows videos keeps nothing in the user's cache."""
    place = tmp_path / "cache"
    monkeypatch.setenv("REPFLOW_CACHE", str(place))
    yield place
    assert not place.exists()

"""Networks on motion vectors from start to end: trained, timed, and failed alone without any."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from repflow_pl.data.decoding import decode_pyav
from repflow_pl.data.decoding.decode_pyav import open_video
from repflow_pl.data.fields import vectors
from repflow_pl.data.index import VideoSet, open_set
from repflow_pl.launching.launch import prepare
from repflow_pl.specs import ClipSpec, DataSpec, ModelSpec, RecipeSpec, RunSpec, late
from repflow_pl.training.costs.extraction import extraction_ms
from repflow_pl.training.planning.jobs import Job, run_folder
from repflow_pl.training.recording.result import read_result
from tests.sweeps import sweep

CLIP = ClipSpec(frames=4, size=32, crop=(32, 32))
RECIPE = RecipeSpec(1, batch=4, lr=1e-3, optimiser="adamw", schedule="one_cycle")


def jobs_on(videos: VideoSet) -> tuple[Job, Job, Job]:
    """RGB, vectors, and both."""
    data = DataSpec("folder", CLIP, videos.fingerprint)
    rgb, vectors = (
        RunSpec(model, data, RECIPE)
        for model in (ModelSpec("narrow"), ModelSpec("narrow", "vectors", stack=2))
    )
    specs = {"RGB": rgb, "vectors": vectors, "both": late(rgb, vectors)}
    first, second, third = (Job("t", row, spec, 0) for row, spec in specs.items())
    return first, second, third


def make(jobs: tuple[Job, ...], videos: VideoSet, out: Path) -> tuple[list[str], str]:
    """The rows that failed, and what was printed."""
    failed, printed = sweep(jobs, videos, out)
    return [each.job.row for each in failed], printed


def test_a_file_is_decoded_once_for_all_runs(
    videos: VideoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("repflow_pl.data.decoding.isolated.default_workers", lambda: 0)
    opened = []
    for module in (vectors, decode_pyav):
        monkeypatch.setattr(module, "open_video", lambda p: opened.append(p) or open_video(p))
    for _ in range(2):
        prepare(jobs_on(videos), videos, tmp_path / "out")
        assert sorted(opened) == sorted(videos.root / video.path for video in videos.videos)


@pytest.mark.long
def test_fields_of_vectors_are_part_of_the_time(videos: VideoSet, tmp_path: Path) -> None:
    jobs = jobs_on(videos)
    assert make(jobs, videos, tmp_path)[0] == []
    rgb, vectors, both = (
        read_result(run_folder(tmp_path, job.spec, 0) / "result.json").latency for job in jobs
    )
    assert rgb.tvl1_ms == 0
    for latency in (vectors, both):
        assert 0 < latency.tvl1_ms < latency.median_ms


def test_a_video_that_was_lost_since_the_run_began_costs_no_result(
    videos: VideoSet, tmp_path: Path
) -> None:
    copied = shutil.copytree(videos.root, tmp_path / "copied")
    (copied / videos.part("test")[0].path).write_bytes(b"")
    lost = replace(videos, root=copied)
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    (taken,) = extraction_ms(("vectors",), frames, lost, CLIP, repeats=1)
    assert taken > 0


@pytest.mark.long
def test_without_vectors_their_rows_fail_by_name_and_the_others_are_made(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Intra-only: every frame is coded by itself."""
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    for k, part in enumerate(("train", "train", "train", "train", "test", "test")):
        path = tmp_path / "videos" / part / "ab"[k % 2] / f"{k}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=12, options={"g": "1"})
            stream.height = stream.width = 32
            stream.pix_fmt = "yuv420p"
            for t in range(6):
                frame = np.full((32, 32, 3), 9 * (k + t), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    videos = open_set("folder", tmp_path / "videos")
    failed, printed = make(jobs_on(videos), videos, tmp_path / "out")
    assert failed == ["vectors", "both"]
    assert ".mp4 holds no motion vectors" in printed

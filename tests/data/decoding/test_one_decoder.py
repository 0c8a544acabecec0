"""Either decoder is enough: a set opens, is checked and read where the other is not installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from repflow_pl.data.decoding import decode
from repflow_pl.data.index import list_set
from repflow_pl.errors import UserError
from tests.installed import without

from .. import odd_videos
from .test_decode import broken_files

READ = """
import hashlib, json, sys
from dataclasses import asdict
from pathlib import Path
from repflow_pl.data.frames.cache import open_frames
from repflow_pl.data.decoding.decode import chosen_decoder
from repflow_pl.data.index import list_set, open_set
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec

OWN_SIZE = ClipSpec(size="half", crop=(128, 128))  # none is larger: torch is not needed
try:
    root = Path(sys.argv[1])
    findings = list_set("folder", root, workers=1).findings
    opened = open_set("folder", root)
    reader = open_frames(opened, OWN_SIZE, kept=False)
    clips = [reader.frames(video, [0, 3, video.frames - 1]) for video in opened.videos]
    print(json.dumps({
        "decoder": chosen_decoder(),
        "findings": {path: asdict(found) for path, found in findings.items()},
        "frames": [hashlib.sha256(clip.data).hexdigest() for clip in clips],
        "loaded": sorted({"av", "decord"} & set(sys.modules)),
    }))
except UserError as error:
    print(json.dumps(str(error)))
"""

COUNTED_BY_PYAV = ("cut.mkv", "cut.avi")
"""Were cut off between two frames: decord lists those that are left."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound ones of every kind in two classes, and a broken one of every kind."""
    root = tmp_path_factory.mktemp("either") / "set"
    for part in ("train", "test"):
        for label in ("run", "jump"):
            place = root / part / label
            odd_videos.write(place / "plain.mp4", frames=20)
            odd_videos.write(place / "turned.mkv", frames=30, b_frames=3, open_gop=True)
            odd_videos.write(place / "slow.mp4", frames=20, variable=True)
            odd_videos.drop(odd_videos.write(place / "gaps.avi", 20, codec="mjpeg"), [4, 5, 9])
    broken_files(root / "train" / "run")
    return root


def read(videos: Path, tmp_path: Path, *hidden: str, decoder: str = "") -> Any:
    """What a fresh program finds in the set and reads of it, or its error."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(videos)],
        env={
            **without(hidden, tmp_path / "hook"),
            "REPFLOW_CACHE": str(tmp_path / "cache"),
            "REPFLOW_DECODER": decoder,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
def test_either_decoder_is_enough(videos: Path, tmp_path: Path) -> None:
    both = read(videos, tmp_path / "both", decoder="decord")
    pyav = read(videos, tmp_path / "pyav", "decord")
    decord = read(videos, tmp_path / "decord", "av")
    assert (pyav["decoder"], pyav["loaded"]) == ("pyav", [])  # the children decode
    assert (decord["decoder"], decord["loaded"]) == ("decord", [])
    sound = {path for path, found in both["findings"].items() if not found["error"]}
    cut = {path for path in both["findings"] if path.endswith(COUNTED_BY_PYAV)}
    assert len(sound) == 19 and len(cut) == 2
    for path, found in both["findings"].items():
        own = pyav["findings"][path]
        assert {**own, "decoder": "", "access": "", "error": ""} == {
            **found,
            "decoder": "",
            "access": "",
            "error": "",
        }
        other = decord["findings"][path]
        if path in sound:
            assert other == found
        assert bool(other["error"]) == bool(found["error"]) or path in cut, path
    assert pyav["frames"] == both["frames"]


VIDEO, OTHER = "pip install 'repflow-pl[video]'", "pip install 'repflow-pl[decord]'"


@pytest.mark.parametrize(
    ("installed", "asked", "told"),
    [
        ("", "", f"no decoder of videos is installed; run: {VIDEO}."),
        ("av", "decord", f"decord is not installed; run: {OTHER}, or choose the decoder pyav."),
        ("decord", "pyav", f"pyav is not installed; run: {VIDEO}, or choose the decoder decord."),
    ],
)
def test_without_any_it_says_what_to_install(
    installed: str, asked: str, told: str, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "is_installed", lambda module: module == installed)
    monkeypatch.setenv(decode.VARIABLE, asked)
    with pytest.raises(UserError) as error:
        list_set("folder", videos, workers=1)
    assert str(error.value) == told

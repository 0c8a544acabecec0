import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.ensemble import RandomForestClassifier

from repflow_pl.data.decoding.decode import read_frames
from repflow_pl.data.index import VideoSet, open_set
from repflow_pl.data.sets.motion_shapes import (
    CLASSES,
    DIRECTIONS,
    SHAPES,
    SIDE,
    STAMP,
    Scene,
    Sizes,
    Texture,
    _distance,
    draw,
    render,
    scene,
)

from ..conftest import SMALL, refused


def content(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*.mp4"))}


def frame(scene: Scene, t: int) -> np.ndarray:
    """One frame of a scene, [64, 64, 3], without the others."""
    at = dataclasses.replace(scene, frames=1, start=scene.start + t * scene.velocity)
    return draw(at)[0]


def test_the_parts_are_balanced(shapes: VideoSet) -> None:
    for split in ("train", "val", "test"):
        counts = Counter(video.label for video in shapes.part(split))
        assert set(counts.values()) == {getattr(SMALL, split) // len(CLASSES)}
    assert not shapes.mirror_safe
    assert len({video.frames for video in shapes.videos}) > 5


def test_a_recipe_is_chosen_on_the_validation_part(shapes: VideoSet) -> None:
    chosen = open_set("motion_shapes_validation", shapes.root, workers=0)
    held_out = [video.path for video in shapes.part("val")]
    assert [video.path for video in chosen.part("val")] == held_out
    assert [video.path for video in chosen.part("test")] == held_out
    assert chosen.part("train") == shapes.part("train")


def test_another_seed_is_another_rendering(tmp_path: Path, shapes: VideoSet) -> None:
    render(tmp_path / "other", Sizes(16, 0, 0), seed=1, workers=1)
    other, first = content(tmp_path / "other"), content(shapes.root)
    assert len(other) == 16
    assert all(other[path] != first[path] for path in other)


@pytest.mark.long
def test_a_killed_rendering_goes_on(tmp_path: Path, shapes: VideoSet) -> None:
    """To the same files that another rendering made."""
    root = tmp_path / "root"
    code = (
        "from pathlib import Path; from repflow_pl.data.sets.motion_shapes import *; "
        f"render(Path({str(root)!r}), Sizes(16, 16, 16), workers=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while len(list(root.rglob("*.mp4"))) < 5:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    half = content(root)
    every = content(shapes.root)
    assert 5 <= len(half) < 48
    assert half == {path: every[path] for path in half}
    times = {path: (root / path).stat().st_mtime_ns for path in half}
    assert render(root, workers=2) == Sizes(16, 16, 16)  # the sizes that were asked for first
    whole = content(root)
    assert len(whole) == 48 and whole == {path: every[path] for path in whole}
    assert times == {path: (root / path).stat().st_mtime_ns for path in half}


def test_files_show_what_was_drawn(shapes: VideoSet) -> None:
    for index in range(4):
        what = scene(0, "train", index)
        frames = read_frames(
            shapes.root / f"train/{what.label}/{index:05d}.mp4", range(what.frames)
        )
        # Colour is coded at half the resolution; brightness is nearly kept.
        difference = frames.mean(-1) - draw(what).mean(-1)
        assert np.abs(difference).mean() < 3


def test_shapes_have_the_same_area() -> None:
    axis = np.arange(-32, 32, 0.25)
    for shape in SHAPES:
        inside = _distance(shape, axis[None, :], axis[:, None], 400.0, 0.2) < 0
        assert inside.sum() / 16 == pytest.approx(400, rel=0.02), shape


def test_the_object_moves_as_its_class_says() -> None:
    for index, label in enumerate(CLASSES):
        what = scene(0, "train", index)
        assert what.label == label
        speed = what.velocity @ np.array(DIRECTIONS[label.split("-")[1]])
        assert 1.5 <= speed <= 3
        # After one step the object's own pixels are the same, but moved.
        still = dataclasses.replace(what, start=np.array([32.0, 32.0]), pan=np.zeros(2))
        step = np.array(DIRECTIONS[label.split("-")[1]]) * 2
        first, second = draw(dataclasses.replace(still, frames=2, velocity=step))
        moved = np.roll(first, step.astype(int)[::-1], axis=(0, 1))
        x, y = np.arange(SIDE) - 32 - step[0], np.arange(SIDE) - 32 - step[1]
        shape = label.split("-")[0]
        inside = _distance(shape, x[None, :], y[:, None], still.area, still.turn) < -1
        assert inside.sum() > 100
        np.testing.assert_allclose(second[inside], moved[inside], atol=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pixel_shows_the_object_by_the_share_it_covers(shape: str) -> None:
    flat = Texture(np.zeros((1, 2)), np.zeros(1), np.zeros((1, 3)))
    blue, sand = np.array([0.1, 0.3, 0.7]), np.array([0.8, 0.6, 0.4])
    plain = dataclasses.replace(
        scene(0, "train", 0), label=f"{shape}-up", frames=1, area=400.0, colour=blue, texture=flat,
        background_colour=sand, background_texture=flat,
    )  # fmt: skip
    shares = (draw(plain)[0] / 255 - sand) / (blue - sand)
    assert shares.min() == pytest.approx(0, abs=0.02) and shares.max() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(shares.sum((0, 1)), 400, rtol=0.03)
    assert 0.05 < ((shares > 0.1) & (shares < 0.9)).mean() / (shares > 0.5).mean() < 0.6  # edges


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(0, "train", i) for i in range(1600)]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("t", [0, 10, 19])
def test_the_place_is_uniform_at_every_time(direction: str, t: int, scenes: list[Scene]) -> None:
    places = np.array(
        [(s.start + t * s.velocity) % SIDE for s in scenes if s.label.endswith(f"-{direction}")]
    )
    for axis in (0, 1):
        assert kstest(places[:, axis] / SIDE, "uniform").pvalue > 1e-3


@pytest.mark.long
def test_one_frame_says_nothing_of_the_motion(scenes: list[Scene]) -> None:
    pixels = np.array([frame(s, 8)[::4, ::4].ravel() for s in scenes])
    motion = np.array([s.label.split("-")[1] for s in scenes])
    forest = RandomForestClassifier(100, random_state=0).fit(pixels[:800], motion[:800])
    accuracy = (forest.predict(pixels[800:]) == motion[800:]).mean()
    assert abs(accuracy - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 800)


def test_a_stamp_that_another_process_is_writing_is_nothing_else(tmp_path: Path) -> None:
    (tmp_path / f".{STAMP}.x1y2z3.part").touch()
    assert render(tmp_path, Sizes(0, 0, 0)) == render(tmp_path) == Sizes(0, 0, 0)


def test_mistakes_get_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "letter.txt").write_text("mine")
    with refused("holds other things"):
        render(tmp_path / "used", SMALL)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / STAMP).write_text('{"version": 0, "seed": 0, "sizes": {}}')
    with refused("version 0"):
        render(tmp_path / "old", SMALL)
    with pytest.raises(ValueError, match="multiple of 16"):
        Sizes(train=10)


@pytest.mark.long
def test_a_first_run_makes_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a new machine nothing is there, not even the folder that holds the cache."""
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "no" / "such" / "folder"))
    monkeypatch.setattr("repflow_pl.data.sets.motion_shapes.Sizes", lambda: Sizes(16, 0, 16))
    opened = open_set("motion_shapes", workers=0)
    assert len(opened.videos) == 32 and opened.root.is_relative_to(tmp_path / "no")
    assert "not read" not in capsys.readouterr().err

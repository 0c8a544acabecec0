"""What tells the classes apart without motion: made so that it is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from repflow_pl.audit import probes, recipe
from repflow_pl.audit.probes import Probe
from repflow_pl.audit.thumbs import Thumbs
from repflow_pl.data.index import Split, Video, VideoSet

RNG = np.random.default_rng(0)


def made(part: Split, label: int, number: int, frames: int = 50, fps: float = 25.0) -> Video:
    path = f"{part}/{label}/{number}.mp4"
    return Video(path, label, part, frames, fps, 64, 48, 1000)


def videos(lengths: tuple[int, int] = (50, 50)) -> VideoSet:
    """Two classes of 20 training and 10 test videos each."""
    counts: tuple[tuple[Split, int], ...] = (("train", 20), ("test", 10))
    every = [
        made(part, label, k, lengths[label] + int(RNG.integers(3)))
        for part, count in counts
        for label in (0, 1)
        for k in range(count)
    ]
    return VideoSet("folder", Path(), ("a", "b"), tuple(every), (), mirror_safe=False)


def seen(video: Video, bright: bool, moves: bool) -> Thumbs:
    """Noise; that of class 1 is brighter below, or changes there from frame to frame."""
    pictures = RNG.integers(80, 120, (12, 48, 64))
    after = pictures + RNG.integers(-2, 3, pictures.shape)
    if video.label:
        pictures[:, 24:] += 60 * bright
        after[:, 24:] += 60 * bright + 40 * moves
    seconds = np.arange(12, dtype=np.float32)
    return Thumbs(seconds, pictures.astype(np.uint8), after.astype(np.uint8))


def probed(given: VideoSet, bright: bool = False, moves: bool = False) -> dict[str, Probe]:
    thumbs = {video.path: seen(video, bright, moves) for video in given.videos}
    return {probe.sees: probe for probe in probes.probes(given, thumbs)}


@pytest.fixture(autouse=True)
def length_too(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    monkeypatch.setattr(probes, "FEATURES", ("frames", "fps"))
    monkeypatch.setattr("repflow_pl.data.upkeep.metadata.TREES", 20)


def test_what_gives_the_classes_away_is_told() -> None:
    found = probed(videos((40, 60)), bright=True)
    told = {sees for sees, probe in found.items() if probe.tells}
    assert told == {"length, size and rate", "frames alone", "single frames"}
    assert found["single frames"].accuracy == 1 and found["frames alone"].accuracy == 1
    assert found["fps alone"].high < 1 and found["fps alone"].chance == 0.5


def test_what_changes_is_seen_in_differences_alone() -> None:
    found = probed(videos(), moves=True)
    assert found["differences of frames"].accuracy == 1 and not found["single frames"].tells


@pytest.mark.long
def test_an_interval_counts_groups_and_not_videos() -> None:
    alone = videos()
    grouped = VideoSet(
        "folder",
        Path(),
        alone.classes,
        tuple(
            Video(**{**vars(video), "group": f"{video.split}{video.label}{k % 2}"})
            for k, video in enumerate(alone.videos)
        ),
        (),
        mirror_safe=False,
    )
    one, other = (probed(each, bright=True)["single frames"] for each in (alone, grouped))
    assert one.accuracy == other.accuracy == 1
    assert one.high - one.low < other.high - other.low


def test_one_class_has_no_probes() -> None:
    alone = VideoSet("f", Path(), ("a",), (made("train", 0, 0), made("test", 0, 1)), (), False)
    assert probed(alone) == {}


def test_a_recipe_grows_with_the_set() -> None:
    few = recipe.suggest(videos())
    assert few is not None and "--recipe.epochs 60 --recipe.batch 8" in few.options
    assert "--clip.stride 2" in few.options and few.half_width == pytest.approx(0.219)
    many = [made("train", k % 2, k) for k in range(9000)] + [made("test", 0, 1, 10, 50.0)]
    large = recipe.suggest(VideoSet("f", Path(), ("a", "b"), tuple(many), (), False))
    assert large is not None and "--recipe.epochs 10 --recipe.batch 16" in large.options
    assert large.options.endswith("--clip.short hold")
    mixed = [made("train", k % 2, k, fps=25.0 + 5 * (k % 2)) for k in range(100)]
    mixed.append(made("test", 0, 1))
    timed = recipe.suggest(VideoSet("f", Path(), ("a", "b"), tuple(mixed), (), False))
    assert timed is not None and "--clip.seconds 0.08" in timed.options
    assert "hold" not in timed.options
    # 7 steps of 0.08 seconds are 34 frames at 60 a second, and 14 at the usual 25.
    mixed.append(made("test", 1, 2, frames=30, fps=60.0))
    held = recipe.suggest(VideoSet("f", Path(), ("a", "b"), tuple(mixed), (), False))
    assert held is not None and held.options == f"{timed.options} --clip.short hold"
    assert "--rows" in held.why
    # A video of one picture has no rate: it does not differ from the others'.
    still = [*(made("train", k % 2, k) for k in range(99)), made("train", 0, 99, 1, 0.0)]
    one = recipe.suggest(VideoSet("f", Path(), ("a", "b"), (*still, made("test", 0, 1)), (), False))
    assert one is not None and one.options.endswith("--clip.stride 2 --clip.short hold")
    none = tuple(made(part, 0, k, 1, 0.0) for k, part in enumerate(("train", "test")))
    assert recipe.suggest(VideoSet("f", Path(), ("a",), none, (), False)) is not None
    assert recipe.suggest(VideoSet("f", Path(), ("a",), (), (), False)) is None


def test_what_is_validated_and_tested_is_not_known_beforehand() -> None:
    """As in the sets for choosing a recipe, whose validation part is their test part."""
    given = videos((50, 5000))
    held_out = tuple(replace(video, split="val") for video in given.part("test"))
    both = replace(given, videos=(*given.part("train"), *held_out, *given.part("test")))
    assert both.known == given.part("train")
    thumbs = {video.path: seen(video, bright=False, moves=False) for video in given.videos}
    assert list(probes.probes(both, thumbs)) == list(probes.probes(given, thumbs))

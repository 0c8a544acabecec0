from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import repflow_pl.data.fields.tvl1 as tvl1_module
from repflow_pl.data.fields.eight_bit import BOUND, STEP, ZERO, to_bytes, to_pixels
from repflow_pl.data.fields.tvl1 import CudaSolver, time_tvl1, tvl1
from repflow_pl.data.index import VideoSet
from repflow_pl.specs import ClipSpec
from tests.data.conftest import reader_of


def picture(dx: int, dy: int) -> np.ndarray:
    """A smooth texture whose content is moved right by dx and down by dy, [64, 64, 3]."""
    y, x = np.mgrid[0:64, 0:64]
    angle = 2 * np.pi / 64
    value = np.cos(angle * 5 * (x - dx) + 1) + np.cos(angle * 4 * (y - dy) + 2)
    value += np.cos(angle * (3 * (x - dx) + 4 * (y - dy)))
    return np.repeat((128 + 40 * value).astype(np.uint8)[..., None], 3, axis=-1)


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (-2, 0), (0, 2), (0, -2), (3, -1)])
def test_direction_axis_and_size(dx: int, dy: int) -> None:
    field = tvl1(picture(0, 0), picture(dx, dy))
    assert field.shape == (64, 64, 2) and field.dtype == np.float32
    inner = field[8:-8, 8:-8].reshape(-1, 2)
    np.testing.assert_allclose(np.median(inner, axis=0), (dx, dy), atol=0.15)


def test_eight_bits() -> None:
    field = np.linspace(-BOUND, BOUND, 9999, dtype=np.float32)
    assert np.abs(to_pixels(to_bytes(field)) - field).max() <= STEP / 2 + 1e-6
    assert to_bytes(np.zeros(1)) == ZERO and to_pixels(to_bytes(np.zeros(1))) == 0.0
    assert to_pixels(to_bytes(np.array([99.0, -99.0]))).tolist() == [BOUND, -BOUND]
    every = np.arange(1, 256, dtype=np.uint8)
    np.testing.assert_array_equal(to_bytes(to_pixels(every)), every)


@pytest.mark.parametrize("stride", [1, 3])
def test_kept_fields_are_those_between_the_frames(few: VideoSet, stride: int) -> None:
    clip = ClipSpec(stride=stride, size=32)
    fields = reader_of(few, clip, "tvl1")
    frames = reader_of(few, clip)
    video = few.videos[1]
    last = video.frames - 1
    for i in (0, 4, last - 1):
        pair = frames.frames(video, [i, min(i + stride, last)])
        expected = to_bytes(tvl1(pair[0], pair[1]))
        np.testing.assert_array_equal(fields.frames(video, [i])[0], expected)
    assert (fields.frames(video, [last]) == ZERO).all()


@pytest.mark.long
def test_fields_are_computed_once(
    few: VideoSet, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = ClipSpec()
    monkeypatch.setattr("repflow_pl.data.decoding.isolated.default_workers", lambda: 2)
    reader_of(few, clip, "tvl1")
    (file,) = (cache / "tvl1").iterdir()
    written = file.stat().st_mtime_ns
    reader_of(few, clip, "tvl1")
    assert file.stat().st_mtime_ns == written
    reader_of(few, ClipSpec(stride=2), "tvl1")
    assert len(list((cache / "tvl1").iterdir())) == 2


def test_fields_of_fields(few: VideoSet) -> None:
    """Each component of the fields is a grey picture of its own."""
    clip = ClipSpec(size=32)
    once = reader_of(few, clip, "tvl1")
    twice = reader_of(few, clip, "tvl1_twice")
    video = few.videos[1]
    first, second = once.frames(video, [2, 3])
    (found,) = twice.frames(video, [2])
    for component in (0, 1):
        grey = [np.repeat(f[..., component, None], 3, axis=2) for f in (first, second)]
        expected = to_bytes(tvl1(grey[0], grey[1]))
        np.testing.assert_array_equal(found[..., 2 * component : 2 * component + 2], expected)
    # The last field is none, so there is no motion from the one before to it.
    solved = []
    counted = replace(twice.source, solve=lambda *given: solved.append(given) or 0)
    assert (counted.read(video, range(video.frames - 3, video.frames))[1:] == ZERO).all()
    assert len(solved) == 1


def test_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.stack([picture(t, 0) for t in range(4)])
    solved: list[tuple[int, ...]] = []

    def counted(first: np.ndarray, second: np.ndarray, solver: CudaSolver | None) -> np.ndarray:
        solved.append(first.shape)
        return tvl1(first, second, solver=solver)

    monkeypatch.setattr(tvl1_module, "tvl1", counted)
    assert all(ms > 0 for ms in time_tvl1(frames, 3))
    assert len(solved) == 3 * 3  # pairs of frames
    solved.clear()
    assert len(time_tvl1(frames, 2, twice=True)) == 2
    assert len(solved) == 2 * (3 + 2 * 2)  # and of fields, twice two components

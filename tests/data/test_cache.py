from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as transforms

from repflow_pl.data.cache import (
    GuardedFrames,
    MappedFrames,
    crop_source,
    open_frames,
    prepared_shape,
    resize,
    resized_shape,
)
from repflow_pl.data.decode import read_frames
from repflow_pl.data.flat import FlatArrays
from repflow_pl.data.index import Video, VideoSet, open_set
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec, low_res

from .conftest import one_sentence, write_video

CLIPS = [
    ClipSpec(),
    ClipSpec(size=32),
    ClipSpec(size=80),
    ClipSpec(size=(20, 40)),
    ClipSpec(source_crop=(48, 40), size=(24, 20)),
]


@pytest.mark.parametrize("clip", CLIPS, ids=str)
def test_mapped_frames_are_the_decoded_ones(shapes: VideoSet, clip: ClipSpec) -> None:
    mapped = open_frames(shapes, clip, workers=0)
    decoded = open_frames(shapes, clip, bound=1000)
    assert isinstance(mapped, MappedFrames) and isinstance(decoded, GuardedFrames)
    for video in (shapes.videos[0], shapes.videos[-1]):
        indices = [3, 0, video.frames - 1, 3]
        frames = mapped.frames(video, indices)
        assert frames.shape == (4, *prepared_shape(video, clip), 3) and frames.dtype == np.uint8
        np.testing.assert_array_equal(frames, decoded.frames(video, indices))


def test_untouched_frames_are_the_files_own(shapes: VideoSet) -> None:
    video = shapes.videos[5]
    expected = read_frames(shapes.root / video.path, [1, 2])
    np.testing.assert_array_equal(open_frames(shapes, ClipSpec()).frames(video, [1, 2]), expected)


def test_the_preparation_is_torchvisions() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 60, 80, 3), dtype=np.uint8)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    cropped = transforms.center_crop(pixels, [40, 50])
    expected = transforms.resize(cropped, [20, 25], antialias=True).permute(0, 2, 3, 1)
    clip = ClipSpec(source_crop=(40, 50), size=20)
    found = resize(crop_source(frames, clip), resized_shape(40, 50, clip))
    np.testing.assert_array_equal(found, expected.numpy())


def test_the_file_is_made_once_and_shared(shapes: VideoSet, cache: Path) -> None:
    open_frames(shapes, ClipSpec(frames=8), workers=0)
    (file,) = (cache / "frames").iterdir()
    written = file.stat().st_mtime_ns
    open_frames(shapes, ClipSpec(frames=4, crop=(8, 8)), workers=0)
    assert file.stat().st_mtime_ns == written
    open_frames(shapes, ClipSpec(size=32), workers=0)
    assert len(list((cache / "frames").iterdir())) == 2


def test_sizes_may_differ_from_video_to_video(tmp_path: Path) -> None:
    for i in range(4):
        part = "train" if i < 3 else "test"
        write_video(tmp_path / "set" / part / "run" / f"{i}.mp4", size=(48, 64 + 16 * i))
    opened = open_set("folder", tmp_path / "set", workers=0)
    frames = open_frames(opened, ClipSpec(size=24), workers=0)
    for video in opened.videos:
        assert frames.frames(video, [0]).shape == (1, 24, video.width // 2, 3)


def test_half_a_file_is_never_taken(tmp_path: Path) -> None:
    arrays = FlatArrays.at(tmp_path / "a.u8", {"a": (2, 3), "b": (4,)})
    with pytest.raises(ValueError):
        arrays.write([np.zeros((2, 3), np.uint8)])
    assert not arrays.is_written() and list(tmp_path.iterdir()) == []
    arrays.write([np.arange(6, dtype=np.uint8).reshape(2, 3), np.full(4, 9, np.uint8)])
    assert arrays.is_written()
    assert arrays.read("a", [1]).tolist() == [[3, 4, 5]]
    assert arrays.read("b", [0, 3]).tolist() == [9, 9]
    arrays.path.write_bytes(b"short")
    assert not arrays.is_written()


def test_a_video_smaller_than_the_source_crop_is_refused() -> None:
    video = Video("run/1.mp4", 0, "train", 10, 10.0, width=64, height=48, bytes=1)
    with pytest.raises(UserError, match=r"run/1\.mp4 is 48 x 64") as error:
        prepared_shape(video, ClipSpec(source_crop=(50, 50)))
    one_sentence(error)


def test_half_of_the_files_frames() -> None:
    def shape(height: int, width: int, clip: ClipSpec) -> tuple[int, int]:
        return prepared_shape(Video("a.avi", 0, "train", 9, 30.0, width, height, 1), clip)

    clip = low_res(ClipSpec())
    assert shape(240, 320, clip) == (120, 160)
    # Half of a narrow film is less than the crop, which the frames then just hold.
    assert shape(240, 176, clip) == (153, 112)
    assert shape(64, 64, clip) == (112, 112)
    frames = np.random.default_rng(0).integers(0, 256, (1, 240, 320, 3), dtype=np.uint8)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    expected = transforms.resize(pixels, [120, 160], antialias=True).permute(0, 2, 3, 1)
    np.testing.assert_array_equal(resize(frames, shape(240, 320, clip)), expected.numpy())

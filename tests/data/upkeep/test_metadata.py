import dataclasses

import numpy as np
import pytest

from repflow_pl.data.index import VideoSet
from repflow_pl.data.sets.motion_shapes import CLASSES, scene
from repflow_pl.data.upkeep.metadata import metadata_baseline


@pytest.mark.long
def test_metadata_that_tells_the_class_is_found_out(shapes: VideoSet) -> None:
    told = [
        dataclasses.replace(video, width=100 + video.label, frames=20) for video in shapes.videos
    ]
    baseline = metadata_baseline(dataclasses.replace(shapes, videos=tuple(told)), seeds=3)
    assert baseline.accuracy == (1.0, 1.0, 1.0)
    assert (baseline.accuracy_mean, baseline.half_width) == (1.0, 0.0)
    assert (baseline.chance, baseline.right.shape) == (1 / 16, (3, 16))


def test_the_embedded_set_gives_nothing_away(shapes: VideoSet) -> None:
    videos = []
    for split, count in (("train", 640), ("test", 320)):
        for index in range(count):
            what = scene(0, split, index)
            label = CLASSES.index(what.label)
            named = dataclasses.replace(shapes.videos[0], path=f"{split}/{index}", label=label)
            videos.append(dataclasses.replace(named, split=split, frames=what.frames))
    baseline = metadata_baseline(dataclasses.replace(shapes, videos=tuple(videos)), seeds=1)
    assert baseline.accuracy_mean == pytest.approx(1 / 16, abs=4 * np.sqrt(1 / 16 * 15 / 16 / 320))

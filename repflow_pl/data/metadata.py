"""What a data set gives away without a look at the pixels.

A random forest on width, height, number of frames and frame rate. Where it is ahead of chance, an
accuracy on the set means less than it seems to, and stands beside this one in the report.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repflow_pl.data.index import Video, VideoSet


@dataclass(frozen=True)
class MetadataBaseline:
    """Test accuracy from metadata alone, in shares of 1."""

    accuracy: tuple[float, ...]
    """One per seed of the forest."""
    chance: float
    """Of always naming the most frequent class of the test part."""
    n_test: int

    @property
    def accuracy_mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.accuracy))

    @property
    def half_width(self) -> float:
        """Half of the 95 % t interval over the seeds: the forest's own scatter, not the videos'."""
        from scipy.stats import t

        n = len(self.accuracy)
        if n < 2:
            return float("nan")
        return float(t.ppf(0.975, n - 1) * np.std(self.accuracy, ddof=1) / np.sqrt(n))


def metadata_baseline(video_set: VideoSet, seeds: int = 5) -> MetadataBaseline:
    """Train on the train and val parts, test on the test part."""
    from sklearn.ensemble import RandomForestClassifier

    train = [*video_set.part("train"), *video_set.part("val")]
    test = video_set.part("test")
    labels = np.array([video.label for video in test])
    accuracy = []
    for seed in range(seeds):
        forest = RandomForestClassifier(200, random_state=seed)
        forest.fit(_features(train), [video.label for video in train])
        accuracy.append(float((forest.predict(_features(test)) == labels).mean()))
    chance = float(np.bincount(labels).max() / len(labels))
    return MetadataBaseline(tuple(accuracy), chance, len(test))


def _features(videos: list[Video] | tuple[Video, ...]) -> npt.NDArray[np.float64]:
    return np.array([(video.width, video.height, video.frames, video.fps) for video in videos])

"""What to begin with on a set of this size, from what served on sets that were trained."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from repflow_pl.data.index import VideoSet
from repflow_pl.specs import ClipSpec
from repflow_pl.training.recording.predictions import groups_of

STEPS = 1300
"""Of training, in all: 520 clips of UCF101 took 40 epochs of batches of 16."""
FEWEST_EPOCHS, MOST_EPOCHS = 10, 60
BATCHES = (16, 12, 8, 4, 2)
"""The largest that leaves five steps in an epoch or more; 60 clips of UT-Interaction took 12."""
FRAMES = 8
STEP = 0.08
"""Seconds from frame to frame of a clip: two frames of 25 a second."""
ONE_RATE = 1.1
"""Rates that differ by less are one."""


@dataclass(frozen=True)
class Suggestion:
    """Options of the tables' scripts, and how finely a figure can be told on this set."""

    options: str
    why: str
    half_width: float
    """About so far, as a fraction, does an accuracy's 95 % interval reach to either side by the
    choice of test videos alone, at worst."""


def suggest(split: VideoSet) -> Suggestion | None:
    """For the first run on a split; None where it has nothing to train or test."""
    train, test = split.part("train"), split.part("test")
    if not train or not test:
        return None
    batch = next((size for size in BATCHES if 5 * size <= len(train)), BATCHES[-1])
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(STEPS * batch / len(train))))
    rates = np.array([video.fps for video in train if video.fps] or [1 / STEP])
    options = [f"--recipe.epochs {epochs}", f"--recipe.batch {batch}", f"--clip.frames {FRAMES}"]
    if rates.max() > ONE_RATE * rates.min():
        clip = ClipSpec(FRAMES, seconds=STEP)
        options.append(f"--clip.seconds {STEP:g}")
        timed = (
            f"frames {STEP:g} seconds apart, for the rates differ (rows with TV-L1 flow need a "
            "stride in frames: leave them out by --rows)"
        )
    else:
        stride = max(1, round(STEP * float(np.median(rates))))
        clip = ClipSpec(FRAMES, stride)
        options.append(f"--clip.stride {stride}")
        timed = f"every frame of {stride}, about {STEP:g} seconds apart"
    if any(video.frames <= clip.offsets(video.fps)[-1] for video in split.videos):
        options.append("--clip.short hold")
    groups = int(groups_of(test).max()) + 1
    return Suggestion(
        " ".join(options),
        f"{len(train)} training videos: {epochs} epochs of batches of {batch} are about "
        f"{max(1, len(train) // batch) * epochs} steps; {timed}. Rules of thumb from sets of 60, "
        "520 and 640 training videos: choose on a validation part, never on the test part.",
        round(1.96 * sqrt(0.25 / groups), 3),
    )

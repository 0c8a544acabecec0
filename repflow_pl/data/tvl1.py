"""TV-L1 optical flow by OpenCV, computed once for a set and kept as 8 bit.

Zach, Pock and Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow", DAGM 2007.

A field is kept in steps of 1/8 pixel around 128: byte b stands for (b - 128) / 8 pixels. Motion is
clipped at 15.875 pixels, rounding is off by 1/16 pixel at most, and 128 is exactly no motion.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repflow_pl.data.cache import DecodedFrames, filled, preparation_key, prepared_shape
from repflow_pl.data.eight_bit import BOUND, STEP, ZERO, to_bytes, to_pixels
from repflow_pl.data.flat import FlatArrays
from repflow_pl.data.flow_files import KeptFields, kept_fields
from repflow_pl.data.index import Video, VideoSet, cache_dir
from repflow_pl.data.isolated import isolated_map
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec

Fields = npt.NDArray[np.uint8]

VIDEO_TIMEOUT = 3600.0
"""Seconds that the fields of one video may take."""

__all__ = [
    "BOUND",
    "STEP",
    "ZERO",
    "TVL1Options",
    "open_fields",
    "time_tvl1",
    "to_bytes",
    "to_pixels",
    "tvl1",
]


@dataclass(frozen=True)
class TVL1Options:
    """How long OpenCV iterates; what is not here is left at OpenCV's defaults.

    Chosen for frames of about 64 x 64. Over 100 pairs of motion_shapes with known motion (1.5 to 3
    pixels per frame, read back from H.264), on one core:

        scales  scale step  warps  outer x inner   ms per pair   end-point error, px (on the object)
          5        0.8        5       10 x 30         76.0         0.20 (0.21)   OpenCV's defaults
          3        0.5        3        2 x 10         17.6         0.22 (0.22)
          3        0.5        2        2 x 10         12.3         0.24 (0.26)
          3        0.5        1        2 x 10          6.0         0.27 (0.29)   chosen
          3        0.5        1        2 x 5           3.3         0.29 (0.32)

    Three scales of factor 2 reach motions of several pixels and leave 16 x 16 at the coarsest. The
    chosen row takes a twelfth of the defaults' time and loses 0.07 pixels, half an 8-bit step.
    """

    scales: int = 3
    scale_step: float = 0.5
    warps: int = 1
    outer: int = 2
    inner: int = 10


@dataclass(frozen=True)
class FlowFields:
    """The TV-L1 fields of a set, memory-mapped."""

    arrays: FlatArrays

    def fields(self, video: Video, indices: Sequence[int]) -> Fields:
        """The fields that start at frames `indices`, uint8 [n, h, w, 2], x before y.

        Field i is the motion from frame i to frame min(i + stride, last). Fields of fields are
        [n, h, w, 4]: the flow of the x-component of the fields, then that of the y-component.
        """
        return self.arrays.read(video.path, indices)


def open_fields(
    video_set: VideoSet,
    clip: ClipSpec,
    options: TVL1Options | None = None,
    workers: int | None = None,
    twice: bool = False,
) -> FlowFields | KeptFields:
    """The fields between a set's prepared frames i and i + `clip.stride`; computed once.

    With `twice`, the fields of these fields: TV-L1 of each component, taken as a grey picture.

    They are shared by all runs with the same videos, preparation, stride and options. There is no
    bound on their size but the disk: TV-L1 is too slow to be computed while training. Where the set
    was prepared with its fields, those are read.
    """
    kept = None if twice else kept_fields(video_set, clip)
    if kept is not None:
        return kept
    options = options or TVL1Options()
    how = repr((clip.stride, STEP, options, "twice") if twice else (clip.stride, STEP, options))
    digest = hashlib.sha256(how.encode()).hexdigest()[:8]
    name = f"{preparation_key(video_set, clip)}-{digest}.u8"
    shapes = {
        video.path: (video.frames, *prepared_shape(video, clip), 4 if twice else 2)
        for video in video_set.videos
    }
    arrays = FlatArrays.at(cache_dir() / "tvl1" / name, shapes)
    if not arrays.is_written():
        # Decoded anew rather than read from the cache: it costs little beside TV-L1, and the jobs
        # stay small.
        source = DecodedFrames(video_set.root, clip)
        jobs = [(source, video, clip.stride, options, twice) for video in video_set.videos]
        label = f"TV-L1 of TV-L1 of {video_set.name}" if twice else f"TV-L1 of {video_set.name}"
        found = isolated_map(_all_fields, jobs, label, workers, VIDEO_TIMEOUT)
        arrays.write(
            filled(job[1], fields, arrays.shapes[job[1].path], ZERO) for job, fields in found
        )
    return FlowFields(arrays)


def tvl1(
    first: npt.NDArray[np.uint8],
    second: npt.NDArray[np.uint8],
    options: TVL1Options | None = None,
    solver: CudaSolver | None = None,
) -> npt.NDArray[np.float32]:
    """Motion from one RGB frame [h, w, 3] to another: float32 [h, w, 2], pixels, x before y.

    Content that moves right has positive x, content that moves down positive y.
    """
    import cv2

    solver = solver or _solver(options or TVL1Options())
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    field: npt.NDArray[np.float32] = solver.calc(grey[0], grey[1], None)
    return field


def time_tvl1(
    frames: npt.NDArray[np.uint8],
    repeats: int,
    options: TVL1Options | None = None,
    twice: bool = False,
) -> list[float]:
    """Milliseconds that the fields of a clip [T, h, w, 3] take on one core, each time.

    `twice` adds the fields of the fields.
    """
    one_core()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        fields = [to_bytes(tvl1(a, b, options)) for a, b in itertools.pairwise(frames)]
        if twice:
            for first, second in itertools.pairwise(fields):
                _of_components(first, second, options)
        times.append(1000 * (time.perf_counter() - begin))
    return times


def _all_fields(job: tuple[DecodedFrames, Video, int, TVL1Options, bool]) -> Fields:
    source, video, stride, options, twice = job
    one_core()
    frames = source.frames(video, range(video.frames))
    last = video.frames - 1
    fields = np.full((*frames.shape[:3], 2), ZERO, np.uint8)
    for i in range(last):
        fields[i] = to_bytes(tvl1(frames[i], frames[min(i + stride, last)], options))
    if not twice:
        return fields
    of_fields = np.full((*frames.shape[:3], 4), ZERO, np.uint8)
    for i in range(last - 1):  # the last field is no motion at all
        of_fields[i] = _of_components(fields[i], fields[min(i + stride, last - 1)], options)
    return of_fields


def _of_components(first: Fields, second: Fields, options: TVL1Options | None) -> Fields:
    """TV-L1 between two fields' x-components and their y-components: [h, w, 4]."""
    pairs = [
        [np.repeat(field[..., c : c + 1], 3, axis=2) for field in (first, second)] for c in (0, 1)
    ]
    return np.concatenate([to_bytes(tvl1(a, b, options)) for a, b in pairs], axis=2)


def one_core() -> None:
    """OpenCV's own threads gain nothing on small frames, and the videos are shared out already."""
    import cv2

    cv2.setNumThreads(1)


def cuda_device() -> bool:
    """Whether OpenCV was built with CUDA and sees a device."""
    import cv2

    if not hasattr(cv2, "cuda") or not hasattr(cv2.cuda, "OpticalFlowDual_TVL1"):
        return False
    return bool(cv2.cuda.getCudaEnabledDeviceCount() > 0)


class CudaSolver:
    """OpenCV's CUDA build of TV-L1, called like the one for the CPU. Same steps, other rounding."""

    def __init__(self, options: TVL1Options) -> None:
        import cv2

        cuda: Any = cv2.cuda
        self.solver: Any = cuda.OpticalFlowDual_TVL1.create(
            nscales=options.scales,
            scaleStep=options.scale_step,
            warps=options.warps,
            iterations=options.outer * options.inner,
        )

    def calc(self, first: Any, second: Any, flow: None) -> npt.NDArray[np.float32]:
        """Motion between two grey frames, [h, w, 2]."""
        import cv2

        frames = []
        for grey in (first, second):
            frames.append(cv2.cuda.GpuMat())
            frames[-1].upload(grey)
        field: npt.NDArray[np.float32] = self.solver.calc(*frames, flow).download()
        return field


def _solver(options: TVL1Options) -> Any:
    import cv2

    contributed: Any = getattr(cv2, "optflow", None)
    if contributed is None:
        raise UserError(
            "TV-L1 needs OpenCV's contributed modules: "
            "replace opencv-python by opencv-contrib-python-headless."
        )
    solver = contributed.DualTVL1OpticalFlow_create()
    solver.setScalesNumber(options.scales)
    solver.setScaleStep(options.scale_step)
    solver.setWarpingsNumber(options.warps)
    solver.setOuterIterations(options.outer)
    solver.setInnerIterations(options.inner)
    return solver

"""TV-L1 optical flow by OpenCV, computed once for a set and kept as 8 bit.

Zach, Pock and Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow", DAGM 2007.
"""

from __future__ import annotations

import itertools
import timeit
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repflow_pl.data.fields.eight_bit import to_bytes
from repflow_pl.errors import UserError
from repflow_pl.extras import load

Fields = npt.NDArray[np.uint8]


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


def tvl1(
    first: npt.NDArray[np.uint8],
    second: npt.NDArray[np.uint8],
    options: TVL1Options | None = None,
    solver: CudaSolver | None = None,
) -> npt.NDArray[np.float32]:
    """Motion from one RGB frame [h, w, 3] to another: float32 [h, w, 2], pixels, x before y.

    Content that moves right has positive x, content that moves down positive y.
    """
    cv2 = load("cv2")
    solver = solver or _solver(options or TVL1Options())
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    field: npt.NDArray[np.float32] = solver.calc(grey[0], grey[1], None)
    return field


def of_frames(first: Fields, second: Fields, solver: CudaSolver | None = None) -> Fields:
    """`tvl1` in eight bits, on one core: OpenCV's own threads gain nothing on small frames, and the
    videos are shared out already."""
    load("cv2").setNumThreads(1)
    return to_bytes(tvl1(first, second, solver=solver))


def of_components(first: Fields, second: Fields) -> Fields:
    """The same between two fields' x-components and their y-components: [h, w, 4]."""
    pairs = [
        [np.repeat(field[..., c : c + 1], 3, axis=2) for field in (first, second)] for c in (0, 1)
    ]
    return np.concatenate([of_frames(a, b) for a, b in pairs], axis=2)


def time_tvl1(frames: npt.NDArray[np.uint8], repeats: int, twice: bool = False) -> list[float]:
    """Milliseconds that the fields of a clip [T, h, w, 3] take on one core, each time.

    `twice` adds the fields of the fields.
    """

    def solve() -> None:
        fields = list(itertools.starmap(of_frames, itertools.pairwise(frames)))
        if twice:
            list(itertools.starmap(of_components, itertools.pairwise(fields)))

    return [1000 * seconds for seconds in timeit.repeat(solve, number=1, repeat=repeats)]


def check_installed() -> None:
    """Errors: NotInstalled without OpenCV, UserError where it lacks TV-L1."""
    _solver(TVL1Options())


def cuda_device() -> bool:
    """Whether OpenCV was built with CUDA and sees a device."""
    cv2 = load("cv2")
    if not hasattr(cv2, "cuda") or not hasattr(cv2.cuda, "OpticalFlowDual_TVL1"):
        return False
    return bool(cv2.cuda.getCudaEnabledDeviceCount() > 0)


class CudaSolver:
    """OpenCV's CUDA build of TV-L1, called like the one for the CPU.

    It has no median filter, by which the one for the CPU begins each outer iteration. Without it
    that one's fields of motion_shapes are another by 0.04 pixels on average, at edges by several.
    """

    def __init__(self, options: TVL1Options) -> None:
        cv2 = load("cv2")
        cuda: Any = cv2.cuda
        self.solver: Any = cuda.OpticalFlowDual_TVL1.create(
            nscales=options.scales,
            scaleStep=options.scale_step,
            warps=options.warps,
            iterations=options.outer * options.inner,
        )

    def calc(self, first: Any, second: Any, flow: None) -> npt.NDArray[np.float32]:
        """Motion between two grey frames, [h, w, 2]."""
        cv2 = load("cv2")
        frames = []
        for grey in (first, second):
            frames.append(cv2.cuda.GpuMat())
            frames[-1].upload(grey)
        field: npt.NDArray[np.float32] = self.solver.calc(*frames, flow).download()
        return field


def _solver(options: TVL1Options) -> Any:
    cv2 = load("cv2")
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

"""OpenCV's TV-L1 on one pair of RGB frames, for the benchmark's RGB lines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from bench.cells import Cell, frames_of
from repflow_pl.errors import UserError

#: What the package computes its fields with, and OpenCV's own defaults.
SETTINGS = ("OpenCV, package's setting", "OpenCV, its defaults")


def opencv_calls(cell: Cell, threads: int) -> dict[str, Callable[[], object]]:
    """A call for each setting: one pair of the cell's frames as RGB bytes, greyed and solved.

    Errors: ValueError where OpenCV or its contributed modules are missing.
    """
    try:
        import cv2

        from repflow_pl.data.fields.tvl1 import TVL1Options, tvl1

        first, second = (
            frames[0].permute(1, 2, 0).round().to(torch.uint8).contiguous().numpy()
            for frames in frames_of(cell, torch.device("cpu"))
        )
        cv2.setNumThreads(threads)
        defaults = TVL1Options(scales=5, scale_step=0.8, warps=5, outer=10, inner=30)
        options = dict(zip(SETTINGS, (TVL1Options(), defaults), strict=True))
        tvl1(first, second)
    except ImportError as error:
        raise ValueError(f"{error.name or error} cannot be imported") from error
    except UserError as error:
        raise ValueError(str(error)) from error
    return {name: partial(tvl1, first, second, chosen) for name, chosen in options.items()}

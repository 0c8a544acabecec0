"""The trained networks that come with the package, and videos to try them on."""

from __future__ import annotations

from pathlib import Path

from repflow_pl.data.sets.motion_shapes import draw, encode, scene
from repflow_pl.showing.weights import SUFFIX

FOLDER = Path(__file__).parents[1] / "bundled"
"""Files that experiments/bundled_weights.py made, <data set>.safetensors."""
DEMO = "motion_shapes"
"""Whose weights the demonstration asks."""
SHOWN = (0, 5, 10, 15)
"""Of its test videos, which are drawn anew: every shape and every direction once."""


def bundled(name: str) -> Path | None:
    """The file of the weights of that name; None for any other name."""
    return {path.stem: path for path in FOLDER.glob(f"*{SUFFIX}")}.get(name)


def demo_videos(folder: Path) -> list[Path]:
    """Write the videos to ask about, each named after what it shows."""
    paths = []
    for index in SHOWN:
        shown = scene(0, "test", index)
        paths.append(folder / f"{shown.label}.mp4")
        encode(draw(shown), paths[-1])
    return paths

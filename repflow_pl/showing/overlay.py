"""A video with its flow over it, on a page for a browser: films of both side by side, which the
page lays over each other."""

from __future__ import annotations

import base64
import io
import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from repflow_pl.files import atomic_write
from repflow_pl.showing.film import film
from repflow_pl.showing.watch import Watching
from repflow_pl.showing.wheel import colour_wheel
from repflow_pl.templates import template

PAGE = ".html"
SMALLEST = 128
"""Short side in pixels of what is shown: a smaller video is enlarged by a whole number."""
WHEEL = 72


@dataclass(frozen=True)
class Overlay:
    """A film for a page: frames in the left half, flow in the right one."""

    address: str
    """As seen from the page."""
    height: int
    width: int
    """Of the frames."""
    said: str
    """Where the flow comes from, and the length that has the full colour."""


def write_overlays(
    watched: Watching, folder: Path, name: str = "flow"
) -> tuple[list[Overlay], int]:
    """Write a film of each source, and count their frames.

    They are FOLDER/NAME_0.mp4 and so on, of a page beside the folder.

    Errors: UserError where they cannot be written.
    """
    zoom = math.ceil(SMALLEST / min(watched.size))
    height, width = (zoom * side for side in watched.size)
    paths = [folder / f"{name}_{number}.mp4" for number in range(len(watched.sources))]
    shown = [
        Overlay(
            quote(f"{folder.name}/{path.name}"),
            height,
            width,
            f"{source.name}, full colour at {zoom * scale:.2g} pixels per frame",
        )
        for path, source, scale in zip(paths, watched.sources, watched.scales, strict=True)
    ]
    count = 0
    with ExitStack() as films:
        adders = [
            films.enter_context(film(path, watched.rate, (height, 2 * width))) for path in paths
        ]
        for seen in watched.seen:
            count += 1
            for add, flow in zip(adders, watched.coloured(seen), strict=True):
                both = np.concatenate([seen.frame, flow], axis=1)
                add(both.repeat(zoom, 0).repeat(zoom, 1))
    return shown, count


def write_html(page: Path, source: str, **said: Any) -> None:
    """Write a page from a template of web/, which knows the wheel's picture too.

    Errors: UserError where it cannot be written.
    """
    text = template("showing", source).render(wheel=_wheel(), wheel_size=WHEEL, **said)
    with atomic_write(page) as stream:
        stream.write(text)


def _wheel() -> str:
    """The colours' legend as an address that holds all of it."""
    stream = io.BytesIO()
    Image.fromarray(colour_wheel(WHEEL)).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"

"""Pictures one after the other become a film: MP4, GIF or WebM, by FFmpeg's encoders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from repflow_pl.data.decoding.decode_pyav import pyav
from repflow_pl.errors import UserError
from repflow_pl.files import unwritable
from repflow_pl.showing.wheel import Picture

Show = Callable[[Picture], None]
"""Adds a picture uint8 [H, W, 3] with an even height and width."""


@dataclass(frozen=True)
class Format:
    """How a kind of film is written."""

    container: str
    codec: str
    pixels: str
    options: dict[str, str] = field(default_factory=dict)


FORMATS = {
    ".mp4": Format(
        "mp4", "libx264", "yuv420p", {"crf": "20", "preset": "veryfast", "movflags": "+faststart"}
    ),
    ".gif": Format("gif", "gif", "pal8"),
    ".webm": Format(
        "webm",
        "libvpx-vp9",
        "yuv420p",
        {"crf": "32", "b": "0", "deadline": "realtime", "cpu-used": "8", "row-mt": "1"},
    ),
}


@contextmanager
def film(path: Path, rate: Fraction, size: tuple[int, int]) -> Iterator[Show]:
    """Write a film of the pictures that are shown in the block; it is whole or absent.

    Args:
        rate: pictures per second.
        size: (height, width) of each.

    Errors: UserError for an ending that is none of FORMATS, and for a place that cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path} should end in one of {', '.join(FORMATS)}.")
    how = FORMATS[path.suffix.lower()]
    av = pyav()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # file: a name as 10:30.mp4 is no address
        with av.open(f"file:{part}", "w", format=how.container) as container:
            stream = container.add_stream(how.codec, rate=rate, options=how.options)
            stream.height, stream.width = size
            stream.pix_fmt = how.pixels
            palettes = _Palettes(size, rate) if how.pixels == "pal8" else None
            count = 0

            def show(picture: Picture) -> None:
                nonlocal count
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = count, 1 / rate
                count += 1
                for ready in [frame] if palettes is None else palettes.of(frame):
                    container.mux(stream.encode(ready))

            yield show
            for last in palettes.of(None) if palettes is not None else ():
                container.mux(stream.encode(last))
            container.mux(stream.encode())
        part.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        part.unlink(missing_ok=True)


class _Palettes:
    """Gives each picture the palette of 256 colours that fits it best."""

    def __init__(self, size: tuple[int, int], rate: Fraction) -> None:
        av = pyav()
        self.graph = graph = av.filter.Graph()
        source = graph.add_buffer(width=size[1], height=size[0], format="rgb24", time_base=1 / rate)
        split, sink = graph.add("split"), graph.add("buffersink")
        palette = graph.add("palettegen", "stats_mode=single")
        use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=4")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(palette, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()

    def of(self, frame: Any) -> Iterator[Any]:
        """What is ready after this frame, or after the last one, which is None."""
        av = pyav()
        self.graph.push(frame)
        while True:
            try:
                yield self.graph.pull()
            except (BlockingIOError, EOFError, av.FFmpegError):
                return

"""Videos of the kinds that decoders trip over, written at test time."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def picture(t: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Frame t, which looks like no other: bars count in binary, and a texture moves."""
    rng = np.random.default_rng(7)
    frame = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
    frame = np.roll(frame.repeat(8, 0).repeat(8, 1), 2 * t, axis=1)
    for bit in range(8):
        frame[:8, bit * 8 : bit * 8 + 8] = 255 if t >> bit & 1 else 0
    return np.ascontiguousarray(frame)


def number(frame: np.ndarray) -> int:
    """Which frame of `picture` this is."""
    return sum(1 << bit for bit in range(8) if frame[2:6, bit * 8 + 2 : bit * 8 + 6].mean() > 128)


def write(
    path: Path,
    frames: int = 90,
    gap: int = 10,
    b_frames: int = 0,
    open_gop: bool = False,
    variable: bool = False,
    codec: str = "libx264",
) -> Path:
    """H.264, mpeg4 or mjpeg at 30 frames per second, a keyframe every `gap` frames.

    variable: every third frame is shown three times as long.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width = 48, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        base = Fraction(1, 90) if codec == "libx264" else Fraction(1, 30)
        stream.time_base = stream.codec_context.time_base = base
        stream.codec_context.gop_size = gap
        stream.codec_context.max_b_frames = b_frames
        if codec == "libx264":
            stream.options = {
                "crf": "12",
                "x264-params": f"scenecut=0:bframes={b_frames}:open-gop={int(open_gop)}:b-adapt=0",
            }
        time = 0
        for t in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(t), format="rgb24")
            frame.pts, frame.time_base = time, base
            time += int(Fraction(1, 10 if variable and t % 3 == 0 else 30) / base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def drop(path: Path, places: Iterable[int]) -> Path:
    """Make chunks of an AVI empty, as programs write a frame that they came too late for."""
    content = bytearray(path.read_bytes())
    first = content.rindex(b"idx1") + 8
    for place in places:
        entry = first + 16 * place
        offset, size = struct.unpack_from("<II", content, entry + 8)
        struct.pack_into("<I", content, entry + 12, 0)
        at = content.index(b"movi") + offset + 4
        struct.pack_into("<I4sI", content, at, 0, b"JUNK", size + size % 2 - 8)
    path.write_bytes(content)
    return path


def rotate(path: Path, matrix: tuple[int, int, int, int] = (0, 1, -1, 0)) -> Path:
    """Ask players of an mp4 to turn it by 90 degrees, as telephones do, and touch nothing else.

    matrix: (a, b, c, d); what is at (x, y) is shown at (a x + c y, b x + d y), y downwards.
    """
    content = bytearray(path.read_bytes())
    header = content.index(b"tkhd") + 4
    place = header + 40  # version 0: flags, times, track, duration, layer, group, volume
    a, b, c, d = (each << 16 for each in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def cut(path: Path, target: Path, first: int) -> Path:
    """A copy from frame `first` on, as by `ffmpeg -ss FIRST -i PATH -c copy TARGET`: what comes
    before it is needed to decode it, stays in the file, and is not shown."""
    first_the_header = {"movflags": "faststart"}
    with (
        av.open(str(path)) as source,
        av.open(str(target), "w", options=first_the_header) as container,
    ):
        video = source.streams.video[0]
        stream = container.add_stream_from_template(video)
        for packet in source.demux(video):
            if packet.size:
                shift = round(first / (30 * packet.time_base))
                packet.pts, packet.dts, packet.stream = (
                    packet.pts - shift,
                    packet.dts - shift,
                    stream,
                )
                container.mux(packet)
    return target

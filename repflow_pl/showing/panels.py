"""A picture of several panels side by side, each with its name, above a legend of the colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from repflow_pl.showing.wheel import Picture, colour_wheel

HEAD, FOOT, GAP = 20, 68, 4
"""Pixels above each panel, below all of them, and between them."""
WHEEL = 56
INK, PAPER = (30, 30, 30), (255, 255, 255)
FONT_SIZE = 13
NARROWEST, WIDEST = 150, 1280
"""Pixels of a panel, which is enlarged to hold its name, and of a line of panels; more of them go
onto several lines."""


@dataclass(frozen=True)
class Panel:
    """What stands above a panel, and in the legend of its colours."""

    name: str
    longest: float | None = None
    """The length that has the full colour, in the picture's pixels per frame; None of a panel that
    shows no flow."""


class Layout:
    """Where everything is; what does not change is drawn once.

    Args:
        size: (height, width) of the pictures.
    """

    def __init__(self, panels: Sequence[Panel], size: tuple[int, int]) -> None:
        self.panels = panels
        self.zoom = math.ceil(NARROWEST / size[1])
        self.size = height, width = size[0] * self.zoom, size[1] * self.zoom
        most = max(1, (WIDEST + GAP) // (width + GAP))
        self.columns = min(len(panels), most)
        if len(panels) == 4 and self.columns == 3:
            self.columns = 2
        lines = math.ceil(len(panels) / self.columns)
        legend = _legend(panels)
        whole_width = max(self.columns * (width + GAP) - GAP, legend.width)
        whole_height = lines * (HEAD + height) + FOOT
        # H.264 with colours at half resolution takes even sizes alone.
        self.shape = (whole_height + whole_height % 2, whole_width + whole_width % 2)
        image = Image.new("RGB", self.shape[::-1], PAPER)
        draw = ImageDraw.Draw(image)
        for panel, (top, left) in zip(panels, self.places(), strict=True):
            draw.text((left + 2, top - HEAD + 2), panel.name, INK, font())
        image.paste(legend, (0, self.shape[0] - FOOT))
        self._blank: Picture = np.array(image)

    def places(self) -> list[tuple[int, int]]:
        """(top, left) of each panel's pixels."""
        height, width = self.size
        return [
            (HEAD + (k // self.columns) * (HEAD + height), (k % self.columns) * (width + GAP))
            for k in range(len(self.panels))
        ]

    def picture(self, pictures: Sequence[Picture]) -> Picture:
        """One picture [H, W, 3] of the panels' own, [h, w, 3] each."""
        whole: Picture = self._blank.copy()
        height, width = self.size
        for (top, left), picture in zip(self.places(), pictures, strict=True):
            large = picture.repeat(self.zoom, 0).repeat(self.zoom, 1)
            whole[top : top + height, left : left + width] = large
        return whole


def _legend(panels: Sequence[Panel]) -> Image.Image:
    """The wheel, and the length of its rim in each panel of flow."""
    lengths = [f"{p.name} {p.longest:.2g}" for p in panels if p.longest is not None]
    lines = [
        "hue: direction; colour: length, full at the wheel's rim,",
        f"in pixels per frame: {', '.join(lengths)}",
    ]
    width = WHEEL + 16 + max(round(font().getlength(line)) for line in lines)
    legend = Image.new("RGB", (width, FOOT), PAPER)
    legend.paste(Image.fromarray(colour_wheel(WHEEL)), (4, (FOOT - WHEEL) // 2))
    draw = ImageDraw.Draw(legend)
    for k, line in enumerate(lines):
        draw.text((WHEEL + 12, 16 + k * (FONT_SIZE + 6)), line, INK, font())
    return legend


def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own."""
    return ImageFont.load_default(FONT_SIZE)

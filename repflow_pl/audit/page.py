"""The page of an audit: index.html, with the pictures of the pairs beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from repflow_pl import report
from repflow_pl.audit.findings import Findings, Pair
from repflow_pl.audit.thumbs import HEIGHT, WIDTH, Thumbs
from repflow_pl.files import atomic_write
from repflow_pl.templates import template

PAGE = "index.html"
PICTURES = "pairs"
SHOWN = 200
"""Pairs that the page has; all are in the JSON."""
TIMES = 3
"""Times as large as they are compared, pictures are shown."""
GAP = 2
"""White columns between two pictures."""


def write_pictures(
    pairs: Sequence[Pair], thumbs: Mapping[str, Thumbs], out: Path
) -> tuple[Pair, ...]:
    """Write a picture of each of the first SHOWN pairs; the pairs with their pictures' names."""
    (out / PICTURES).mkdir(parents=True, exist_ok=True)
    for left in (out / PICTURES).glob("[0-9]" * 4 + ".png"):  # of an earlier audit
        left.unlink()
    made = []
    for number, pair in enumerate(pairs):
        name = f"{PICTURES}/{number:04d}.png" if number < SHOWN else ""
        if name:
            beside(pair, thumbs).save(out / name)
        made.append(dataclasses.replace(pair, picture=name))
    return tuple(made)


def beside(pair: Pair, thumbs: Mapping[str, Thumbs]) -> Image.Image:
    """A pair's most alike pictures, the second one mirrored back where it is mirrored."""
    shown = []
    for path, seconds in zip((pair.first, pair.second), pair.seconds, strict=True):
        of = thumbs[path]
        shown.append(of.pictures[int(np.abs(of.seconds - seconds).argmin())])
    if pair.mirrored:
        shown[1] = shown[1][:, ::-1]
    gap = np.full((HEIGHT, GAP), 255, np.uint8)
    picture = Image.fromarray(np.concatenate([shown[0], gap, shown[1]], 1))
    return picture.resize((picture.width * TIMES, picture.height * TIMES))


def write_page(found: Findings, said: Sequence[str], groups: str, out: Path) -> Path:
    """Write the page, which needs no network.

    Args:
        said: what the terminal was told.
        groups: the name of the list of groups that mends the split, if there is one.
    """
    style = Path(report.__file__).parent / "web" / "style.css"
    shown = found.pairs[:SHOWN]
    text = template("audit", "audit.html").render(
        found=found,
        said=said,
        style=style.read_text(encoding="utf-8"),
        leaking=[pair for pair in shown if pair.straddles],
        inside=[pair for pair in shown if not pair.straddles],
        hidden=len(found.pairs) - len(shown),
        folds=sorted({count.fold for count in found.classes}),
        names=sorted({count.name for count in found.classes}),
        seen=list(dict.fromkeys(probe.sees for probe in found.probes)),
        groups=groups,
        width=(2 * WIDTH + GAP) * TIMES,
        height=HEIGHT * TIMES,
    )
    with atomic_write(out / PAGE) as stream:
        stream.write(text)
    return out / PAGE

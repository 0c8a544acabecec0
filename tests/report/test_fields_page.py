"""The page of flow fields."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from repflow_pl.report.fields_page import (
    Seen,
    fields_csv,
    fields_markdown,
    fields_picture,
    likeness,
)


def test_likeness_is_that_of_directions() -> None:
    field = np.random.default_rng(0).normal(size=(2, 5, 4))
    assert likeness(field, 3 * field) == pytest.approx(1)
    assert likeness(field, -field) == pytest.approx(-1)
    turned = np.stack([-field[1], field[0]])  # by 90 degrees, everywhere
    assert likeness(field, turned) == pytest.approx(0, abs=1e-12)
    assert likeness(field, np.zeros_like(field)) == 0


def seen(place: str, trained: bool, colour: int) -> Seen:
    picture = np.full((8, 8, 3), colour, np.uint8)
    return Seen(place, trained, np.array([1.0, 2.0, 3.0]), np.array([0.2, 0.4, 0.6]), (picture,))


def test_the_page_has_a_line_and_a_picture_for_each_place_and_state() -> None:
    kinds = (("A", False, 0), ("A", True, 60), ("B", False, 120), ("B", True, 180))
    all_seen = [seen(*kind) for kind in kinds]
    page = fields_markdown("Title", all_seen, ["Made by `x`."])
    assert "| A | untrained | 2.00 (1.50 to 2.50) | 0.40 (-0.10 to 0.90) |" in page
    frame = np.full((8, 8, 3), 240, np.uint8)
    png = fields_picture("Title", [frame], [frame], all_seen)
    greys = {int(v) for v in (imread(io.BytesIO(png))[..., 0] * 255).round().ravel()}
    assert {0, 60, 120, 180, 240} <= greys
    frame_of = pd.read_csv(io.StringIO(fields_csv(all_seen)))
    assert list(frame_of["weights"]) == ["untrained", "trained"] * 2
    assert (frame_of["cosine"] == 0.4).all() and (frame_of["clips"] == 3).all()

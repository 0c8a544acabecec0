"""Labels keep clear of points and of one another where there is room."""

from __future__ import annotations

import numpy as np
import pytest

from repflow_pl.report.labels import Box, place_labels

FRAME = Box(0, 0, 1600, 900)


def test_overlap_is_the_shared_area() -> None:
    assert Box(0, 0, 4, 3).overlap(Box(2, 1, 10, 10)) == 4.0
    assert Box(0, 0, 4, 3).overlap(Box(4, 0, 1, 1)) == 0.0
    assert Box(0, 0, 4, 3).overlap(Box(-5, -5, 1, 1)) == 0.0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_labels_of_scattered_points_are_clear(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = [(float(x), float(y)) for x, y in rng.uniform((0, 0), (1600, 900), (19, 2))]
    sizes = [(float(width), 26.0) for width in rng.uniform(60, 400, 19)]
    markers = [Box(x - 9, y - 9, 18, 18) for x, y in points]
    boxes = place_labels(points, sizes, markers, FRAME)
    for k, box in enumerate(boxes):
        assert (box.width, box.height) == sizes[k]
        assert box.overlap(FRAME) == pytest.approx(box.width * box.height), "inside the frame"
        others = [*boxes[:k], *boxes[k + 1 :], *markers]
        hidden = sum(box.overlap(other) for other in others)
        assert hidden < 0.03 * box.width * box.height


def test_labels_of_a_heap_of_points_do_not_cover_one_another() -> None:
    points = [(800.0 + 12 * k, 450.0 + 7 * (k % 3)) for k in range(10)]
    markers = [Box(x - 9, y - 9, 18, 18) for x, y in points]
    boxes = place_labels(points, [(220.0, 26.0)] * 10, markers, FRAME)
    shared = sum(a.overlap(b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert shared < 0.1 * 220 * 26


def test_a_lone_label_stands_right_of_its_point() -> None:
    (box,) = place_labels([(100.0, 100.0)], [(80.0, 20.0)], [Box(91, 91, 18, 18)], FRAME)
    assert box.x > 109 - 1e-9 and box.y == 90.0
    (edge,) = place_labels([(1590.0, 100.0)], [(80.0, 20.0)], [Box(1581, 91, 18, 18)], FRAME)
    assert edge.x + edge.width <= 1600

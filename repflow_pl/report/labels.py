"""Names beside points, where they hide as little as can be. Pure functions on pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_DISTANCES = (0.5, 1.0, 1.7, 2.5, 3.4, 4.5, 6.0, 8.0)
"""Between a point and its label, in heights of the label."""
_DIRECTIONS = 16


@dataclass(frozen=True)
class Box:
    """A rectangle: its lower left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """The area that two boxes share."""
        wide = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        high = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0.0, wide) * max(0.0, high)


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    frame: Box,
) -> list[Box]:
    """A box of each size near its point: clear of the obstacles, of one another and inside `frame`
    where there is such a place among those tried, else where it hides least.

    Labels are set one after the other, from the outermost points inwards, and never moved again.
    """
    middle_x = sum(x for x, _ in points) / max(len(points), 1)
    middle_y = sum(y for _, y in points) / max(len(points), 1)

    def remoteness(k: int) -> float:
        x, y = points[k]
        return -math.hypot((x - middle_x) / frame.width, (y - middle_y) / frame.height)

    placed: dict[int, Box] = {}
    for k in sorted(range(len(points)), key=remoteness):
        taken, area = [*obstacles, *placed.values()], sizes[k][0] * sizes[k][1]
        candidates = _around(points[k], sizes[k])
        costs = []
        for rank, box in enumerate(candidates):
            hidden = sum(box.overlap(other) for other in taken) + area - box.overlap(frame)
            costs.append(60 * hidden / area + rank / _DIRECTIONS)
        placed[k] = candidates[costs.index(min(costs))]
    return [placed[k] for k in range(len(points))]


def _around(point: tuple[float, float], size: tuple[float, float]) -> list[Box]:
    """Places for a label around a point, the near ones first and the right-hand one before all."""
    (x, y), (width, height) = point, size
    boxes = []
    for distance in _DISTANCES:
        for k in range(_DIRECTIONS):
            turn = math.ceil(k / 2) * (-1) ** k * 2 * math.pi / _DIRECTIONS
            across, up = math.cos(turn), math.sin(turn)
            gap = distance * height
            # The label's side, corner or middle that looks at the point is `gap` away from it.
            left = x + gap * across + (across - 1) / 2 * width
            boxes.append(Box(left, y + gap * up + (up - 1) / 2 * height, width, height))
    return boxes

"""Squarified treemaps: rectangles of given areas that fill a rectangle, as square as may be.

After Bruls, Huizing and van Wijk, "Squarified Treemaps", 2000. Rows are laid along the shorter side
of what is still free; a row takes the next weight for as long as its worst aspect does not grow.
"""

from collections.abc import Sequence
from math import fsum, inf
from typing import NamedTuple


class Rect(NamedTuple):
    """x and y name the corner where filling starts."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height


def squarify(weights: Sequence[float], within: Rect) -> list[Rect]:
    """One rectangle a weight, in the weights' order, of area proportional to it; together they fill
    `within`. Weights are above 0, best in descending order.
    """
    total = fsum(weights)
    areas = [weight / total * within.area for weight in weights]
    rects: list[Rect] = []
    free = within
    start = 0
    while start < len(areas):
        if min(free.width, free.height) <= 0 or areas[start] <= 0:
            # What is left is smaller than a rounding error of what was placed.
            return rects + [Rect(free.x, free.y, 0.0, 0.0)] * (len(areas) - start)
        end = _row_end(areas, start, side=min(free.width, free.height))
        row = areas[start:end]
        is_last = end == len(areas)
        placed, free = _lay(row, free, is_last=is_last)
        rects += placed
        start = end
    return rects


def _row_end(areas: Sequence[float], start: int, *, side: float) -> int:
    """The index after the last area of the row that starts at `start`."""
    total = largest = smallest = areas[start]
    worst = _worst_aspect(total, largest, smallest, side)
    end = start + 1
    while end < len(areas):
        total += areas[end]
        largest, smallest = max(largest, areas[end]), min(smallest, areas[end])
        aspect = _worst_aspect(total, largest, smallest, side)
        if aspect > worst:
            break
        worst = aspect
        end += 1
    return end


def _worst_aspect(total: float, largest: float, smallest: float, side: float) -> float:
    square = side * side
    if square * smallest == 0 or total * total == 0:
        return inf
    return max(square * largest / (total * total), total * total / (square * smallest))


def _lay(row: Sequence[float], free: Rect, *, is_last: bool) -> tuple[list[Rect], Rect]:
    """The row along the shorter side of `free`, and what remains free beside it.

    The last row takes all that remains, so that rounding leaves no gap.
    """
    is_column = free.width >= free.height  # stacked along the height, at the left
    side = free.height if is_column else free.width
    total = fsum(row)
    depth = (free.width if is_column else free.height) if is_last else total / side
    rects = []
    offset = 0.0
    for area in row:
        length = area / total * side
        if is_column:
            rects.append(Rect(free.x, free.y + offset, depth, length))
        else:
            rects.append(Rect(free.x + offset, free.y, length, depth))
        offset += length
    if is_column:
        return rects, Rect(free.x + depth, free.y, max(free.width - depth, 0.0), free.height)
    return rects, Rect(free.x, free.y + depth, free.width, max(free.height - depth, 0.0))

"""Density over time as a picture: packing, usage, overcommit and slack, memory above cpu. Pure."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from html import escape

from app.fleet.charts import (
    BOTTOM,
    FAINT,
    FONT,
    GAP,
    GRID,
    HEIGHT,
    LEFT,
    LIMIT,
    PANEL,
    PAPER,
    PEAK,
    RESERVED,
    RIGHT,
    TOP,
    USE,
    WIDTH,
    draw_line,
    draw_text,
)
from app.fleet.density import Resource
from app.fleet.density_history import DensityHistory

CURVES = (
    ("packing", RESERVED, "8 4"),
    ("usage", USE, ""),
    ("overcommit", LIMIT, "2 3"),
    ("slack", PEAK, "10 3 2 3"),
)
HOUR = timedelta(hours=1)


def draw_density_history(history: DensityHistory) -> str:
    """An SVG document."""
    return "\n".join(_document(history))


def _document(history: DensityHistory) -> Iterator[str]:
    title = "Density over time"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' font-family="{escape(FONT)}" font-size="12"><title>{title}</title>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>'
    )
    yield draw_text(LEFT, 24, title, size=16)
    for number, resource in enumerate((Resource.MEMORY, Resource.CPU)):
        yield from _panel(history, resource, TOP + number * (PANEL + GAP))
    for number, (name, colour, dashes) in enumerate(CURVES):
        x, y = LEFT + number * 150, HEIGHT - BOTTOM + 44
        yield draw_line(f"M{x} {y}h28", colour, dashes, 2.0)
        yield draw_text(x + 36, y + 4, name)
    if not history.points:
        message = "Nothing is kept of this span yet: an hour is kept once it has begun."
        yield draw_text(WIDTH / 2, TOP + PANEL / 2, message, anchor="middle")
    yield "</svg>"


def _panel(history: DensityHistory, resource: Resource, top: float) -> Iterator[str]:
    ratios = [
        getattr(point[resource], name) or 0.0 for point in history.points for name, _, _ in CURVES
    ]
    highest, lowest = max([*ratios, 1.0]) * 1.05, min([*ratios, 0.0])

    def y(ratio: float) -> float:
        return top + PANEL - (ratio - lowest) / (highest - lowest) * PANEL

    yield draw_text(LEFT, top - 8, f"{resource}, of what is allocatable", colour=FAINT)
    for share in sorted({lowest, 0.0, 0.25, 0.5, 0.75, 1.0, highest / 1.05}):
        yield f'<path d="M{LEFT} {y(share):.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>'
        yield draw_text(LEFT - 8, y(share) + 4, f"{share:.0%}", colour=FAINT, anchor="end")
    for name, colour, dashes in CURVES:
        yield draw_line(_path(history, resource, name, y), colour, dashes, 1.8)
    for number in range(5):
        at = history.since + (history.until - history.since) * number / 4
        anchor = ("start", "middle", "middle", "middle", "end")[number]
        x = _x(history, at)
        yield draw_text(x, top + PANEL + 18, f"{at:%d %b %H:%M}", colour=FAINT, anchor=anchor)


def _path(
    history: DensityHistory, resource: Resource, name: str, y: Callable[[float], float]
) -> str:
    """Broken where hours are missing, and where the ratio would divide by zero."""
    path: list[str] = []
    before: datetime | None = None
    for point in history.points:
        ratio = getattr(point[resource], name)
        if ratio is None:
            before = None
            continue
        is_next = before is not None and point["at"] - before <= HOUR
        command = "L" if is_next else "M"
        path.append(f"{command}{_x(history, point['at']):.1f} {y(ratio):.1f}h0.01")
        before = point["at"]
    return "".join(path)


def _x(history: DensityHistory, at: datetime) -> float:
    share = (at - history.since) / max(history.until - history.since, HOUR)
    return LEFT + share * (WIDTH - LEFT - RIGHT)

"""A history as a picture: cpu above, memory below, with reservation and limit drawn in. Pure.

Colours are Okabe and Ito's, and lines differ in their dashes too: readable by the colour-blind, and
printed in grey.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from html import escape

from app.fleet.history import History

WIDTH, LEFT, RIGHT = 960, 84, 24
TOP, PANEL, GAP, BOTTOM = 56, 180, 56, 64
HEIGHT = TOP + 2 * PANEL + GAP + BOTTOM
FONT = "ui-sans-serif, system-ui, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"
INK, FAINT, GRID, PAPER = "#14212e", "#52667a", "#dbe3ea", "#ffffff"
USE, PEAK, RESERVED, LIMIT = "#0072b2", "#56b4e9", "#009e73", "#d55e00"
LEGEND = (
    (USE, "", "mean use"),
    (PEAK, "2 3", "sum of peaks"),
    (RESERVED, "8 4", "reservation"),
    (LIMIT, "", "limit"),
)


@dataclass(frozen=True, slots=True)
class Panel:
    """One resource: what it is called, how a value is written, its lines and its levels."""

    title: str
    write: Callable[[float], str]
    mean: str
    peak: str
    reservation: float
    limit: float


def draw_history(history: History, title: str) -> str:
    """An SVG document."""
    return "\n".join(_document(history, title))


def _document(history: History, title: str) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' font-family="{escape(FONT)}" font-size="12"><title>{escape(title)}</title>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>'
    )
    yield draw_text(LEFT, 24, title, size=16)
    totals = history.totals
    panels = (
        Panel(
            "cpu, cores",
            _cores,
            "cpu_mean",
            "cpu_max",
            totals["cpu_reservation"],
            0 if totals["cpu_unlimited"] else totals["cpu_limit"],
        ),
        Panel(
            "memory",
            _bytes,
            "memory_mean",
            "memory_max",
            totals["memory_reservation_bytes"],
            0 if totals["memory_unlimited"] else totals["memory_limit_bytes"],
        ),
    )
    for number, panel in enumerate(panels):
        yield from _panel(history, panel, TOP + number * (PANEL + GAP))
    yield from _legend()
    if not history.points:
        yield draw_text(WIDTH / 2, TOP + PANEL / 2, "No samples in this span.", anchor="middle")
    yield "</svg>"


def _panel(history: History, panel: Panel, top: float) -> Iterator[str]:
    peaks = [float(point[panel.peak]) for point in history.points]
    highest = max([*peaks, float(panel.reservation), float(panel.limit), 1e-9]) * 1.08

    def y(value: float) -> float:
        return top + PANEL - value / highest * PANEL

    yield draw_text(LEFT, top - 8, panel.title, colour=FAINT)
    for share in (0, 0.25, 0.5, 0.75, 1):
        level = y(share * highest / 1.08)
        yield f'<path d="M{LEFT} {level:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>'
        label = panel.write(share * highest / 1.08)
        yield draw_text(LEFT - 8, level + 4, label, colour=FAINT, anchor="end")
    yield from _curves(history, panel, y)
    for value, colour, dashes in ((panel.reservation, RESERVED, "8 4"), (panel.limit, LIMIT, "")):
        if value:
            line = f"M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"
            yield draw_line(line, colour, dashes, 1.5)
    yield from _times(history, top + PANEL + 18)


def _curves(history: History, panel: Panel, y: Callable[[float], float]) -> Iterator[str]:
    """Mean and peak, broken where steps have no samples."""
    for name, colour, dashes, width in (
        (panel.peak, PEAK, "2 3", 1.5),
        (panel.mean, USE, "", 2.0),
    ):
        path: list[str] = []
        before: datetime | None = None
        for point in history.points:
            is_next = before is not None and point["at"] - before <= history.span.step
            place = f"{_x(history, point['at']):.1f} {y(float(point[name])):.1f}"
            path.append(f"{'L' if is_next else 'M'}{place}h0.01")
            before = point["at"]
        yield draw_line("".join(path), colour, dashes, width)


def _x(history: History, at: datetime) -> float:
    span = history.span
    share = (at - span.since) / max(span.until - span.since, span.step)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _times(history: History, y: float) -> Iterator[str]:
    span = history.span
    days = (span.until - span.since).days
    form = "%H:%M" if days < 2 else "%d %b %H:%M" if days < 8 else "%d %b"
    for number in range(5):
        at = span.since + (span.until - span.since) * number / 4
        anchor = ("start", "middle", "middle", "middle", "end")[number]
        yield draw_text(_x(history, at), y, f"{at:{form}}", colour=FAINT, anchor=anchor)


def _legend() -> Iterator[str]:
    for number, (colour, dashes, meaning) in enumerate(LEGEND):
        x = LEFT + number * 150
        yield draw_line(f"M{x} {HEIGHT - 20}h28", colour, dashes, 2.0)
        yield draw_text(x + 36, HEIGHT - 16, meaning)


def draw_line(path: str, colour: str, dashes: str, width: float) -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"'
        f' stroke-linecap="round"{dashed}/>'
    )


def draw_text(  # noqa: PLR0917 - where, what, how
    x: float, y: float, text: str, colour: str = INK, anchor: str = "start", size: int = 12
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"'
        f' font-size="{size}">{escape(text)}</text>'
    )


def _cores(value: float) -> str:
    return f"{value:.3g}"


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"

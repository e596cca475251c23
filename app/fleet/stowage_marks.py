"""The stowage plan's colours and signs, and how it writes numbers and text."""

from html import escape
from typing import NamedTuple

from app.fleet.density import Resource
from app.fleet.treemaps import Rect

FONT = "ui-sans-serif, system-ui, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"

INK, FAINT, PAPER = "#14212e", "#52667a", "#ffffff"
HULL, KEEL, HOLD, SEA, HOUSE = "#23405e", "#a8442f", "#eef3f8", "#8fc3e4", "#fbf8f0"

DARK = """
@media (prefers-color-scheme: dark) {
.stowage-plan .paper { fill: #0d1721 }
.stowage-plan .ink { fill: #e6eef6 }
.stowage-plan .faint { fill: #93a7ba }
.stowage-plan .hold { fill: #182634; stroke: #3b536b }
.stowage-plan .hull { fill: #3a5f86 }
.stowage-plan .keel { fill: #a8442f }
.stowage-plan .sea { stop-color: #2a6892 }
.stowage-plan .crest { stroke: #5d9cc6 }
.stowage-plan .house { fill: #d5dde4 }
.stowage-plan .name { fill: #ffffff; stroke: #0d1721 }
.stowage-plan .line { stroke: #e6eef6 }
.stowage-plan .hatch { stroke: #ffffff }
.stowage-plan .bay { stroke: #2b3f53 }
}
"""
"""Light colours stand in attributes; where a style sheet is allowed, dark ones take over."""


class Fill(NamedTuple):
    colour: str
    frame: str
    level: float
    """How full the legend shows it."""
    meaning: str


# Okabe and Ito's colours; the keys are classes of the picture, the order is the legend's.
FILLS = {
    "air": Fill("#56b4e9", "#1f7fb8", 0.2, "uses under 25 % of its reservation"),
    "half": Fill("#0072b2", "#004a75", 0.5, "25 to 75 %"),
    "tight": Fill("#009e73", "#00664b", 0.9, "75 to 100 %"),
    "over": Fill("#d55e00", "#6e2a00", 1.0, "over 100 %"),
    "none": Fill("#e69f00", "#7a5400", 0.9, "reserves nothing: sized by its P95"),
}


class Sign(NamedTuple):
    mark: str
    """Drawn, for fonts differ; in a circle of radius 8."""
    meaning: str


SIGNS = {
    "paused": Sign('<path d="M-3 -4v8M3 -4v8" stroke-width="2.6"/>', "paused"),
    "restarting": Sign(
        '<path d="M3.6 -2A4.2 4.2 0 1 0 4.2 1.4M4.4 -5v3.4h-3.4" stroke-width="1.8"/>', "restarting"
    ),
    "unmeasured": Sign('<path d="M-4 0h8" stroke-width="2.4"/>', "never measured"),
    "stale": Sign(
        '<path d="M-2.8 -2.2a2.8 2.6 0 1 1 4 2.4q-1.2 .6 -1.2 2M0 4.6v.6" stroke-width="2"/>',
        "not heard from",
    ),
}

DEFINITIONS = (
    "<defs>"
    '<pattern id="stowage-hatch" width="7" height="7" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)">'
    '<path class="hatch" d="M1 0V7" stroke="#0b1420" stroke-opacity=".4" '
    'stroke-width="1.4"/></pattern>'
    '<pattern id="stowage-ballast" width="8" height="8" patternUnits="userSpaceOnUse">'
    '<rect width="8" height="8" fill="#8a97a4"/>'
    '<path d="M0 0L8 8M8 0L0 8" stroke="#5b6875" stroke-width="1"/></pattern>'
    '<linearGradient id="stowage-sea" x2="0" y2="1">'
    f'<stop class="sea" stop-color="{SEA}" stop-opacity=".78"/>'
    f'<stop class="sea" offset="1" stop-color="{SEA}" stop-opacity=".12"/></linearGradient>'
    "</defs>"
)


def draw_sign(name: str, x: float, y: float, radius: float) -> str:
    """One of `SIGNS` as a round badge around a point."""
    return (
        f'<g transform="translate({number(x)} {number(y)}) scale({number(radius / 8)})" '
        f'fill="none" stroke="#fff" stroke-linecap="round"><circle r="8" fill="{INK}" '
        f'stroke-width="1"/>{SIGNS[name].mark}</g>'
    )


def draw_frame(rect: Rect, kind: str) -> str:
    """Bold for an overrun, dashed without a reservation; none on a box too small to show it."""
    smaller = min(rect.width, rect.height)
    if smaller < 3:
        return ""
    width = min(3.0 if kind == "over" else 1.2, smaller * 0.14)
    dashes = ' stroke-dasharray="4 2.5"' if kind == "none" else ""
    inner = Rect(rect.x + width / 2, rect.y + width / 2, rect.width - width, rect.height - width)
    return (
        f'<rect {place(inner)} fill="none" stroke="{FILLS[kind].frame}" '
        f'stroke-width="{number(width)}"{dashes}/>'
    )


def place(rect: Rect) -> str:
    """The attributes that place a rectangle."""
    return (
        f'x="{number(rect.x)}" y="{number(rect.y)}" width="{number(max(rect.width, 0))}" '
        f'height="{number(max(rect.height, 0))}"'
    )


def number(value: float) -> str:
    """A number of the picture: two decimals at most, and no `-0`."""
    text = f"{value:.2f}"
    if text[-1] != "0":  # as of most
        return text
    text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


# Up to a thousand of a unit; dividing by a power of two is exact.
UNITS = tuple(
    (1000 * 2**power, 2**power, name)
    for power, name in ((0, "B"), (10, "KiB"), (20, "MiB"), (30, "GiB"))
)


def amount(resource: Resource, value: float) -> str:
    """Cores, or bytes in binary units, to three digits: `0.25 cores`, `1.5 GiB`."""
    if resource is Resource.CPU:
        return f"{value:.3g} cores"
    size = abs(value)
    for below, unit, name in UNITS:
        if size < below:
            return f"{value / unit:.3g} {name}"
    return f"{value / 2**40:.4g} TiB"


def percent(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.0%}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def text_width(text: str, size: float) -> float:
    """About how wide a text is; there is no font to ask. Errs on the wide side."""
    return len(text) * size * 0.59


def shorten(text: str, width: float, size: float) -> str:
    """The text, cut with an ellipsis to about so many pixels."""
    most = max(int(width / text_width("m", size)), 1)
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def quote(text: str) -> str:
    """Text as XML: markup escaped, and what XML has no way to say, or would garble, replaced."""
    if text.replace("\n", "").isprintable():
        return escape(text)
    legible = "".join(
        char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text
    )
    return escape(legible)

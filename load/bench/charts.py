"""The result as a picture: for each work a panel, for each stack a bar. Pure.

A bar is as long as the logarithm of the CPU time of a request over that of the handler by hand. The
pale end is what token, scope and throttle add; Stowage is measured with them alone. Colours are
Okabe and Ito's.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from load.bench.stacks import STACKS
from load.bench.works import WORKS

REFERENCE, OWN, WITH_AUTH = "handwritten", "stowage", "+auth"
COLUMNS, WIDTH, LABELS, PLOT = 2, 480, 118, 300
HEAD, TITLE, BAR, FOOT = 64, 34, 15, 40
TICKS = (1, 3, 10, 30, 100)
FONT = "ui-sans-serif,system-ui,'Segoe UI','DejaVu Sans',Arial,sans-serif"
INK, FAINT, GRID, PAPER = "#14212e", "#52667a", "#dbe3ea", "#ffffff"
STOWAGE, PEER = "#d55e00", "#56b4e9"
NAMES = {
    "handwritten": "by hand",
    "stowage": "Stowage",
    "litestar": "Litestar",
    "fastapi": "FastAPI, asyncpg",
    "sqlalchemy": "FastAPI, SQLAlch.",
    "dmr": "modern-rest",
    "ninja": "django-ninja",
    "drf": "DRF, gunicorn",
    "adrf": "adrf",
}


def draw(report: Mapping[str, Any]) -> str:
    """An SVG document of what `reports.write_json` wrote."""
    figures = report["figures"]
    stacks = [name for name in STACKS if name in figures and not name.endswith(WITH_AUTH)]
    works = [name for name in WORKS if name in figures.get(REFERENCE, {})]
    return "\n".join([*_document(report, stacks, works), ""])


def _document(
    report: Mapping[str, Any], stacks: Sequence[str], works: Sequence[str]
) -> Iterator[str]:
    panel = TITLE + len(stacks) * BAR + 12
    height = HEAD + math.ceil(len(works) / COLUMNS) * panel + FOOT
    longest = _longest(report["figures"], works)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * WIDTH} {height}"'
        f' role="img" font-family="{escape(FONT)}" font-size="11">'
        "<title>CPU time per request, as a multiple of a handler by hand</title>"
        f'<rect width="{COLUMNS * WIDTH}" height="{height}" fill="{PAPER}"/>'
    )
    yield _text(16, 26, "CPU time per request, as a multiple of a handler by hand", size=16)
    yield _text(16, 46, "Shorter is better; the axis is logarithmic.", FAINT)
    for number, work in enumerate(works):
        row, column = divmod(number, COLUMNS)
        yield f'<g transform="translate({column * WIDTH} {HEAD + row * panel})">'
        yield from _panel(report["figures"], stacks, work, longest)
        yield "</g>"
    yield from _legend(height - 26)
    yield _text(16, height - 8, f"{report['machine']}; commit {report['commit']}", FAINT)
    yield "</svg>"


def _longest(figures: Mapping[str, Any], works: Sequence[str]) -> float:
    ratios = [_ratio(figures, stack, work) or 1 for stack in figures for work in works]
    return max([10.0, *ratios])


def _panel(
    figures: Mapping[str, Any], stacks: Sequence[str], work: str, longest: float
) -> Iterator[str]:
    def length(ratio: float) -> float:
        return max(2.0, (0.03 + math.log(max(ratio, 1)) / math.log(longest) * 0.97) * PLOT)

    yield _text(16, 14, WORKS[work].title, size=13)
    bottom = TITLE - 6 + len(stacks) * BAR
    for tick in TICKS:
        if tick <= longest:
            x = LABELS + length(tick)
            yield f'<path d="M{x:.0f} {TITLE - 8}V{bottom}" stroke="{GRID}"/>'
            yield _text(x, TITLE - 10, f"{tick}", FAINT, "middle", 9)
    for number, stack in enumerate(stacks):
        y = TITLE - 4 + number * BAR
        mine = _ratio(figures, stack, work)
        more = _ratio(figures, stack + WITH_AUTH, work)
        yield _text(LABELS - 6, y + 9, NAMES[stack], anchor="end")
        if mine is None:
            yield _text(LABELS + 4, y + 9, "not measured", FAINT)
            continue
        colour = {REFERENCE: FAINT, OWN: STOWAGE}.get(stack, PEER)
        if more is not None:
            yield _bar(y, length(more), colour, opacity=0.4)
        yield _bar(y, length(mine), colour)
        end = LABELS + length(max(mine, more or 0)) + 5
        both = f"{mine:.1f}" if more is None else f"{mine:.1f}, {more:.1f}"
        yield _text(end, y + 9, both, FAINT)


def _ratio(figures: Mapping[str, Any], stack: str, work: str) -> float | None:
    one = figures.get(stack, {}).get(work)
    base = figures.get(REFERENCE, {}).get(work)
    return one["cpu_microseconds"] / base["cpu_microseconds"] if one and base else None


def _legend(y: float) -> Iterator[str]:
    meanings = (
        (STOWAGE, 1.0, "Stowage, with token, permission, throttle"),
        (PEER, 1.0, "a peer without them"),
        (PEER, 0.4, "the same with them"),
    )
    for (colour, opacity, meaning), x in zip(meanings, (16, 290, 440), strict=True):
        yield (
            f'<rect x="{x}" y="{y - 9:.0f}" width="18" height="10" fill="{colour}"'
            f' fill-opacity="{opacity:g}"/>'
        )
        yield _text(x + 24, y, meaning)


def _bar(y: float, length: float, colour: str, opacity: float = 1.0) -> str:
    faded = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
    return (
        f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR - 4}" fill="{colour}"'
        f"{faded}/>"
    )


def _text(  # noqa: PLR0917 - where, what, how
    x: float, y: float, text: str, colour: str = INK, anchor: str = "start", size: int = 11
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" text-anchor="{anchor}"'
        f' font-size="{size}">{escape(text)}</text>'
    )

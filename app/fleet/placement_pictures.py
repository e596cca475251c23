"""The fleet before and after a plan: two stowage plans in one picture. Pure."""

import re
from collections.abc import Iterator

from app.fleet import stowage_plan
from app.fleet.density import Report, Resource
from app.fleet.stowage_marks import FONT, INK, PAPER, quote

BAND = 44
"""The height of the line above each plan."""
SIZE = re.compile(r'width="([\d.]+)" height="([\d.]+)"')


def draw_both(
    first: tuple[str, Report], second: tuple[str, Report], resource: Resource
) -> Iterator[str]:
    """In parts. The frame of the whole is known when the heads of both are."""
    plans = [(title, stowage_plan.parts(report, resource)) for title, report in (first, second)]
    drawn = [(title, next(parts), parts) for title, parts in plans]
    sizes = [tuple(map(float, SIZE.findall(head)[0])) for _, head, _ in drawn]
    width, height = max(w for w, _ in sizes), sum(h + BAND for _, h in sizes)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="{FONT}">'
        f'<rect width="{width:g}" height="{height:g}" fill="{PAPER}" class="paper"/>'
    )
    y = 0.0
    for (title, head, parts), (_, tall) in zip(drawn, sizes, strict=True):
        yield (
            f'<text class="ink" x="24" y="{y + 30:g}" font-size="20" font-weight="700" '
            f'fill="{INK}">{quote(title)}</text><svg y="{y + BAND:g}" ' + head.removeprefix("<svg ")
        )
        yield from parts
        y += tall + BAND
    yield "</svg>\n"

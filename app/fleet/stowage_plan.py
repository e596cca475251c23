"""The stowage plan: a report drawn as SVG. Pure; the same report gives the same bytes.

    stowage_layout    where everything lies
    stowage_marks     colours, signs, numbers and text
    stowage_boxes     a container
    stowage_vessels   a host
    stowage_plan      the frame around them: head, water, legend

Nothing hangs on colour alone: use is also a height, an overrun a bold frame, no limit a hatch, no
reservation a dashed frame, a state a sign. The picture holds no script, no link and no reference
beyond itself; a Content-Security-Policy that forbids styles leaves a light picture.
"""

from collections.abc import Iterator
from math import ceil

from app.fleet.density import Density, Report, Resource
from app.fleet.stowage_layout import MARGIN, SEABED, Layout, Row, lay_out
from app.fleet.stowage_marks import (
    DARK,
    DEFINITIONS,
    FAINT,
    FILLS,
    FONT,
    HOLD,
    INK,
    PAPER,
    SIGNS,
    amount,
    draw_frame,
    draw_sign,
    number,
    percent,
    place,
    plural,
    quote,
    text_width,
)
from app.fleet.stowage_vessels import draw_vessel, ratios
from app.fleet.treemaps import Rect

WAVE = 28


def draw(report: Report, resource: Resource = Resource.MEMORY) -> str:
    """The whole picture. `parts` gives it piecewise, for one who must not hold up the loop."""
    return "".join(parts(report, resource))


def parts(report: Report, resource: Resource = Resource.MEMORY) -> Iterator[str]:
    """The picture in parts, one vessel at a time."""
    layout = lay_out(report, resource)
    legend, bottom = _legend(layout)
    yield _head(report, resource, Rect(0, 0, layout.width, bottom))
    if not layout.rows:
        yield _empty_harbour(layout, report.reason or "")
    for row in layout.rows:
        for berth in row.berths:
            yield draw_vessel(berth)
        yield _sea(row, layout.width)
    yield legend
    yield "</svg>\n"


def draw_message(title: str, message: str) -> str:
    """A picture that says why there is no picture."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="stowage-plan" role="img" width="900" '
        f'height="110" viewBox="0 0 900 110" font-family="{FONT}"><title>{quote(title)}</title>'
        f'<rect width="900" height="110" rx="12" fill="{PAPER}"/>'
        f'<text x="24" y="46" font-size="20" font-weight="700" fill="{INK}">{quote(title)}</text>'
        f'<text x="24" y="78" font-size="14" fill="{FAINT}">{quote(message[:120])}</text></svg>\n'
    )


def _head(report: Report, resource: Resource, canvas: Rect) -> str:
    density = report.densities[resource]
    width, height = number(canvas.width), number(canvas.height)
    containers = sum(host.containers_counted for host in report.hosts)
    line = (
        f"{plural(len(report.hosts), 'host')}, {plural(containers, 'container')}, "
        f"{amount(resource, density.allocatable)} allocatable of "
        f"{amount(resource, density.capacity)}"
    )
    figures = ", ".join(f"{name} {percent(value)}" for name, value in ratios(density))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="stowage-plan" role="img" '
        f'aria-labelledby="stowage-title stowage-desc" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="{FONT}">'
        f'<title id="stowage-title">Stowage plan by {resource}</title>'
        f'<desc id="stowage-desc">{line}: {figures}. Each vessel is a host, each box a container '
        f"sized by its {resource} reservation and filled by its use.</desc>"
        f"<style>{DARK}</style>{DEFINITIONS}"
        f'<rect class="paper" width="{width}" height="{height}" rx="14" fill="{PAPER}"/>'
        f'<text class="ink" x="{number(MARGIN)}" y="46" font-size="24" font-weight="700" '
        f'fill="{INK}">Stowage plan <tspan font-weight="400">by {resource}</tspan></text>'
        f'<text class="faint" x="{number(MARGIN)}" y="70" font-size="13" fill="{FAINT}">{line}; '
        f"{report.at:%Y-%m-%d %H:%M:%S} UTC</text>{_figures(density, canvas.width)}"
    )


def _figures(density: Density, width: float) -> str:
    """The four ratios, large, at the right of the head."""
    drawn = []
    x = width - MARGIN
    for name, value in reversed(ratios(density)):
        drawn.append(
            f'<g text-anchor="end"><text class="ink" x="{number(x)}" y="46" font-size="24" '
            f'font-weight="600" fill="{INK}">{percent(value)}</text><text class="faint" '
            f'x="{number(x)}" y="70" font-size="13" fill="{FAINT}">{name}</text></g>'
        )
        x -= 112
    return "".join(drawn)


def _empty_harbour(layout: Layout, reason: str) -> str:
    row = Row((), waterline_y=layout.bottom + 60, bottom=layout.bottom + 60 + SEABED * 2)
    return (
        f'<text class="ink" x="{number(layout.width / 2)}" y="{number(layout.bottom + 24)}" '
        f'text-anchor="middle" font-size="16" fill="{INK}">The harbour is empty: {quote(reason)}'
        f"</text>{_sea(row, layout.width)}"
    )


def _sea(row: Row, width: float) -> str:
    """Water over the lower hulls of a row, with a crest along the waterline."""
    y = number(row.waterline_y)
    half, quarter = WAVE / 2, WAVE / 4
    waves = f"q{number(quarter)} -4 {number(half)} 0t{number(half)} 0" * ceil(width / WAVE)
    return (
        f'<g pointer-events="none"><path d="M0 {y}{waves}V{number(row.bottom)}H0z" '
        f'fill="url(#stowage-sea)"/><path class="crest" d="M0 {y}{waves}" fill="none" '
        f'stroke="#4f97c4" stroke-width="1.5"/></g>'
    )


def _legend(layout: Layout) -> tuple[str, float]:
    """The legend, wrapped to the picture's width, and the picture's bottom."""
    drawn = []
    x, y = MARGIN, layout.bottom + (22 if layout.rows else 130)
    for mark, meaning in _legend_entries():
        advance = 30 + text_width(meaning, 12.5) + 12
        if x + advance > layout.width - MARGIN + 12:
            x, y = MARGIN, y + 25
        drawn.append(
            f'<g transform="translate({number(x)} {number(y)})">{mark}<text class="ink" x="30" '
            f'y="1" font-size="12.5" fill="{INK}">{meaning}</text></g>'
        )
        x += advance
    return f'<g class="legend">{"".join(drawn)}</g>', y + 24


def _legend_entries() -> Iterator[tuple[str, str]]:
    """What every mark of the picture means."""
    swatch = Rect(0.0, -11.0, 22.0, 15.0)
    for kind, fill in FILLS.items():
        height = swatch.height * fill.level
        level = Rect(0.0, swatch.y + swatch.height - height, swatch.width, height)
        yield (
            f'<rect {place(swatch)} fill="{fill.colour}" fill-opacity=".28"/>'
            f'<rect {place(level)} fill="{fill.colour}"/>{draw_frame(swatch, kind)}',
            fill.meaning,
        )
    grey = f'<rect {place(swatch)} fill="#9fb0c0" fill-opacity=".5"/>'
    yield f'{grey}<rect {place(swatch)} fill="url(#stowage-hatch)"/>', "no limit"
    ticks = f'<path class="line" d="M0 -5h6M22 -5h-6" stroke="{INK}" stroke-width="1.6"/>'
    yield f"{grey}{ticks}", "P95 of use"
    for name, sign in SIGNS.items():
        yield draw_sign(name, 11, -4, 7.5), sign.meaning
    yield f'<rect {place(swatch)} fill="url(#stowage-ballast)"/>', "kept by the system"
    yield f'<rect class="hold" {place(swatch)} fill="{HOLD}" stroke="#b5c4d3"/>', "free"

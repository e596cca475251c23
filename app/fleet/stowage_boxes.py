"""A container of the stowage plan, drawn: a box filled by its use, with its name and its marks."""

from app.fleet.density import Resource
from app.fleet.shares import Share
from app.fleet.stowage_layout import Box
from app.fleet.stowage_marks import (
    FILLS,
    INK,
    SIGNS,
    amount,
    draw_frame,
    draw_sign,
    number,
    percent,
    place,
    quote,
    shorten,
    text_width,
)
from app.fleet.treemaps import Rect

KINDS = ((0.25, "air"), (0.75, "half"), (1.0, "tight"))
"""Up to which share of its reservation a container uses, to the key of FILLS."""


def draw_box(box: Box, resource: Resource) -> str:
    share = box.share
    kind = _kind(share)
    colour = FILLS[kind].colour
    rect = inset(box.rect)
    placed = place(rect)
    parts = [f'<rect {placed} fill="{colour}" fill-opacity=".28"/>']
    if share.use_basis != "assumed":
        level = rect.height * min(share.fill, 1.0)
        filled = Rect(rect.x, rect.y + rect.height - level, rect.width, level)
        parts.append(f'<rect {place(filled)} fill="{colour}"/>')
    if not share.is_limited:
        parts.append(f'<rect {placed} fill="url(#stowage-hatch)"/>')
    parts += [draw_frame(rect, kind), _peak(share, rect), _label(box, rect, resource)]
    parts.append(_badge(box, rect))
    opacity = ' opacity=".55"' if box.is_stale else ""
    tooltip = quote(_tooltip(box, resource))
    return f'<g class="box {kind}"{opacity}><title>{tooltip}</title>{"".join(parts)}</g>'


def _kind(share: Share) -> str:
    """The key of `FILLS`."""
    if not share.is_reserved:
        return "none"
    fill = share.fill
    for bound, kind in KINDS:
        if fill <= bound:
            return kind
    return "over"


def inset(rect: Rect) -> Rect:
    """The rectangle with a gap to its neighbours."""
    gap = min(0.8, rect.width * 0.06, rect.height * 0.06)
    return Rect(rect.x + gap, rect.y + gap, rect.width - 2 * gap, rect.height - 2 * gap)


def _peak(share: Share, rect: Rect) -> str:
    """A tick at each side at the height of the P95, where the box is large enough."""
    fraction = share.p95 / share.reservation
    if min(rect.width, rect.height) < 14 or fraction >= 1 or share.p95_basis == "assumed":
        return ""
    y = rect.y + rect.height * (1 - fraction)
    tick = min(8.0, rect.width * 0.22)
    return (
        f'<path class="line" d="M{number(rect.x)} {number(y)}h{number(tick)}'
        f'M{number(rect.x + rect.width)} {number(y)}h{number(-tick)}" stroke="{INK}" '
        'stroke-width="1.6" fill="none"/>'
    )


def _label(box: Box, rect: Rect, resource: Resource) -> str:
    """The name, and the figures where there is room; upright in a box that is tall and narrow."""
    if 13 <= rect.width < 46 and rect.height > max(46.0, 1.3 * rect.width):
        turned = Rect(0.0, 0.0, rect.height, rect.width)
        place_at = f"translate({number(rect.x)} {number(rect.y + rect.height)}) rotate(-90)"
        return _lines(box, turned, resource, transform=f' transform="{place_at}"')
    if rect.width < 46 or rect.height < 14:
        return ""
    return _lines(box, rect, resource)


def _lines(box: Box, rect: Rect, resource: Resource, *, transform: str = "") -> str:
    size = 12.0 if rect.width > 90 and rect.height > 34 else 9.5
    room = rect.width - 8 - (17 if _sign(box) and not transform else 0)
    x, y = rect.x + 5, rect.y + size + 1.5
    lines = (
        f'<text x="{number(x)}" y="{number(y)}" font-size="{number(size)}" font-weight="600">'
        f"{quote(shorten(box.name, room, size))}</text>"
    )
    use, reservation = box.share.use, box.share.reservation
    detail = f"{amount(resource, use)} of {amount(resource, reservation)}"
    if rect.height > size * 2.6 and text_width(detail, size - 1.5) < room:
        lines += (
            f'<text x="{number(x)}" y="{number(y + size + 1)}" font-size="{number(size - 1.5)}">'
            f"{detail}</text>"
        )
    return (
        f'<g class="name" paint-order="stroke" stroke="#fff" stroke-width="2.6" '
        f'stroke-linejoin="round" fill="{INK}" pointer-events="none"{transform}>{lines}</g>'
    )


def _sign(box: Box) -> str | None:
    """Which of `SIGNS` the box carries."""
    if box.is_stale:
        return "stale"
    if box.state in SIGNS:
        return box.state
    return "unmeasured" if box.share.use_basis == "assumed" else None


def _badge(box: Box, rect: Rect) -> str:
    sign = _sign(box)
    if sign is None:
        return ""
    radius = min(7.5, rect.width * 0.3, rect.height * 0.3)
    return draw_sign(sign, rect.x + rect.width - radius - 2, rect.y + radius + 2, radius)


def _tooltip(box: Box, resource: Resource) -> str:
    share = box.share
    reservation = amount(resource, share.reservation)
    lines = [
        f"{box.name}: {box.state}",
        f"reserves {reservation}"
        if share.is_reserved
        else f"reserves nothing: counted with {reservation} ({share.reservation_basis})",
        f"uses {amount(resource, share.use)}, {percent(share.fill)} of it{_basis(share.use_basis)}",
        f"P95 {amount(resource, share.p95)}{_basis(share.p95_basis)}",
        f"limit {amount(resource, share.limit)}" if share.is_limited else "no limit",
    ]
    if box.is_stale:
        lines.append("not heard from")
    return "\n".join(lines)


def _basis(basis: str) -> str:
    return "" if basis == "sample" else f" ({basis})"

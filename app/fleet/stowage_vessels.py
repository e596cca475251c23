"""A host of the stowage plan, drawn: a vessel from the side, cut open to show its hold."""

from app.fleet.density import Density
from app.fleet.stowage_boxes import draw_box, inset
from app.fleet.stowage_layout import WALL, Berth, enlarge, superstructure_height
from app.fleet.stowage_marks import (
    FAINT,
    HOLD,
    HOUSE,
    HULL,
    INK,
    KEEL,
    PAPER,
    amount,
    number,
    percent,
    place,
    plural,
    quote,
    shorten,
    text_width,
)
from app.fleet.treemaps import Rect

BAYS = 12
"""Lines in the hold that show how much of it is free."""


def draw_vessel(berth: Berth) -> str:
    opacity = ' opacity=".62"' if berth.host.is_stale else ""
    return (
        f'<g class="vessel"{opacity}><title>{quote(_tooltip(berth))}</title>'
        f"{_hull(berth)}{_superstructure(berth)}{_hold(berth)}{_cargo(berth)}{_deck(berth)}"
        f"{_nameplate(berth)}</g>"
    )


def ratios(density: Density) -> list[tuple[str, float | None]]:
    """A density's ratios by name, in the order that they are written."""
    return [(name, getattr(density, name)) for name in ("packing", "usage", "overcommit", "slack")]


def _hull(berth: Berth) -> str:
    """The hull from the side, bow to the right; the hold is drawn over it, as if cut open."""
    shape = _outline(berth)
    clip = f"stowage-hull-{berth.host.host.id}"
    top = berth.waterline_y - 6
    dashes = f' stroke="{INK}" stroke-width="2" stroke-dasharray="6 5"'
    return (
        f'<clipPath id="{clip}"><path d="{shape}"/></clipPath>'
        f'<path class="hull" d="{shape}" fill="{HULL}"{dashes if berth.host.is_stale else ""}/>'
        f'<rect class="keel" clip-path="url(#{clip})" x="{number(berth.left)}" y="{number(top)}" '
        f'width="{number(berth.right - berth.left)}" height="{number(berth.keel_y - top)}" '
        f'fill="{KEEL}"/>'
    )


def _outline(berth: Berth) -> str:
    """Deck, sheer, a flared bow with a bulb below the water, keel, a raked stern."""
    deck, water, keel = berth.deck_y - 3, berth.waterline_y, berth.keel_y
    left, right, bow, stern = berth.left, berth.right, berth.bow, berth.stern
    fore = berth.hold.x + berth.hold.width + WALL
    sheer = min(22.0, bow * 0.32)
    tall, foot = water - deck, right - bow * 0.5

    def at(x: float, y: float) -> str:
        return f"{number(x)} {number(y)} "

    return (
        f"M{at(left, deck)}L{at(fore, deck)}"
        f"C{at(fore + bow * 0.4, deck)}{at(right - bow * 0.3, deck - sheer * 0.7)}"
        f"{at(right, deck - sheer)}"
        f"C{at(right - bow * 0.2, deck + tall * 0.3)}{at(right - bow * 0.42, deck + tall * 0.7)}"
        f"{at(right - bow * 0.44, water)}"
        f"C{at(right - bow * 0.2, water)}{at(right - bow * 0.18, keel)}{at(foot, keel)}"
        f"L{at(left + stern * 0.6, keel)}"
        f"C{at(left + stern * 0.3, keel)}{at(left + stern * 0.2, water)}"
        f"{at(left + stern * 0.06, water - 4)}z"
    )


def _superstructure(berth: Berth) -> str:
    """Bridge and funnel at the stern: three tiers with windows, the bridge's wing overhanging."""
    height = superstructure_height(berth.hold)
    tier = height / 4
    x, width, foot = berth.left + berth.stern * 0.14, berth.stern * 0.8, berth.deck_y - 3
    chimney = f"M{number(x + width * 0.14)} {number(foot - tier * 3)}v{number(-tier)}"
    parts = [
        f'<path d="{chimney}h{number(width * 0.22)}l{number(width * 0.06)} {number(tier)}z" '
        f'fill="{KEEL}"/>'
    ]
    for level in range(3):
        inset = level * width * 0.1
        wing = width * 0.08 if level == 2 else 0.0
        parts.append(
            f'<rect class="house" x="{number(x + inset)}" y="{number(foot - tier * (level + 1))}" '
            f'width="{number(width - inset + wing)}" height="{number(tier)}" fill="{HOUSE}" '
            f'stroke="{HULL}"/>'
        )
        parts.append(_windows(x + inset, foot - tier * (level + 1), width - inset, tier))
    return "".join(parts)


def _windows(x: float, y: float, width: float, height: float) -> str:
    size = min(5.0, height * 0.4)
    count = max(2, int(width // (size * 2.4)))
    step = width / count
    holes = "".join(
        f"M{number(x + step * (index + 0.5) - size / 2)} {number(y + (height - size) / 2)}"
        f"h{number(size)}v{number(size)}h{number(-size)}z"
        for index in range(count)
    )
    return f'<path d="{holes}" fill="{HULL}"/>'


def _hold(berth: Berth) -> str:
    """The hold with its bays, free until boxes cover them, and the ballast at its bottom."""
    hold, ballast = berth.hold, berth.ballast
    bays = "".join(
        f"M{number(hold.x + hold.width * index / BAYS)} {number(hold.y)}V{number(ballast.y)}"
        for index in range(1, BAYS)
    )
    return (
        f'<rect class="hold" {place(hold)} fill="{HOLD}" stroke="#b5c4d3"/>'
        f'<path class="bay" d="{bays}" fill="none" stroke="#cfdae5" stroke-dasharray="2 4"/>'
        f'<rect {place(ballast)} fill="url(#stowage-ballast)"/>'
    )


def _cargo(berth: Berth) -> str:
    """The boxes, or their silhouettes and, in the free space, the same boxes enlarged."""
    boxes, lens = berth.boxes(), berth.lens
    if lens is None:
        return "".join(draw_box(box, berth.resource) for box in boxes)
    silhouettes = "".join(f"<rect {place(inset(box.rect))}/>" for box in boxes)
    enlarged = "".join(draw_box(enlarge(box, berth.cargo, lens), berth.resource) for box in boxes)
    return (
        f'<g class="faint" fill="{FAINT}" fill-opacity=".75">{silhouettes}</g>'
        f"{_lens(berth.cargo, lens)}{enlarged}"
    )


def _lens(cargo: Rect, lens: Rect) -> str:
    """The frame of what is shown enlarged, and lines from the cargo to it."""
    frame = Rect(lens.x - 5, lens.y - 5, lens.width + 10, lens.height + 10)
    end, bottom = cargo.x + cargo.width, cargo.y + cargo.height
    frame_end, frame_bottom = frame.x + frame.width, frame.y + frame.height
    if frame.x > end:
        pairs = ((end, cargo.y, frame.x, frame.y), (end, bottom, frame.x, frame_bottom))
    else:
        pairs = ((cargo.x, cargo.y, frame.x, frame_bottom), (end, cargo.y, frame_end, frame_bottom))
    lines = "".join("M{} {}L{} {}".format(*map(number, pair)) for pair in pairs)
    return (
        f'<path class="crest" d="{lines}" fill="none" stroke="{FAINT}" stroke-dasharray="3 3"/>'
        f'<rect class="paper crest" {place(frame)} rx="3" fill="{PAPER}" stroke="{FAINT}"/>'
        f'<text class="faint" x="{number(frame.x)}" y="{number(frame.y - 7)}" font-size="12" '
        f'fill="{FAINT}">enlarged, {lens.width / cargo.width:.1f} times as wide</text>'
    )


def _deck(berth: Berth) -> str:
    """The deck's line across boxes that rise above it: more is reserved than can be given."""
    if berth.cargo.y >= berth.deck_y - 0.5:
        return ""
    left, right = berth.hold.x - WALL, berth.hold.x + berth.hold.width + WALL
    return (
        f'<path class="line" d="M{number(left)} {number(berth.deck_y)}H{number(right)}" '
        f'fill="none" stroke="{INK}" stroke-width="2" stroke-dasharray="7 4" '
        'pointer-events="none"/>'
    )


def _nameplate(berth: Berth) -> str:
    """The host's name and its figures, painted on the hull below the hold."""
    density = berth.host.densities[berth.resource]
    width, is_large = berth.hold.width, berth.hold.width > 260
    size = 15.0 if is_large else 12.0
    x, y = berth.hold.x + 2, berth.hold.y + berth.hold.height
    capacity = amount(berth.resource, density.capacity)
    name = shorten(berth.host.host.name, width - text_width(capacity, size) - 10, size)
    figures = f"{percent(density.packing)} packed, {percent(density.usage)} used"
    if berth.host.is_stale:
        figures = "not heard from"
    line = shorten(figures, width, size - 2)
    return (
        f'<g fill="#fff" pointer-events="none"><text x="{number(x)}" y="{number(y + size + 1)}" '
        f'font-size="{number(size)}" font-weight="700">{quote(name)}</text>'
        f'<text x="{number(x + width - 4)}" y="{number(y + size + 1)}" '
        f'font-size="{number(size - 1)}" text-anchor="end">{capacity}</text>'
        f'<text x="{number(x)}" y="{number(y + size * 2 + 1)}" font-size="{number(size - 2)}" '
        f'fill-opacity=".88">{quote(line)}</text></g>'
    )


def _tooltip(berth: Berth) -> str:
    density, resource = berth.host.densities[berth.resource], berth.resource
    lines = [
        berth.host.host.name,
        f"{plural(berth.host.containers_counted, 'container')}, by {resource}",
        f"capacity {amount(resource, density.capacity)}, of which the system keeps "
        f"{amount(resource, density.system)}",
        f"reserved {amount(resource, density.reservations)}, free {amount(resource, density.free)}",
        *(f"{name} {percent(value)}" for name, value in ratios(density)),
    ]
    if berth.host.is_stale:
        lines.append("not heard from: what was last known of it is drawn")
    if berth.magnification > 1.01:
        lines.append(f"drawn {berth.magnification:.1f} times larger than the picture's scale")
    if berth.cargo_scale < 1:
        lines.append(f"boxes drawn at {berth.cargo_scale:.0%} of the scale, to fit the picture")
    return "\n".join(lines)

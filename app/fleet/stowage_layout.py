"""Where everything lies in the stowage plan: pure geometry, in pixels, y down. No drawing in here.

Each host is a berthed vessel whose hold has the host's capacity as its area, on one scale for all
hosts; one that would come out too small to read is magnified, and says so. In the hold, from the
keel up: ballast (what the system reserves), cargo (the containers, each a box of its reservation's
area) and free space. Cargo beyond the allocatable rises above the deck.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, inf, sqrt
from typing import NamedTuple

from app.fleet.density import HostDensity, Report, Resource
from app.fleet.manifests import IS_STALE
from app.fleet.shares import Share
from app.fleet.treemaps import Rect, squarify

MARGIN = 28.0
HEADER = 92.0
ROW_GAP = 14.0
SEABED = 16.0
"""Water under the keels."""
BERTH_GAP = 26.0
WALL = 7.0
"""Thickness of the hull at the sides of the hold."""
DRAUGHT = 20.0
"""How deep every hull lies in the water."""

HOLD_ASPECT = 2.8
HOLD_WIDTH_MAX = 900.0
HOLD_WIDTH_MIN = 176.0
"""A smaller hold is magnified to this width."""
CARGO_ASPECT = 4.0
"""Little cargo is stacked at the stern end of the hold, at most this wide for its height."""
STACK_MAX = 1.6
"""Cargo is drawn at most this many holds high; beyond, all boxes of the vessel shrink alike."""
LENS_HOLD_WIDTH_MIN = 360.0
LENS_MAGNIFICATION_MIN = 1.9
"""Cargo that can be shown at least this much larger in the free space of a large hold is."""
LENS_SHARE_MAX = 0.42
"""The most of the hold's area that the enlarged cargo takes."""


class Box(NamedTuple):
    """A container in the picture: its area is its reservation's, on the scale of its vessel."""

    name: str
    state: str
    is_stale: bool
    share: Share
    rect: Rect


@dataclass(frozen=True, slots=True)
class Berth:
    """One vessel's place. `hold` is the hold: its area is the capacity."""

    host: HostDensity
    resource: Resource
    hold: Rect
    magnification: float
    """How many times larger the hold is drawn, by area, than the scale of the picture says."""

    @property
    def stern(self) -> float:
        """Length of the part behind the hold."""
        return _between(self.hold.width * 0.14, 28.0, 84.0)

    @property
    def bow(self) -> float:
        """Length of the part before the hold."""
        return _between(self.hold.width * 0.16, 28.0, 100.0)

    @property
    def left(self) -> float:
        return self.hold.x - WALL - self.stern

    @property
    def right(self) -> float:
        return self.hold.x + self.hold.width + WALL + self.bow

    @property
    def deck_y(self) -> float:
        return self.hold.y

    @property
    def waterline_y(self) -> float:
        return self.keel_y - DRAUGHT

    @property
    def keel_y(self) -> float:
        """Below the hold is room for the name and the figures, painted on the hull."""
        return self.hold.y + self.hold.height + DRAUGHT + _between(self.hold.width * 0.15, 34, 44)

    @property
    def ballast(self) -> Rect:
        """What the system reserves, along the bottom of the hold."""
        density = self.host.densities[self.resource]
        share = min(density.system / density.capacity, 1.0) if density.capacity > 0 else 0.0
        height = self.hold.height * share
        bottom = self.hold.y + self.hold.height
        return Rect(self.hold.x, bottom - height, self.hold.width, height)

    @property
    def cargo_scale(self) -> float:
        """A box's area over that of the same amount of hold; below 1 when shrunk."""
        return min(1.0, STACK_MAX * self.hold.area / max(self._cargo_area, 1e-9))

    @property
    def _cargo_area(self) -> float:
        density = self.host.densities[self.resource]
        return self.hold.area * density.reservations / density.capacity

    @property
    def cargo(self) -> Rect:
        """What all boxes fill: bottom-left on the ballast, above the deck when over-packed."""
        area = self._cargo_area * self.cargo_scale
        width = min(self.hold.width, sqrt(CARGO_ASPECT * area))
        height = area / width if width else 0.0
        return Rect(self.hold.x, self.ballast.y - height, width, height)

    @property
    def lens(self) -> Rect | None:
        """Where in the free hold the cargo is shown enlarged, when it is small and that helps."""
        hold, cargo = self.hold, self.cargo
        if hold.width < LENS_HOLD_WIDTH_MIN or cargo.area == 0:
            return None
        left, right = hold.x + 18, hold.x + hold.width - 18
        ceiling, floor = hold.y + 34, self.ballast.y - 16
        beside = max(cargo.x + cargo.width + hold.width * 0.07, hold.x + hold.width * 0.16)
        rooms = (
            Rect(beside, ceiling, right - beside, floor - ceiling),
            Rect(left, ceiling, right - left, cargo.y - 24 - ceiling),
        )
        scale, room = max(
            ((min(room.width / cargo.width, room.height / cargo.height), room) for room in rooms),
            key=lambda pair: pair[0],
        )
        scale = min(scale, sqrt(LENS_SHARE_MAX * hold.area / cargo.area))
        if scale < LENS_MAGNIFICATION_MIN:
            return None
        width, height = cargo.width * scale, cargo.height * scale
        y = room.y + (room.height - height) / 2
        return Rect(room.x + (room.width - width) / 2, y, width, height)

    @property
    def top(self) -> float:
        """The highest point of vessel and cargo."""
        return min(self.deck_y - superstructure_height(self.hold), self.cargo.y)

    def boxes(self) -> list[Box]:
        """Every container of the host, the largest first, stacked from the stern at the bottom."""
        manifest = self.host.manifest
        held, shares = manifest.containers, manifest.shares(self.resource)
        order = sorted(
            range(len(held)),
            key=lambda place: (-shares.reservations[place], held.names[place]),
        )
        cargo = self.cargo
        upright = Rect(cargo.x, 0.0, cargo.width, cargo.height)
        rects = squarify([shares.reservations[place] for place in order], upright)
        bottom = cargo.y + cargo.height
        counted = list(shares.each())
        return [
            Box(
                held.names[place],
                held.states[place],
                bool(manifest.flags[place] & IS_STALE),
                counted[place],
                Rect(x, bottom - y - height, width, height),
            )
            for place, (x, y, width, height) in zip(order, rects, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """Vessels side by side on one waterline."""

    berths: tuple[Berth, ...]
    waterline_y: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Layout:
    width: float
    rows: tuple[Row, ...]
    bottom: float
    """Where the last row ends and the legend begins."""


def enlarge(box: Box, cargo: Rect, lens: Rect) -> Box:
    """A box of the cargo where the lens shows it."""
    scale = lens.width / cargo.width
    rect = Rect(
        lens.x + (box.rect.x - cargo.x) * scale,
        lens.y + (box.rect.y - cargo.y) * scale,
        box.rect.width * scale,
        box.rect.height * scale,
    )
    return box._replace(rect=rect)


def superstructure_height(hold: Rect) -> float:
    return _between(hold.height * 0.5, 30.0, 120.0)


def lay_out(report: Report, resource: Resource) -> Layout:
    """The vessels of a report, in its order, in rows; as large as fits on one screen."""
    width = 1200.0 if len(report.hosts) <= 16 else 1680.0
    largest = HOLD_WIDTH_MAX
    while largest > HOLD_WIDTH_MIN * 1.24:
        layout = _rows(report.hosts, resource, largest=largest, width=width, height=width * 0.56)
        if layout is not None:
            return layout
        largest *= 0.93
    layout = _rows(report.hosts, resource, largest=largest, width=width, height=inf)
    assert layout is not None
    return layout


def _rows(
    hosts: Sequence[HostDensity],
    resource: Resource,
    *,
    largest: float,
    width: float,
    height: float,
) -> Layout | None:
    """Shelves: each row takes vessels until the next would not fit. None when too high."""
    capacity_max = max((host.densities[resource].capacity for host in hosts), default=1.0)
    rows: list[Row] = []
    shelf: list[Berth] = []
    y, free = HEADER, width - 2 * MARGIN
    for host in hosts:
        berth = _moor(host, resource, largest=largest, capacity_max=capacity_max)
        length = berth.right - berth.left
        if shelf and length > free:
            rows.append(_settle(shelf, y=y, width=width))
            y = rows[-1].bottom + ROW_GAP
            shelf, free = [], width - 2 * MARGIN
            if y > height:
                return None
        shelf.append(berth)
        free -= length + BERTH_GAP
    if shelf:
        rows.append(_settle(shelf, y=y, width=width))
        y = rows[-1].bottom + ROW_GAP
    return Layout(width=width, rows=tuple(rows), bottom=y) if y <= height else None


def _moor(host: HostDensity, resource: Resource, *, largest: float, capacity_max: float) -> Berth:
    """A berth of the right size, at the origin."""
    true_width = largest * sqrt(host.densities[resource].capacity / capacity_max)
    hold_width = max(true_width, min(HOLD_WIDTH_MIN, largest))
    hold = Rect(0.0, 0.0, hold_width, hold_width / HOLD_ASPECT)
    return Berth(host, resource, hold, magnification=(hold_width / true_width) ** 2)


def _settle(shelf: Sequence[Berth], *, y: float, width: float) -> Row:
    """The berths of a row moved to their places: centred, keels level, below `y`."""
    above = max(berth.keel_y - berth.top for berth in shelf)
    keel_y = y + above
    lengths = [berth.right - berth.left for berth in shelf]
    x = (width - fsum(lengths) - BERTH_GAP * (len(shelf) - 1)) / 2
    placed = []
    for berth, length in zip(shelf, lengths, strict=True):
        hold = Rect(x - berth.left, keel_y - berth.keel_y, berth.hold.width, berth.hold.height)
        placed.append(Berth(berth.host, berth.resource, hold, berth.magnification))
        x += length + BERTH_GAP
    return Row(tuple(placed), waterline_y=keel_y - DRAUGHT, bottom=keel_y + SEABED)


def _between(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))

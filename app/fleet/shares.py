"""What one container counts with, for one resource: its own figures, or what stands in for them.

    ================  ===================================  =====================================
    missing           what counts instead                  flag; basis
    ================  ===================================  =====================================
    reservation       P95 of use, at least the policy's    `unreserved`; `p95`, or `floor` when
                      floor, at most the declared limit    nothing was measured or P95 is below
    limit             the reservation as counted, or P95   `unlimited`; `stand_in`. In truth it is
                      of use where that is higher          "up to the whole host": a lower bound
    a current sample  P95 of use, or the reservation as    `stale` when all of the container was
                      counted when nothing was measured    silent; `p95`, or `assumed`
    P95 of use        the reservation as counted: no       `unmeasured`; `assumed`
                      slack is claimed without evidence
    ================  ===================================  =====================================

So no container ever counts as 0. Docker writes 0 for "none": a declared 0 is missing too.
docs/density.md works an example through.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

LEAST = 1e-9
"""Docker's 0 is none, and so is less than its smallest unit, the billionth of a core."""


class Measure(NamedTuple):
    """One resource of one container as observed, in cores or bytes.

    None: not declared, or not measured.
    """

    reservation: float | None = None
    limit: float | None = None
    current: float | None = None
    """The newest sample, unless it is older than the policy's `stale_after_seconds`."""
    p95: float | None = None
    """Percentile of the window's samples; None without any."""


class Share(NamedTuple):
    """What one container counts with, for one resource; every value is above 0, and why is named.

    `reservation_basis`: declared | p95 | floor. `limit_basis`: declared | stand_in.
    `use_basis`: sample | p95 | assumed. `p95_basis`: sample | assumed.
    """

    reservation: float
    limit: float
    use: float
    p95: float
    reservation_basis: str
    limit_basis: str
    use_basis: str
    p95_basis: str

    @property
    def is_reserved(self) -> bool:
        return self.reservation_basis == "declared"

    @property
    def is_limited(self) -> bool:
        return self.limit_basis == "declared"

    def as_dict(self) -> dict[str, float | str]:
        return {
            "reservation": self.reservation,
            "reservation_basis": self.reservation_basis,
            "limit": self.limit,
            "limit_basis": self.limit_basis,
            "use": self.use,
            "use_basis": self.use_basis,
            "use_p95": self.p95,
            "use_p95_basis": self.p95_basis,
        }

    @property
    def fill(self) -> float:
        """Use over reservation as counted; above 1 when it uses more than it reserved."""
        return self.use / self.reservation


BASES = tuple(
    product(
        ("declared", "p95", "floor"),
        ("declared", "stand_in"),
        ("sample", "p95", "assumed"),
        ("sample", "assumed"),
    )
)
"""Of what reservation, limit, use and P95 are, in every combination."""
_P95, _FLOOR = 12, 24
_STAND_IN = 6
_USE_P95, _USE_ASSUMED = 2, 4
_P95_ASSUMED = 1
"""What each adds to a place in BASES."""
BASIS_NAMES = ("reservations", "limits", "use", "use_p95")


class Shares(NamedTuple):
    """What several containers count with, for one resource: a column for each of Share's amounts.

    Fifteen thousand containers in columns cost a fraction of as many objects.
    """

    reservations: list[float]
    limits: list[float]
    uses: list[float]
    p95s: list[float]
    bases: bytearray
    """Places in BASES."""

    def each(self) -> Iterator[Share]:
        for reservation, limit, use, p95, basis in zip(*self, strict=True):
            yield Share(reservation, limit, use, p95, *BASES[basis])

    def count_bases(self) -> dict[str, Counter[str]]:
        """How many containers count with what."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in BASIS_NAMES}
        for place, number in Counter(self.bases).items():
            for name, basis in zip(BASIS_NAMES, BASES[place], strict=True):
                counts[name][basis] += number
        return counts


def count(measure: Measure, *, floor: float) -> Share:
    """What one container counts with, for one resource. The table above says what stands in."""
    return next(count_all(*([value] for value in measure), floors=[floor]).each())


Amounts = Iterable[float | None]


def count_all(
    reservations: Amounts,
    limits: Amounts,
    currents: Amounts,
    p95s: Amounts,
    *,
    floors: Iterable[float],
) -> Shares:
    """What each container counts with; the columns are Measure's, and the floor of each."""
    counted = Shares([], [], [], [], bytearray())
    add_reservation, add_limit = counted.reservations.append, counted.limits.append
    add_use, add_p95, add_basis = counted.uses.append, counted.p95s.append, counted.bases.append
    for declared, limited, current, measured, floor in zip(
        reservations, limits, currents, p95s, floors, strict=True
    ):
        limit = limited if limited is None or limited >= LEAST else None
        if declared is not None and declared >= LEAST:
            reservation, basis = declared, 0
        else:
            reservation, basis = _stand_in(limit, measured or 0.0, floor)
        if measured is not None:
            p95 = measured
            if current is None:
                basis += _USE_P95
        else:
            p95 = reservation
            basis += _P95_ASSUMED
            if current is None:
                basis += _USE_ASSUMED
        if limit is None:
            basis += _STAND_IN
            limit = max(reservation, p95)
        add_reservation(reservation)
        add_limit(limit)
        add_use(p95 if current is None else current)
        add_p95(p95)
        add_basis(basis)
    return counted


def _stand_in(limit: float | None, p95: float, floor: float) -> tuple[float, int]:
    """What counts in place of a reservation, and what that adds to its place in BASES."""
    value = max(floor, p95)
    if limit is not None:
        value = min(value, limit)
    return value, _P95 if p95 >= floor else _FLOOR

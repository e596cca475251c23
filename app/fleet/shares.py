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

from typing import NamedTuple


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


def count(measure: Measure, *, floor: float) -> Share:
    """What one container counts with, for one resource. The table above says what stands in."""
    limit = _declared(measure.limit)
    reservation, reservation_basis = _reservation(measure, limit=limit, floor=floor)
    use, use_basis = _first(
        ("sample", measure.current), ("p95", measure.p95), ("assumed", reservation)
    )
    p95, p95_basis = _first(("sample", measure.p95), ("assumed", reservation))
    return Share(
        reservation=reservation,
        limit=limit or max(reservation, p95),
        use=use,
        p95=p95,
        reservation_basis=reservation_basis,
        limit_basis="declared" if limit else "stand_in",
        use_basis=use_basis,
        p95_basis=p95_basis,
    )


def _reservation(measure: Measure, *, limit: float | None, floor: float) -> tuple[float, str]:
    declared = _declared(measure.reservation)
    if declared:
        return declared, "declared"
    p95 = measure.p95 or 0.0
    value = max(floor, p95)
    if limit is not None:
        value = min(value, limit)
    return value, "p95" if p95 >= floor else "floor"


def _declared(value: float | None) -> float | None:
    """None for Docker's 0, and for less than its smallest unit, the billionth of a core."""
    return value if value is not None and value >= 1e-9 else None


def _first(*candidates: tuple[str, float | None]) -> tuple[float, str]:
    """The first candidate that is known; the last one always is."""
    for basis, value in candidates:
        if value is not None:
            return value, basis
    raise AssertionError("the last candidate is always known")

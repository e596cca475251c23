"""What a repack plan is made of. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.fleet.packing import Size
from app.fleet.placements import Berth, Cargo, copied_topology


class Move(NamedTuple):
    """`frees`: it was the last one on the host that it left."""

    cargo: Cargo
    source: int
    target: int
    frees: bool


@dataclass(slots=True)
class Plan:
    """Hosts by id before and after; `hosts_min` is a lower bound on the hosts that are needed."""

    before: dict[int, Berth]
    after: dict[int, Berth]
    moves: list[Move] = field(default_factory=list)
    method: str = "emptying"
    hosts_min: int = 0

    @property
    def freed(self) -> list[Berth]:
        return [
            berth
            for pk, berth in self.after.items()
            if berth.is_open and not berth.cargo and self.before[pk].cargo
        ]

    @property
    def hosts_used_before(self) -> int:
        return sum(1 for berth in self.before.values() if berth.cargo)

    @property
    def hosts_used_after(self) -> int:
        return sum(1 for berth in self.after.values() if berth.cargo)

    def move(self, cargo: Cargo, source: Berth, target: Berth) -> None:
        source.take(cargo)
        target.put(cargo)
        self.moves.append(Move(cargo, source.id, target.id, frees=not source.cargo))


def copy_into(copies: dict[int, Berth], berths: Sequence[Berth]) -> Iterator[None]:
    topology = copied_topology(berths)
    yield None
    for berth in berths:
        copies[berth.id] = berth.copy(topology)
        yield None


def is_movable(berth: Berth) -> bool:
    """Whether all that it holds could be moved."""
    return berth.is_open and not any(one.is_pinned for one in berth.cargo.values())


def largest_of(berths: Sequence[Berth]) -> Size:
    """The largest capacity there is, of each resource: what shares are told of; at least 1."""
    return tuple(
        max(1, *(berth.capacity[r] for berth in berths)) for r in range(len(berths[0].capacity))
    )

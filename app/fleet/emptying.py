"""Hosts emptied one by one, those with the least to move first. Pure."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

from app.fleet.packing import Size, dominant_share
from app.fleet.placements import Berth, Cargo
from app.fleet.plans import Move, Plan, is_movable, largest_of


class Rooms:
    """Open hosts by the room that they have, of each resource in order: what fits best is found
    without looking at every host.
    """

    def __init__(self, berths: Sequence[Berth], resources: int) -> None:
        self.berths = {berth.id: berth for berth in berths}
        self.orders = [sorted((b.room[r], b.id) for b in berths) for r in range(resources)]

    def change(self, berth: Berth, cargo: Cargo, *, put: bool) -> None:
        for resource, order in enumerate(self.orders):
            del order[bisect_left(order, (berth.room[resource], berth.id))]
        if put:
            berth.put(cargo)
        else:
            berth.take(cargo)
        for resource, order in enumerate(self.orders):
            insort(order, (berth.room[resource], berth.id))

    def remove(self, berth: Berth) -> None:
        for resource, order in enumerate(self.orders):
            del order[bisect_left(order, (berth.room[resource], berth.id))]
        del self.berths[berth.id]

    def add(self, berth: Berth) -> None:
        self.berths[berth.id] = berth
        for resource, order in enumerate(self.orders):
            insort(order, (berth.room[resource], berth.id))

    def best(self, cargo: Cargo, resource: int, source: Berth) -> Berth | None:
        """The host with the least room of this resource that takes it from its own."""
        order = self.orders[resource]
        for place in range(bisect_left(order, (cargo.size[resource], -1)), len(order)):
            berth = self.berths[order[place][1]]
            if berth.takes(cargo, source):
                return berth
        return None


def empty(plan: Plan, max_moves: int) -> Iterator[None]:
    """One pass: room only grows less, so a host that can't be emptied can't be later either."""
    berths = list(plan.after.values())
    if not berths:
        return
    largest = largest_of(berths)
    rooms = Rooms([one for one in berths if one.is_open and one.cargo], len(largest))
    candidates = sorted(
        (one for one in rooms.berths.values() if is_movable(one)),
        key=lambda one: (len(one.cargo), one.id),
    )
    for source in candidates:
        yield None
        if len(source.cargo) <= max_moves - len(plan.moves):
            plan.moves += _moves_off(source, rooms, largest)


def _moves_off(source: Berth, rooms: Rooms, largest: Size) -> list[Move]:
    """Moves all off the host, or nothing."""
    rooms.remove(source)
    moved: list[tuple[Cargo, Berth]] = []
    items = sorted(
        source.cargo.values(), key=lambda one: (-dominant_share(one.size, largest), one.id)
    )
    for one in items:
        shares = [part / whole for part, whole in zip(one.size, largest, strict=True)]
        target = rooms.best(one, shares.index(max(shares)), source)
        if target is None:
            for cargo, berth in moved:
                rooms.change(berth, cargo, put=False)
                source.put(cargo)
            rooms.add(source)
            return []
        source.take(one)
        rooms.change(target, one, put=True)
        moved.append((one, target))
    return [Move(cargo, source.id, berth.id, frees=cargo is moved[-1][0]) for cargo, berth in moved]

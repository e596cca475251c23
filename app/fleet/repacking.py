"""Moves that free hosts, in an order in which each can be made. Pure.

Two plans are made, and the one that frees more hosts is taken, of equals the one with fewer moves:

- *emptying*: the hosts with the least to move first, each emptied if all that it holds fits on the
  others: best-fit decreasing on the dominant resource. Every move counts towards a freed host.
- *packing anew*: hosts are filled one by one by minimum bin slack (`packing`), and the moves from
  here to there are put in an order. It finds what emptying can't, and costs many moves.

A move is made only onto a host that admits the container and has room for it at that moment, while
the container still counts on the host that it leaves: both run for a while. So no constraint is
broken and no host overfilled at any step.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from app.fleet.packing import Size, dominant_share, fits, fullest_subset, lower_bound
from app.fleet.placements import Berth, Cargo

MOST_PASSES = 30
"""How often what waits for room is gone through: each pass looks at every container."""


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


def repack(berths: Sequence[Berth], *, max_moves: int) -> Iterator[Plan | None]:
    """Yields None while it computes, each time after some milliseconds at most, then the Plan."""
    before = {berth.id: berth for berth in berths}
    emptied = Plan(before, {})
    for emptied.hosts_min in bounds(berths):
        yield None
    yield from _copy(berths, emptied.after)
    yield from _empty(emptied, max_moves)
    best = emptied
    if emptied.hosts_used_after > emptied.hosts_min and len(emptied.moves) < max_moves:
        packed = Plan(before, {}, method="packing anew", hosts_min=emptied.hosts_min)
        yield from _copy(berths, packed.after)
        yield from _pack_anew(packed, max_moves)
        if len(packed.freed) > len(emptied.freed):
            best = packed
    yield best


def _copy(berths: Sequence[Berth], copies: dict[int, Berth]) -> Iterator[None]:
    for berth in berths:
        copies[berth.id] = berth.copy()
        yield None


def hosts_min(berths: Sequence[Berth]) -> int:
    """The hosts that are needed at the least, those that can't be emptied included.

    For each resource, so many of the largest as hold all of it; of hosts that are alike also
    Martello and Toth's L2 (`packing.lower_bound`).
    """
    return max(bounds(berths), default=0)


def bounds(berths: Sequence[Berth]) -> Iterator[int]:
    """`hosts_min` in steps: bounds, each at least the one before."""
    fixed = [one for one in berths if one.cargo and not _is_movable(one)]
    kept = {one.id for one in fixed}
    free = [one for one in berths if one.is_open and one.id not in kept]
    best = len(fixed)
    yield best
    sizes = [one.size for berth in free for one in berth.cargo.values()]
    capacities = {berth.capacity for berth in free}
    for resource in range(len(berths[0].capacity) if berths else 0):
        spare = sum(max(0, berth.room[resource]) for berth in fixed if berth.is_open)
        loads = [size[resource] for size in sizes]
        yield best
        best = max(best, len(fixed) + _hosts_for(free, sum(loads) - spare, resource))
        if len(capacities) == 1 and not fixed and loads:
            capacity = free[0].capacity[resource]
            if max(loads) <= capacity:
                yield best
                best = max(best, lower_bound([(load,) for load in loads], (capacity,)))
        yield best


def _hosts_for(free: list[Berth], load: int, resource: int) -> int:
    """So many of the largest as hold the load."""
    count = 0
    for capacity in sorted((berth.capacity[resource] for berth in free), reverse=True):
        if load <= 0:
            break
        load -= capacity
        count += 1
    return count


def _is_movable(berth: Berth) -> bool:
    """Whether all that it holds could be moved."""
    return berth.is_open and not any(one.is_pinned for one in berth.cargo.values())


# Emptying


class _Rooms:
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

    def best(self, cargo: Cargo, resource: int) -> Berth | None:
        """The host with the least room of this resource that takes it."""
        order = self.orders[resource]
        for place in range(bisect_left(order, (cargo.size[resource], -1)), len(order)):
            berth = self.berths[order[place][1]]
            if berth.takes(cargo):
                return berth
        return None


def _empty(plan: Plan, max_moves: int) -> Iterator[None]:
    """One pass: room only grows less, so a host that can't be emptied can't be later either."""
    berths = list(plan.after.values())
    if not berths:
        return
    largest = _largest(berths)
    rooms = _Rooms([one for one in berths if one.is_open and one.cargo], len(largest))
    candidates = sorted(
        (one for one in rooms.berths.values() if _is_movable(one)),
        key=lambda one: (len(one.cargo), one.id),
    )
    for source in candidates:
        yield None
        if len(source.cargo) <= max_moves - len(plan.moves):
            plan.moves += _moves_off(source, rooms, largest)


def _moves_off(source: Berth, rooms: _Rooms, largest: Size) -> list[Move]:
    """Moves all off the host, or nothing."""
    rooms.remove(source)
    moved: list[tuple[Cargo, Berth]] = []
    items = sorted(
        source.cargo.values(), key=lambda one: (-dominant_share(one.size, largest), one.id)
    )
    for one in items:
        shares = [part / whole for part, whole in zip(one.size, largest, strict=True)]
        target = rooms.best(one, shares.index(max(shares)))
        if target is None:
            for cargo, berth in moved:
                rooms.change(berth, cargo, put=False)
            rooms.add(source)
            return []
        rooms.change(target, one, put=True)
        moved.append((one, target))
    for cargo, _ in moved:
        source.take(cargo)
    return [Move(cargo, source.id, berth.id, frees=cargo is moved[-1][0]) for cargo, berth in moved]


def _largest(berths: Sequence[Berth]) -> Size:
    """The largest capacity there is, of each resource: what shares are told of; at least 1."""
    return tuple(
        max(1, *(berth.capacity[r] for berth in berths)) for r in range(len(berths[0].capacity))
    )


# Packing anew


def _pack_anew(plan: Plan, max_moves: int) -> Iterator[None]:
    targets: dict[int, int] = {}
    yield from _find_targets(list(plan.before.values()), targets)
    where = {pk: berth for berth in plan.after.values() for pk in berth.cargo}
    pending = [pk for pk, target in targets.items() if where[pk].id != target]
    for _ in range(MOST_PASSES):
        if not pending or len(plan.moves) >= max_moves:
            return
        waiting = []
        for pk in pending:
            source, target = where[pk], plan.after[targets[pk]]
            if len(plan.moves) < max_moves and target.takes(source.cargo[pk]):
                where[pk] = _move(plan, source.cargo[pk], source, target)
            else:
                waiting.append(pk)
            yield None
        if len(waiting) == len(pending) and not _step_aside(plan, waiting, where):
            return  # every one waits for another: what is left stays
        pending = waiting


def _move(plan: Plan, cargo: Cargo, source: Berth, target: Berth) -> Berth:
    source.take(cargo)
    target.put(cargo)
    plan.moves.append(Move(cargo, source.id, target.id, frees=not source.cargo))
    return target


def _step_aside(plan: Plan, waiting: list[int], where: dict[int, Berth]) -> bool:
    """Moves one that waits to some other host with room, so that the rest can go on."""
    for pk in waiting:
        source = where[pk]
        cargo = source.cargo[pk]
        for berth in plan.after.values():
            if berth is not source and berth.cargo and berth.takes(cargo):
                where[pk] = _move(plan, cargo, source, berth)
                return True
    return False


def _find_targets(berths: Sequence[Berth], targets: dict[int, int]) -> Iterator[None]:
    """The host of each movable container, hosts filled one by one.

    None at all where something is left over: then hosts that differ were filled in a bad order, or
    constraints leave no place.
    """
    largest = _largest(berths) if berths else ()
    filled, keyed = [], []
    for berth in berths:
        if berth.is_open:
            copied = berth.copy()
            filled.append(copied)
            for one in [one for one in copied.cargo.values() if not one.is_pinned]:
                copied.take(one)
                keyed.append((-dominant_share(one.size, largest), one.id, one))
            yield None
    yield None
    keyed.sort(key=itemgetter(0, 1))
    yield None
    loose = [(-share, one) for share, _, one in keyed]
    yield None
    # Those that stay in use anyway first, then the largest.
    filled.sort(key=lambda one: (not one.cargo, [-part for part in one.capacity], one.id))
    found: dict[int, int] = {}
    for berth in filled:
        if not loose:
            break
        candidates = _Candidates()
        yield from _admitted(berth, loose, candidates)
        for one in candidates.choose(berth.room, largest):
            berth.put(one)
            found[one.id] = berth.id
        yield None
        loose = [entry for entry in loose if entry[1].id not in found]
    if not loose:
        targets.update(found)


class _Candidates:
    """What a host admits, the largest first."""

    def __init__(self) -> None:
        self.cargo: list[Cargo] = []
        self.sizes: list[Size] = []
        self.shares: list[float] = []

    def choose(self, room: Size, largest: Size) -> list[Cargo]:
        """The largest that fits, and of the others those that fill the room best beside it."""
        for begin, size in enumerate(self.sizes):
            if fits(size, room):
                rest = tuple(left - part for left, part in zip(room, size, strict=True))
                chosen = fullest_subset(self.sizes, self.shares, rest, largest, begin=begin + 1)
                return [self.cargo[begin], *(self.cargo[place] for place in chosen)]
        return []


def _admitted(
    berth: Berth, loose: list[tuple[float, Cargo]], candidates: _Candidates
) -> Iterator[None]:
    """What the host admits, one of each group."""
    groups = set()
    for number, (share, one) in enumerate(loose):
        if one.group not in groups and berth.admits(one):
            candidates.cargo.append(one)
            candidates.sizes.append(one.size)
            candidates.shares.append(share)
            if one.group is not None:
                groups.add(one.group)
        if number % 2000 == 0:
            yield None

"""All that can be moved packed anew, and the moves from here to there. Pure.

Hosts are filled one by one by minimum bin slack (`packing`). Of hosts that are alike, each is then
given the contents of which it holds the most already. A move is made when its target has room; each
that leaves a host lets in those that wait for it. Where all wait for each other, one steps aside:
onto a host that is to be freed, or is empty, or has room to spare.

What is spread over a label of hosts stays in its domain, so that the moves may come in any order;
a move that a rule forbids when its turn comes is not made.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import merge
from itertools import islice
from operator import itemgetter, neg

from app.fleet.emptying import Rooms
from app.fleet.packing import Size, dominant_share, fits, fullest_subset, less, value_of, worth_of
from app.fleet.placements import Berth, Cargo, Constraint, copied_topology
from app.fleet.plans import Plan, is_movable, largest_of
from app.fleet.topologies import HOSTNAME, Rules, Spread

MOST_LOOKS = 200_000
"""How many containers are looked at, at the most, for one to step aside: tenths of a second."""

Contents = dict[int, list[Cargo]]
"""What is to be on a host, by its id; what is pinned there apart."""


def find_contents(berths: Sequence[Berth]) -> Generator[None, None, Contents]:
    """What each host is to hold.

    Nothing at all where something is left over: then hosts that differ were filled in a bad order,
    or constraints leave no place.
    """
    filled: list[Berth] = []
    several: list[list[Cargo]] = []
    topology = copied_topology(berths)
    yield None
    anchors = _Anchors()
    for berth in berths:
        if berth.is_open:
            copied = berth.copy(topology)
            filled.append(copied)
            several.append([])
            for one in berth.cargo.values():
                anchored = None if one.is_pinned else anchors.hold(one, berth)
                if anchored is not None:
                    several[-1].append(anchored)
                    copied.take(one)
            yield None
    sizes = [one.size for movable in several for one in movable]
    if not sizes:
        return {}
    yield None
    worth = worth_of(sizes, [berth.capacity for berth in filled])
    yield None
    loose = yield from _in_order(several, worth)
    # Those that stay in use anyway first, then the largest.
    filled.sort(key=lambda one: (not one.cargo, [-part for part in one.capacity], one.id))
    contents: Contents = {}
    for berth in filled:
        if not loose.cargo:
            break
        yield None
        contents[berth.id] = loose.fill(berth, worth)
    return {} if loose.cargo else contents


class _Anchors:
    """Binds what is spread over a label of hosts to its domain: there it keeps every skew."""

    def __init__(self) -> None:
        self._left: dict[Rules, tuple[Rules, list[Spread]]] = {}

    def hold(self, one: Cargo, berth: Berth) -> Cargo | None:
        """The container, bound; None if it can go nowhere."""
        if one.rules is None or not one.rules.required.spreads:
            return one
        if one.rules not in self._left:
            spreads = one.rules.required.spreads
            over_hosts = tuple(each for each in spreads if each.topology_key == HOSTNAME)
            required = one.rules.required._replace(spreads=over_hosts)
            bound = [each for each in spreads if each.topology_key != HOSTNAME]
            self._left[one.rules] = (replace(one.rules, required=required), bound)
        rules, bound = self._left[one.rules]
        bonds = []
        for spread in bound:
            domain = berth.labels.get(spread.topology_key)
            if domain is None:
                return None
            bonds.append(Constraint(spread.topology_key, domain, True))
        return one._replace(rules=rules, constraints=(*one.constraints, *bonds))


def _in_order(
    several: Iterable[list[Cargo]], worth: Sequence[float]
) -> Generator[None, None, "_Loose"]:
    """Sorted by host, and merged, so that no step is long."""
    keyed = []
    for movable in several:
        entries = ((-value_of(one.size, worth), one.id, one) for one in movable)
        keyed.append(sorted(entries, key=itemgetter(0, 1)))
        yield None
    merged = merge(*keyed, key=itemgetter(0, 1))
    loose = _Loose()
    while some := list(islice(merged, 500)):
        for value, _, one in some:
            loose.cargo.append(one)
            loose.sizes.append(one.size)
            loose.values.append(-value)
            loose.groups.append(one.group if one.most == 1 else None)
        yield None
    return loose


class _Loose:
    """Containers that have no host yet, those worth the most first."""

    def __init__(self) -> None:
        self.cargo: list[Cargo] = []
        self.sizes: list[Size] = []
        self.values: list[float] = []
        self.groups: list[str | None] = []

    def fill(self, berth: Berth, worth: Sequence[float]) -> list[Cargo]:
        """Takes out the largest that fits, and of the others what fills the room best beside it."""
        chosen = [place for place in self._choose(berth, worth) if self._put(place, berth)]
        taken = [self.cargo[place] for place in chosen]
        for place in sorted(chosen, reverse=True):
            for column in (self.cargo, self.sizes, self.values, self.groups):
                del column[place]
        return taken

    def _put(self, place: int, berth: Berth) -> bool:
        """Puts it there, if those that were put before it let it in."""
        one = self.cargo[place]
        if not berth.admits(one):
            return False
        berth.put(one)
        return True

    def _choose(self, berth: Berth, worth: Sequence[float]) -> list[int]:
        start = bisect_left(self.values, -value_of(berth.room, worth) - 1e-12, key=neg)
        for begin in range(start, len(self.cargo)):
            one = self.cargo[begin]
            if fits(one.size, berth.room) and berth.admits(one):
                rest = fullest_subset(
                    self.sizes,
                    self.values,
                    less(berth.room, one.size),
                    worth,
                    begin=begin + 1,
                    groups=self.groups,
                    first_group=self.groups[begin],
                    admits=lambda place: berth.admits(self.cargo[place]),
                )
                return [begin, *rest]
        return []


def find_targets(
    contents: Contents, berths: Sequence[Berth]
) -> Generator[None, None, dict[int, int]]:
    """The host of each container by their ids: of hosts that are alike, the one that holds the most
    of what was put together.
    """
    where: dict[int, int] = {}
    for berth in berths:
        where |= dict.fromkeys(berth.cargo, berth.id)
    yield None
    demands = {c for several in contents.values() for one in several for c in one.constraints}
    yield None
    rules = {one.rules for several in contents.values() for one in several if one.rules}
    yield None
    named = any(each.label is None for each in demands)
    keys = {each.label for each in demands if each.label is not None}
    for each in rules:
        keys |= each.topology_keys
    alike: dict[object, list[Berth]] = defaultdict(list)
    for berth in berths:
        if is_movable(berth):
            labels = tuple(berth.labels.get(key) for key in sorted(keys - {HOSTNAME}))
            alike[berth.capacity, labels, berth.name if named else ""].append(berth)
    yield None
    hosts = {pk: pk for pk in contents}
    for several in alike.values():
        hosts |= yield from _matched(contents, several, where)
    yield None
    return {one.id: hosts[pk] for pk, several in contents.items() for one in several}


def _matched(
    contents: Contents, berths: Sequence[Berth], where: dict[int, int]
) -> Generator[None, None, dict[int, int]]:
    """A host for each of the contents of these, those with the most in common first."""
    free = {berth.id: None for berth in sorted(berths, key=lambda one: (not one.cargo, one.id))}
    packed = [pk for pk in free if pk in contents]
    pairs: list[list[tuple[int, int, int]]] = []
    for pk in packed:
        shared = Counter(where[one.id] for one in contents[pk])
        pairs.append(sorted((-count, pk, host) for host, count in shared.items() if host in free))
        yield None
    found: dict[int, int] = {}
    for _, pk, host in merge(*pairs):
        if pk not in found and host in free:
            found[pk] = host
            del free[host]
        yield None
    for pk in packed:
        if pk not in found:
            found[pk] = next(iter(free))
            del free[found[pk]]
    return found


def carry_out(plan: Plan, targets: dict[int, int], max_moves: int) -> Iterator[None]:
    """Adds the moves to the targets, as far as they can be made and `max_moves` lets them."""
    yield from _Shift(plan, targets, max_moves).run()


class _Shift:
    """Containers on the way to their targets."""

    def __init__(self, plan: Plan, targets: dict[int, int], max_moves: int) -> None:
        self.plan = plan
        self.targets = targets
        self.max_moves = max_moves
        self.where: dict[int, Berth] = {}
        self.waiting: dict[int, list[Cargo]] = {}
        kept = set(targets.values())
        berths = [berth for berth in plan.after.values() if berth.is_open]
        self.largest = largest_of(berths) if berths else ()
        resources = len(self.largest)
        self.spare = Rooms([one for one in berths if one.id not in kept], resources)
        self.kept = Rooms([one for one in berths if one.id in kept], resources)
        self.due: dict[int, None] = {}
        self.stepped_aside: set[int] = set()
        self.looks = MOST_LOOKS

    def run(self) -> Iterator[None]:
        for berth in self.plan.after.values():
            for pk, one in berth.cargo.items():
                self.where[pk] = berth
                target = self.targets.get(pk, berth.id)
                if target != berth.id:
                    self.waiting.setdefault(target, []).append(one)
            yield None
        self.due = dict.fromkeys(self.waiting)
        while True:
            while self.due:
                target = next(iter(self.due))
                del self.due[target]
                yield from self._let_in(self.plan.after[target])
            if len(self.plan.moves) >= self.max_moves or not (yield from self._step_aside()):
                return

    def _let_in(self, target: Berth) -> Iterator[None]:
        still = []
        for one in self.waiting[target.id]:
            if len(self.plan.moves) < self.max_moves and target.takes(one, self.where[one.id]):
                self._move(one, target)
            else:
                still.append(one)
            yield None
        self.waiting[target.id] = still

    def _move(self, cargo: Cargo, target: Berth) -> None:
        source = self.where[cargo.id]
        places = [(one, self._rooms_of(one)) for one in (source, target)]
        for one, rooms in places:
            rooms.remove(one)
        self.plan.move(cargo, source, target)
        for one, rooms in places:
            rooms.add(one)
        self.where[cargo.id] = target
        if self.waiting.get(source.id):
            self.due[source.id] = None

    def _rooms_of(self, berth: Berth) -> Rooms:
        return self.spare if berth.id in self.spare.berths else self.kept

    def _step_aside(self) -> Generator[None, None, bool]:
        """Moves one off a host that others wait for, so that the rest can go on.

        First one whose leaving lets in another, then any. Each steps aside once at the most.
        """
        for lets_in in (True, False):
            for target in list(self.waiting):
                waiting = self.waiting.pop(target)
                self.waiting[target] = waiting  # next time the others come first
                yield None
                if waiting and self._clear(self.plan.after[target], waiting, lets_in=lets_in):
                    return True
                if self.looks <= 0:
                    return False
        return False

    def _clear(self, berth: Berth, waiting: list[Cargo], *, lets_in: bool) -> bool:
        for one in self._misplaced(berth):
            room = tuple(left + part for left, part in zip(berth.room, one.size, strict=True))
            self.looks -= len(waiting) if lets_in else 1
            if lets_in and not any(fits(each.size, room) for each in waiting):
                continue
            if aside := self._find_room(one, berth):
                self.stepped_aside.add(one.id)
                self._move(one, aside)
                return True
        return False

    def _misplaced(self, berth: Berth) -> list[Cargo]:
        """What is on the host for now, and did not step aside before; the smallest first."""
        return sorted(
            (
                one
                for pk, one in berth.cargo.items()
                if self.targets.get(pk, berth.id) != berth.id and pk not in self.stepped_aside
            ),
            key=lambda one: (dominant_share(one.size, self.largest), one.id),
        )

    def _find_room(self, one: Cargo, source: Berth) -> Berth | None:
        shares = [part / whole for part, whole in zip(one.size, self.largest, strict=True)]
        resource = shares.index(max(shares))
        for rooms in (self.spare, self.kept):
            found = rooms.best(one, resource, source)
            if found is not None and found is not source:
                return found
        return None

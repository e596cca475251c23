"""Where containers that are alike would go, and what stops them. Pure; nothing is moved."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace

from app.fleet.packing import Size, dominant_share
from app.fleet.placements import Berth, Constraint, copied_topology
from app.fleet.topologies import Rules, Topology

RESOURCES = ("cpu", "memory")


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a simulation: `count` containers like this."""

    size: Size
    count: int
    constraints: tuple[Constraint, ...] = ()
    max_per_host: int | None = None
    avoids: tuple[str, ...] = ()
    """Groups whose containers it does not share a host with."""
    group: str | None = None
    """Its own: those that are there already count for `max_per_host`."""
    rules: Rules = field(default_factory=Rules)
    is_packed: bool = True
    """Onto as few hosts as it goes; else as evenly as it goes."""


@dataclass(slots=True)
class Verdict:
    """What a simulation says of one host."""

    berth: Berth
    headroom: int
    """How many would fit, the others apart."""
    stopped_by: str
    """What stops the next one: cpu, memory, or the reason that excludes the host."""
    placed: int = 0


@dataclass(slots=True)
class Simulation:
    demand: Demand
    verdicts: list[Verdict]
    unplaced: int
    pooled: int
    regrets: Counter[str]
    """What is preferred, and how many are placed against it."""

    @property
    def headroom(self) -> int:
        return sum(verdict.headroom for verdict in self.verdicts)

    @property
    def fragmentation(self) -> float | None:
        """1 - headroom / pooled, over the hosts that may take it at all; None without room."""
        return 1 - self.headroom / self.pooled if self.pooled else None


def simulate(berths: Sequence[Berth], demand: Demand) -> Iterator[Simulation | None]:
    """Yields None while it computes, and at last the Simulation. Changes none of the berths.

    Containers that are alike fit where each host's headroom says, so without rules all are placed
    if there are places. With one spread, the domain with the fewest goes first, and none may get
    more than `max_skew` ahead of the last, so it stops only where no other order would go on. With
    several rules one container is placed after the other, each where the least speaks against it,
    as schedulers do it: another order might place more, and none is placed against a rule.
    """
    topology = copied_topology(berths) or Topology()
    verdicts = []
    for berth in berths:
        verdicts.append(_judge(berth, demand, topology))
        yield None
    eligible = [one for one in verdicts if _may_hold(one.berth, demand, topology) is None]
    pool = [sum(max(0, one.berth.room[r]) for one in eligible) for r in range(len(demand.size))]
    pooled = min(have // part for have, part in zip(pool, demand.size, strict=True) if part)
    unplaced = demand.count
    regrets: Counter[str] = Counter()
    choose = _chooser(eligible, demand, topology)
    while unplaced:
        yield None
        chosen = choose()
        if chosen is None:
            break
        regrets.update(topology.regrets(demand.rules, chosen.berth))
        topology.change(demand.rules, chosen.berth, 1)
        chosen.placed += 1
        unplaced -= 1
    yield None
    for one in eligible:
        if one.placed < one.headroom:
            one.stopped_by = topology.obstacle(demand.rules, one.berth) or one.stopped_by
    yield Simulation(demand, verdicts, unplaced, pooled, regrets)


def _judge(berth: Berth, demand: Demand, topology: Topology) -> Verdict:
    excluded = _may_hold(berth, demand, topology)
    if excluded is not None:
        return Verdict(berth, 0, excluded)
    counts = [
        (max(0, have) // part, name)
        for have, part, name in zip(berth.room, demand.size, RESOURCES, strict=True)
        if part
    ]
    fit, stopped_by = min(counts)
    if demand.max_per_host is not None:
        allowed = max(0, demand.max_per_host - _present(berth, demand))
        if allowed < fit:
            fit, stopped_by = allowed, "max_per_host"
    if fit > 1 and (apart := demand.rules.required.apart):
        fit, stopped_by = 1, str(apart[0])
    return Verdict(berth, fit, stopped_by)


def _may_hold(berth: Berth, demand: Demand, topology: Topology) -> str | None:
    """Why the host is excluded, room apart; None when it isn't."""
    if not berth.is_open:
        return berth.why_closed
    for constraint in demand.constraints:
        if not constraint.admits(berth):
            return f"constraint {constraint}"
    for group in demand.avoids:
        if berth.groups[group]:
            return f"anti-affinity {group}"
    return topology.conflict(demand.rules, berth)


def _present(berth: Berth, demand: Demand) -> int:
    return berth.groups[demand.group] if demand.group is not None else 0


def _chooser(
    eligible: Sequence[Verdict], demand: Demand, topology: Topology
) -> Callable[[], Verdict | None]:
    """Says the host for the next container, or None when there is none."""
    if demand.rules.required or demand.rules.preferred:
        return lambda: _next(eligible, demand, topology)
    return _Queue(eligible, demand).next


class _Queue:
    """Hosts where nothing but room and preference counts: placing one on the first changes the
    place of no other, so the others need not be looked at again.
    """

    def __init__(self, eligible: Sequence[Verdict], demand: Demand) -> None:
        self.demand = demand
        self.queue = [(_preference(one, demand), one) for one in eligible if one.headroom > 0]
        heapify(self.queue)  # no two preferences are equal: they end with the host's id

    def next(self) -> Verdict | None:
        while self.queue:
            preference, one = self.queue[0]
            if one.placed >= one.headroom:
                heappop(self.queue)
            elif (now := _preference(one, self.demand)) != preference:
                heapreplace(self.queue, (now, one))
            else:
                return one
        return None


def _next(eligible: Sequence[Verdict], demand: Demand, topology: Topology) -> Verdict | None:
    """The host for the next container, or None when there is none."""
    best, least = None, None
    for one in eligible:
        if one.placed >= one.headroom:
            continue
        if topology.obstacle(demand.rules, one.berth) is not None:
            continue
        against = len(topology.regrets(demand.rules, one.berth))
        crowd = topology.crowd(demand.rules, one.berth)
        preference = (crowd, against, *_preference(one, demand))
        if least is None or preference < least:
            best, least = one, preference
    return best


def _preference(one: Verdict, demand: Demand) -> tuple[float, float, int]:
    """Packed: where some are already, then where the least is left. Even: the other way round."""
    room = tuple(
        left - one.placed * part for left, part in zip(one.berth.room, demand.size, strict=True)
    )
    left = dominant_share(room, one.berth.capacity)
    number = one.placed + _present(one.berth, demand)
    return (-one.placed, left, one.berth.id) if demand.is_packed else (number, -left, one.berth.id)

"""Where containers may go: hosts with their room, containers with what they demand. Pure.

Amounts are whole: millionths of a core, and bytes. A host's room is what can be given away,
allocatable * (1 - buffer), less what its containers count with. A host may hold more than it has
room for when it is first looked at; nothing is ever put on it then.

What a container demands of its host, beside room:

- constraints on the host's labels and name, as Swarm writes them: `node.labels.zone==a`,
  `node.hostname!=crane-7`;
- that its host has no other of its group (anti-affinity), none of a published port of its own.

A closed host (stale, or labelled `stowage.cordon`) takes nothing, and nothing is moved off it
either: nobody answers there, or somebody has asked to be left alone.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.fleet.packing import Size, dominant_share, fits

MICRO = 1_000_000

EXPRESSION = re.compile(r"\s*(node\.labels\.([^\s=!]+)|node\.hostname)\s*(==|!=)\s*(\S.*?)\s*")

RESOURCES = ("cpu", "memory")


class Constraint(NamedTuple):
    """One condition on a host. `label` is None where the host's name is meant."""

    label: str | None
    value: str
    is_equal: bool

    def admits(self, host: "Berth") -> bool:
        found = host.name if self.label is None else host.labels.get(self.label)
        return (found == self.value) is self.is_equal

    def __str__(self) -> str:
        subject = "node.hostname" if self.label is None else f"node.labels.{self.label}"
        return f"{subject}{'==' if self.is_equal else '!='}{self.value}"


def parse_constraint(text: str) -> Constraint:
    """Raises ValueError with a sentence for people."""
    match = EXPRESSION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is no constraint. Write node.labels.key==value, node.labels.key!=value or"
            " node.hostname==name."
        )
    return Constraint(match[2], match[4], match[3] == "==")


@dataclass(frozen=True, slots=True)
class Cargo:
    """A container that is, or may be, somewhere."""

    id: int
    name: str
    size: Size
    group: str | None = None
    """No two of a group on one host, unless they are there already."""
    constraints: tuple[Constraint, ...] = ()
    is_pinned: bool = False
    """It is not moved."""
    flags: tuple[str, ...] = ()
    """What stands in for what it does not declare, as the density report flags it."""


@dataclass(slots=True)
class Berth:
    """A host as somewhere to put containers."""

    id: int
    name: str
    labels: Mapping[str, str]
    capacity: Size
    is_open: bool = True
    why_closed: str = ""
    cargo: dict[int, Cargo] = field(default_factory=dict)
    room: Size = (0, 0)
    groups: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.room = self.capacity
        for one in list(self.cargo.values()):
            self.put(one)

    def put(self, one: Cargo) -> None:
        self.cargo[one.id] = one
        self.room = tuple(left - part for left, part in zip(self.room, one.size, strict=True))
        if one.group is not None:
            self.groups[one.group] += 1

    def take(self, one: Cargo) -> None:
        del self.cargo[one.id]
        self.room = tuple(left + part for left, part in zip(self.room, one.size, strict=True))
        if one.group is not None:
            self.groups[one.group] -= 1

    def admits(self, one: Cargo) -> bool:
        """Whether it may go here, room apart."""
        if not self.is_open or (one.group is not None and self.groups[one.group]):
            return False
        return not one.constraints or all(each.admits(self) for each in one.constraints)

    def takes(self, one: Cargo) -> bool:
        return fits(one.size, self.room) and self.admits(one)

    def copy(self) -> "Berth":
        copied = Berth(
            self.id, self.name, self.labels, self.capacity, self.is_open, self.why_closed
        )
        copied.cargo, copied.room = dict(self.cargo), self.room
        copied.groups = Counter(self.groups)
        return copied


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a simulation: `count` containers like this."""

    size: Size
    count: int
    constraints: tuple[Constraint, ...] = ()
    max_per_host: int | None = None
    spread_label: str | None = None
    """Containers are spread over the values of this label of hosts."""
    max_skew: int = 1
    """The most by which two values may differ in their count."""
    avoids: tuple[str, ...] = ()
    """Groups whose containers it does not share a host with."""
    group: str | None = None
    """Its own: those that are there already count for `max_per_host` and the spread."""
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

    @property
    def headroom(self) -> int:
        return sum(verdict.headroom for verdict in self.verdicts)

    @property
    def fragmentation(self) -> float | None:
        """1 - headroom / pooled, over the hosts that may take it at all; None without room."""
        return 1 - self.headroom / self.pooled if self.pooled else None


def simulate(berths: Sequence[Berth], demand: Demand) -> Iterator[Simulation | None]:
    """Yields None while it computes, and at last the Simulation. Changes none of the berths.

    Without a spread it finds places for all if there are any: containers that are alike fit where
    each host's headroom says. With one, the value with the fewest goes first, and none may get more
    than `max_skew` ahead of the last, so it stops only where no other order would go on.
    """
    verdicts = []
    for berth in berths:
        verdicts.append(_judge(berth, demand))
        yield None
    eligible = [one for one in verdicts if _may_hold(one.berth, demand) is None]
    pool = [sum(max(0, one.berth.room[r]) for one in eligible) for r in range(len(demand.size))]
    pooled = min(have // part for have, part in zip(pool, demand.size, strict=True) if part)
    unplaced = demand.count
    counts = _counts(eligible, demand)
    while unplaced:
        chosen = _next(eligible, demand, counts)
        if chosen is None:
            break
        chosen.placed += 1
        unplaced -= 1
        if demand.spread_label is not None:
            counts[chosen.berth.labels[demand.spread_label]] += 1
        yield None
    yield Simulation(demand, verdicts, unplaced, pooled)


def _judge(berth: Berth, demand: Demand) -> Verdict:
    excluded = _may_hold(berth, demand)
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
    return Verdict(berth, fit, stopped_by)


def _may_hold(berth: Berth, demand: Demand) -> str | None:
    """Why the host is excluded, room apart; None when it isn't."""
    if not berth.is_open:
        return berth.why_closed
    for constraint in demand.constraints:
        if not constraint.admits(berth):
            return f"constraint {constraint}"
    for group in demand.avoids:
        if berth.groups[group]:
            return f"anti-affinity {group}"
    if demand.spread_label is not None and demand.spread_label not in berth.labels:
        return f"no label {demand.spread_label}"
    return None


def _present(berth: Berth, demand: Demand) -> int:
    return berth.groups[demand.group] if demand.group is not None else 0


def _counts(eligible: Collection[Verdict], demand: Demand) -> Counter[str]:
    """How many there are already, by value of the label that they are spread over."""
    counts: Counter[str] = Counter()
    if demand.spread_label is not None:
        for one in eligible:
            counts[one.berth.labels[demand.spread_label]] += _present(one.berth, demand)
    return counts


def _next(eligible: list[Verdict], demand: Demand, counts: Counter[str]) -> Verdict | None:
    """The host for the next container, or None when there is none."""
    open_ones = [one for one in eligible if one.placed < one.headroom]
    if demand.spread_label is not None:
        label, fewest = demand.spread_label, min(counts.values(), default=0)
        open_ones = [
            one
            for one in open_ones
            if counts[one.berth.labels[label]] + 1 - fewest <= demand.max_skew
        ]
        least = min((counts[one.berth.labels[label]] for one in open_ones), default=0)
        open_ones = [one for one in open_ones if counts[one.berth.labels[label]] == least]
    if not open_ones:
        return None
    return min(open_ones, key=lambda one: _preference(one, demand))


def _preference(one: Verdict, demand: Demand) -> tuple[float, float, int]:
    """Packed: where some are already, then where the least is left. Even: the other way round."""
    room = tuple(
        left - one.placed * part for left, part in zip(one.berth.room, demand.size, strict=True)
    )
    left = dominant_share(room, one.berth.capacity)
    number = one.placed + _present(one.berth, demand)
    return (-one.placed, left, one.berth.id) if demand.is_packed else (number, -left, one.berth.id)

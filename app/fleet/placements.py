"""Where containers may go: hosts with their room, containers with what they demand. Pure.

Amounts are whole: millionths of a core, and bytes. A host's room is what can be given away,
allocatable * (1 - buffer), less what its containers count with. A host may hold more than it has
room for when it is first looked at; nothing is ever put on it then.

What a container demands of its host, beside room:

- constraints on the host's labels and name, as Swarm writes them: `node.labels.zone==a`,
  `node.hostname!=crane-7`;
- that its host has no other of its group;
- what rules of its workload, and of others, say of those near it (`topologies`).

A closed host (stale, or labelled `stowage.cordon`) takes nothing, and nothing is moved off it
either: nobody answers there, or somebody has asked to be left alone.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.fleet.packing import Size, fits
from app.fleet.topologies import Rules, Topology

MICRO = 1_000_000

EXPRESSION = re.compile(r"\s*(node\.labels\.([^\s=!]+)|node\.hostname)\s*(==|!=)\s*(\S.*?)\s*")


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


class Cargo(NamedTuple):
    """A container that is, or may be, somewhere."""

    id: int
    name: str
    size: Size
    group: str | None = None
    """At most `most` of a group on one host, unless more are there already."""
    most: int = 1
    constraints: tuple[Constraint, ...] = ()
    is_pinned: bool = False
    """It is not moved."""
    flags: tuple[str, ...] = ()
    """What stands in for what it does not declare, as the density report flags it."""
    rules: Rules | None = None


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
    topology: Topology | None = None
    """One for all hosts of a fleet: rules speak of what is on others."""

    def __post_init__(self) -> None:
        self.room = self.capacity
        self.load(list(self.cargo.values()))

    def load(self, cargo: Collection[Cargo]) -> None:
        """Puts all of them."""
        self.cargo |= {one.id: one for one in cargo}
        sums = map(sum, zip(*(one.size for one in cargo), strict=True))
        if cargo:
            self.room = tuple(left - part for left, part in zip(self.room, sums, strict=True))
        self.groups.update(one.group for one in cargo if one.group is not None)
        if self.topology is not None:
            for one in cargo:
                if one.rules is not None:
                    self.topology.change(one.rules, self, 1)

    def put(self, one: Cargo) -> None:
        self.cargo[one.id] = one
        self.room = tuple(left - part for left, part in zip(self.room, one.size, strict=True))
        if one.group is not None:
            self.groups[one.group] += 1
        if one.rules is not None and self.topology is not None:
            self.topology.change(one.rules, self, 1)

    def take(self, one: Cargo) -> None:
        del self.cargo[one.id]
        self.room = tuple(left + part for left, part in zip(self.room, one.size, strict=True))
        if one.group is not None:
            self.groups[one.group] -= 1
        if one.rules is not None and self.topology is not None:
            self.topology.change(one.rules, self, -1)

    def admits(self, one: Cargo, source: "Berth | None" = None) -> bool:
        """Whether it may go here, room apart: from the host that it still counts on, or anew."""
        if not self.is_open or (one.group is not None and self.groups[one.group] >= one.most):
            return False
        if one.constraints and not all(each.admits(self) for each in one.constraints):
            return False
        if one.rules is None or self.topology is None:
            return True
        return self.topology.obstacle(one.rules, self, source) is None

    def takes(self, one: Cargo, source: "Berth | None" = None) -> bool:
        return fits(one.size, self.room) and self.admits(one, source)

    def copy(self, topology: Topology | None = None) -> "Berth":
        """`topology` is the copy's: one that counts what is here already."""
        copied = Berth(
            self.id, self.name, self.labels, self.capacity, self.is_open, self.why_closed
        )
        copied.cargo, copied.room = dict(self.cargo), self.room
        copied.groups = Counter(self.groups)
        copied.topology = topology
        return copied


def copied_topology(berths: Sequence[Berth]) -> Topology | None:
    """For copies of these hosts."""
    topology = berths[0].topology if berths else None
    return None if topology is None else topology.copy()

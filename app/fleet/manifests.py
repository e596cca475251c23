"""What is on a host: its containers as they were observed, and as they count. Pure.

    Containers    as observed, in columns; each a Container when it is asked for
    Manifest      as they count: Shares of cpu and memory, and flags; each a Stowed likewise

In columns, for a large fleet: fifteen thousand containers as objects take many times as long to
make, and would make every round of the garbage collector a long one.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import compress, product, repeat
from typing import Any, NamedTuple, Self

from app.fleet.policy import DEFAULT, NOBODY, Own
from app.fleet.shares import BASES, Measure, Share, Shares, count_all


class Resource(StrEnum):
    CPU = "cpu"
    MEMORY = "memory"


class Flag(StrEnum):
    """Why a container is listed; `unlimited` and `unreserved` are said per resource."""

    STALE = "stale"
    UNMEASURED = "unmeasured"
    UNLIMITED = "unlimited"
    UNRESERVED = "unreserved"


MARKS = (
    str(Flag.STALE),
    str(Flag.UNMEASURED),
    *(f"{flag}:{one}" for one in Resource for flag in (Flag.UNLIMITED, Flag.UNRESERVED)),
)
IS_STALE, IS_UNMEASURED = 1, 2
FLAGS = tuple(tuple(compress(MARKS, reversed(bits))) for bits in product((0, 1), repeat=len(MARKS)))
"""Every combination of flags; a place in it has a bit for each of MARKS, the first the lowest."""
_CPU, _MEMORY = (
    tuple(
        first * ((limit != "declared") + 2 * (reservation != "declared"))
        for reservation, limit, _, _ in BASES
    )
    for first in (4, 16)
)
"""Bits of the flags, by the place in BASES."""


class Container(NamedTuple):
    id: int
    name: str
    state: str
    heard_at: datetime | None
    """When it was last listed by its host or sampled, whichever is later."""
    samples: int
    """How many samples of it the window holds."""
    cpu: Measure
    memory: Measure


Column = Sequence[Any]
Floors = Iterable[float]


class Containers(Collection[Container]):
    """Containers in columns: those of Container, of `cpu` and `memory` one for each of Measure's.

    What is added about them beside these is in `others`, column by column; the first of those is
    the workload's id.
    """

    __slots__ = (
        "columns",
        "cpu",
        "heard_at",
        "ids",
        "memory",
        "names",
        "others",
        "samples",
        "states",
    )

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        self.ids, self.names, self.states, self.heard_at, self.samples = columns[:5]
        self.cpu, self.memory, self.others = columns[5:9], columns[9:13], columns[13:]

    @classmethod
    def of(cls, containers: Collection[Container]) -> "Containers":
        if isinstance(containers, Containers):
            return containers
        return cls.of_rows([(*one[:5], *one.cpu, *one.memory) for one in containers])

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[Any]]) -> "Containers":
        return cls(list(zip(*rows, strict=True)) or [()] * 13)

    @property
    def workload_ids(self) -> set[int]:
        """Of those whose workloads are known."""
        return {pk for column in self.others[:1] for pk in column if pk is not None}

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, container: object) -> bool:
        return any(one == container for one in self)

    def __iter__(self) -> Iterator[Container]:
        of_cpu, of_memory = (map(Measure, *one) for one in (self.cpu, self.memory))
        about = (self.ids, self.names, self.states, self.heard_at, self.samples)
        return map(Container, *about, of_cpu, of_memory)


class Stowed(NamedTuple):
    """A container as it counts on its host."""

    container: Container
    cpu: Share
    memory: Share
    flags: tuple[str, ...]
    """`stale`, `unmeasured`; `unlimited`, `unreserved` with the resource: `unlimited:cpu`."""

    @property
    def is_stale(self) -> bool:
        return Flag.STALE in self.flags

    def share(self, resource: Resource) -> Share:
        return self.cpu if resource is Resource.CPU else self.memory


def _constants(
    held: Containers, at: datetime, own: Own
) -> tuple[Floors, Floors, Iterable[datetime]]:
    """For each container: the floors of cpu and memory, and since when silence makes it stale."""
    if not own or not held.others:
        oldest = at - timedelta(seconds=DEFAULT.stale_after_seconds)
        values = (DEFAULT.cpu_floor_cores, DEFAULT.memory_floor_bytes)
        cpu, memory = (repeat(value, len(held)) for value in values)
        return cpu, memory, repeat(oldest, len(held))
    policies = [own[pk].policy if pk in own else DEFAULT for pk in held.others[0]]
    return (
        [one.cpu_floor_cores for one in policies],
        [one.memory_floor_bytes for one in policies],
        [at - timedelta(seconds=one.stale_after_seconds) for one in policies],
    )


class Manifest(NamedTuple):
    """A host's containers as they count, in columns."""

    containers: Containers
    cpu: Shares
    memory: Shares
    flags: bytes
    """Places in FLAGS."""

    @classmethod
    def of(cls, containers: Collection[Container], *, at: datetime, own: Own = NOBODY) -> Self:
        """As they count at a moment, by their workloads' own constants where they have some."""
        held = Containers.of(containers)
        cpu_floors, memory_floors, oldest = _constants(held, at, own)
        cpu = count_all(*held.cpu, floors=cpu_floors)
        memory = count_all(*held.memory, floors=memory_floors)
        columns = zip(held.heard_at, oldest, held.samples, cpu.bases, memory.bases, strict=True)
        flags = bytes(
            (IS_STALE if heard_at is None or heard_at < since else 0)
            + (0 if samples else IS_UNMEASURED)
            + _CPU[of_cpu]
            + _MEMORY[of_memory]
            for heard_at, since, samples, of_cpu, of_memory in columns
        )
        return cls(held, cpu, memory, flags)

    def shares(self, resource: Resource) -> Shares:
        return self.cpu if resource is Resource.CPU else self.memory

    def stowed(self) -> Iterator[Stowed]:
        """Each container, made anew each time."""
        columns = (self.containers, self.cpu.each(), self.memory.each(), self.flags)
        for container, cpu, memory, flags in zip(*columns, strict=True):
            yield Stowed(container, cpu, memory, FLAGS[flags])

    def flagged(self) -> list[dict[str, Any]]:
        """Those with flags, as answers tell them."""
        return [
            {"id": pk, "name": name, "state": state, "flags": list(FLAGS[flags])}
            for pk, name, state, flags in self._abouts()
            if flags
        ]

    def as_dicts(self) -> list[dict[str, Any]]:
        """All of them, with what each resource counts with, and why."""
        held = self.containers
        columns = (self._abouts(), held.samples, held.heard_at, self.cpu.each(), self.memory.each())
        return [
            {
                "id": pk,
                "name": name,
                "state": state,
                "flags": list(FLAGS[flags]),
                "samples": samples,
                "heard_at": heard_at.isoformat() if heard_at else None,
                "cpu": cpu.as_dict(),
                "memory": memory.as_dict(),
            }
            for (pk, name, state, flags), samples, heard_at, cpu, memory in zip(
                *columns, strict=True
            )
        ]

    def _abouts(self) -> Iterable[tuple[int, str, str, int]]:
        held = self.containers
        return zip(held.ids, held.names, held.states, self.flags, strict=True)

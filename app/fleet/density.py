"""How densely hosts are packed: pure computation on what was observed. No I/O in here.

    Host, Container      what was observed (built by `density_queries`)
      └─ count()     ->  Share          what a container counts with, for one resource, and why
          └─ sums    ->  Density        one resource of a host or of the fleet
              └─     ->  HostDensity, Report

The P95 of a host is the sum of its containers' P95: as if all peaked at once, which is cautious.
A stale host counts with what was last known of it. docs/density.md works an example through.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from math import fsum
from typing import Any, NamedTuple, Self

from app.fleet.headroom import Free, Headroom, Shape, measure
from app.fleet.policy import DEFAULT, Policy
from app.fleet.shares import Measure, Share, count

STATES_COUNTED = ("running", "paused", "restarting")
"""The states of a container that hold resources or will again without anybody's doing."""


class Resource(StrEnum):
    CPU = "cpu"
    MEMORY = "memory"


class Flag(StrEnum):
    """Why a container is listed; `unlimited` and `unreserved` are said per resource."""

    UNLIMITED = "unlimited"
    UNRESERVED = "unreserved"
    UNMEASURED = "unmeasured"
    STALE = "stale"


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


@dataclass(frozen=True, slots=True)
class Host:
    id: int
    name: str
    labels: Mapping[str, str]
    last_seen_at: datetime | None
    cpus: float
    memory_bytes: int
    reserved_cpus: float
    reserved_memory_bytes: int
    containers: Collection[Container]
    """May be made anew each time it is iterated; so a large fleet need not be held in memory."""


@dataclass(frozen=True, slots=True)
class Density:
    """One resource of a host or of the fleet: the sums, and design.md's ratios of them.

    A ratio that would divide by zero is None, and `reasons` says why.
    """

    resource: Resource
    capacity: float
    system: float
    """Reserved by the system: not allocatable."""
    reservations: float
    limits: float
    use: float
    use_p95: float
    basis: Mapping[str, Mapping[str, int]]
    """How many containers count with what: {"reservations": {"declared": 3, "p95": 1}, ...}."""

    @property
    def allocatable(self) -> float:
        return self.capacity - self.system

    @property
    def free(self) -> float:
        """Allocatable and not reserved; below 0 when more is reserved than there is."""
        return self.allocatable - self.reservations

    @property
    def packing(self) -> float | None:
        return self._over_allocatable(self.reservations)

    @property
    def usage(self) -> float | None:
        return self._over_allocatable(self.use)

    @property
    def overcommit(self) -> float | None:
        return self._over_allocatable(self.limits)

    @property
    def slack(self) -> float | None:
        """Reserved and not needed; below 0 when containers need more than they reserved."""
        return 1 - self.use_p95 / self.reservations if self.reservations > 0 else None

    @property
    def reasons(self) -> dict[str, str]:
        """Why a ratio is None, by its name; empty when none is."""
        reasons: dict[str, str] = {}
        if self.allocatable <= 0:
            why = (
                f"no {self.resource} is allocatable: capacity {self.capacity:g}, "
                f"reserved by the system {self.system:g}"
            )
            reasons |= dict.fromkeys(("packing", "usage", "overcommit"), why)
        if self.reservations <= 0:
            reasons["slack"] = "no container is counted, so nothing is reserved"
        return reasons

    def _over_allocatable(self, amount: float) -> float | None:
        return amount / self.allocatable if self.allocatable > 0 else None

    def as_dict(self) -> dict[str, Any]:
        digits = 0 if self.resource is Resource.MEMORY else 6
        sums = (
            "capacity",
            "system",
            "allocatable",
            "reservations",
            "limits",
            "use",
            "use_p95",
            "free",
        )
        ratios = ("packing", "usage", "overcommit", "slack")
        return {
            "unit": "bytes" if self.resource is Resource.MEMORY else "cores",
            **{name: round(getattr(self, name), digits or None) for name in sums},
            **{name: _rounded(getattr(self, name)) for name in ratios},
            "reasons": self.reasons,
            "basis": {name: dict(sorted(counts.items())) for name, counts in self.basis.items()},
        }


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 4)


def _density(
    resource: Resource, *, capacity: float, system: float, shares: Iterable[Share]
) -> Density:
    shares = list(shares)
    return Density(
        resource=resource,
        capacity=capacity,
        system=system,
        reservations=fsum(share.reservation for share in shares),
        limits=fsum(share.limit for share in shares),
        use=fsum(share.use for share in shares),
        use_p95=fsum(share.p95 for share in shares),
        basis={
            "reservations": Counter(share.reservation_basis for share in shares),
            "limits": Counter(share.limit_basis for share in shares),
            "use": Counter(share.use_basis for share in shares),
            "use_p95": Counter(share.p95_basis for share in shares),
        },
    )


def _sum(resource: Resource, parts: Iterable[Density]) -> Density:
    """The fleet's density: sums of the hosts' sums, never an average of their ratios."""
    parts = list(parts)
    basis: dict[str, Counter[str]] = {
        name: Counter() for name in ("reservations", "limits", "use", "use_p95")
    }
    for part in parts:
        for name, counts in part.basis.items():
            basis[name].update(counts)
    return Density(
        resource=resource,
        capacity=fsum(part.capacity for part in parts),
        system=fsum(part.system for part in parts),
        reservations=fsum(part.reservations for part in parts),
        limits=fsum(part.limits for part in parts),
        use=fsum(part.use for part in parts),
        use_p95=fsum(part.use_p95 for part in parts),
        basis=basis,
    )


class Stowed(NamedTuple):
    """A container as it counts on its host."""

    container: Container
    cpu: Share
    memory: Share
    is_stale: bool

    def share(self, resource: Resource) -> Share:
        return self.cpu if resource is Resource.CPU else self.memory

    @property
    def flags(self) -> list[str]:
        """`stale`, `unmeasured`; `unlimited`, `unreserved` with the resource: `unlimited:cpu`."""
        flags = []
        if self.is_stale:
            flags.append(str(Flag.STALE))
        if not self.container.samples:
            flags.append(str(Flag.UNMEASURED))
        for resource, share in (("cpu", self.cpu), ("memory", self.memory)):
            if not share.is_limited:
                flags.append(f"{Flag.UNLIMITED}:{resource}")
            if not share.is_reserved:
                flags.append(f"{Flag.UNRESERVED}:{resource}")
        return flags

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.container.id,
            "name": self.container.name,
            "state": self.container.state,
            "flags": self.flags,
        }

    def as_full_dict(self) -> dict[str, Any]:
        """With what each resource counts with, and why."""
        heard_at = self.container.heard_at
        return {
            **self.as_dict(),
            "samples": self.container.samples,
            "heard_at": heard_at.isoformat() if heard_at else None,
            "cpu": self.cpu.as_dict(),
            "memory": self.memory.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class HostDensity:
    host: Host
    densities: Mapping[Resource, Density]
    heard_at: datetime | None
    oldest: datetime
    """What was last heard of before this moment is stale."""
    policy: Policy

    @property
    def is_stale(self) -> bool:
        return self.heard_at is None or self.heard_at < self.oldest

    @property
    def containers_counted(self) -> int:
        return len(self.host.containers)

    @property
    def free(self) -> Free:
        """What it can still give, less the policy's buffer."""
        kept = self.policy.placement_buffer
        cpu, memory = (
            max(0.0, one.free - kept * one.allocatable)
            for one in (self.densities[Resource.CPU], self.densities[Resource.MEMORY])
        )
        return Free(cpu, memory)

    def stowed(self) -> Iterator[Stowed]:
        """The containers as they count, made anew each time, as `Host.containers` may be."""
        return _stow(self.host, oldest=self.oldest, policy=self.policy)

    def as_dict(
        self, *, shape: Shape | None = None, with_containers: bool = False
    ) -> dict[str, Any]:
        """`shape` is what headroom is told for; the policy's, if None."""
        stowed = list(self.stowed())
        answer = {
            "id": self.host.id,
            "name": self.host.name,
            "labels": dict(self.host.labels),
            "heard_at": self.heard_at.isoformat() if self.heard_at else None,
            "is_stale": self.is_stale,
            "containers_counted": len(stowed),
            "headroom": self.free.count(shape or Shape.reference(self.policy)),
            **{str(resource): density.as_dict() for resource, density in self.densities.items()},
            "flagged": [one.as_dict() for one in stowed if one.flags],
        }
        if with_containers:
            answer["containers"] = [one.as_full_dict() for one in stowed]
        return answer


def assess_host(host: Host, *, at: datetime, policy: Policy = DEFAULT) -> HostDensity:
    """One host's density at a moment. A stale host counts with what was last known of it."""
    oldest = at - timedelta(seconds=policy.stale_after_seconds)
    stowed = list(_stow(host, oldest=oldest, policy=policy))
    heard = [host.last_seen_at, *(one.container.heard_at for one in stowed)]
    return HostDensity(
        host=host,
        densities={
            Resource.CPU: _density(
                Resource.CPU,
                capacity=host.cpus,
                system=host.reserved_cpus,
                shares=[one.cpu for one in stowed],
            ),
            Resource.MEMORY: _density(
                Resource.MEMORY,
                capacity=host.memory_bytes,
                system=host.reserved_memory_bytes,
                shares=[one.memory for one in stowed],
            ),
        },
        heard_at=max((moment for moment in heard if moment is not None), default=None),
        oldest=oldest,
        policy=policy,
    )


def _stow(host: Host, *, oldest: datetime, policy: Policy) -> Iterator[Stowed]:
    for container in host.containers:
        yield Stowed(
            container=container,
            cpu=count(container.cpu, floor=policy.cpu_floor_cores),
            memory=count(container.memory, floor=policy.memory_floor_bytes),
            is_stale=container.heard_at is None or container.heard_at < oldest,
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts that have one value of a label, None: that lack it; and their sums."""

    value: str | None
    hosts: tuple[HostDensity, ...]

    @property
    def densities(self) -> dict[Resource, Density]:
        return {
            resource: _sum(resource, (host.densities[resource] for host in self.hosts))
            for resource in Resource
        }

    def headroom(self, shape: Shape) -> Headroom:
        return measure((host.free for host in self.hosts), shape)

    def as_dict(self, shape: Shape) -> dict[str, Any]:
        return {
            "value": self.value,
            "hosts": [one.host.name for one in self.hosts],
            "stale_hosts": [one.host.name for one in self.hosts if one.is_stale],
            "containers_counted": sum(one.containers_counted for one in self.hosts),
            **{str(resource): one.as_dict() for resource, one in self.densities.items()},
            "fragmentation": self.headroom(shape).as_dict(),
        }


def group_by_label(hosts: Iterable[HostDensity], key: str) -> list[Group]:
    """The hosts by the value of a label, in the order of the values; those without it come last."""
    groups: dict[str | None, list[HostDensity]] = {}
    for one in hosts:
        groups.setdefault(one.host.labels.get(key), []).append(one)
    values = sorted(groups, key=lambda value: (value is None, value or ""))
    return [Group(value, tuple(groups[value])) for value in values]


@dataclass(frozen=True, slots=True)
class Report:
    """The fleet's density at a moment: its hosts, by name, and their sums."""

    at: datetime
    window_hours: float
    policy: Policy
    hosts: tuple[HostDensity, ...]
    measured_at: datetime | None = None
    """Up to when samples count for percentiles, where that is before `at`."""
    densities: Mapping[Resource, Density] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "densities", Group(None, self.hosts).densities)

    @property
    def reason(self) -> str | None:
        """Why there is nothing to report; None when there is."""
        if self.hosts:
            return None
        return (
            "no host matches, or none has reported yet: start the agent with `python -m app.agent`"
        )

    def parts(
        self,
        *,
        with_containers: bool = False,
        group_by: str | None = None,
        shape: Shape | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The answer in parts: first the fleet's, then one a host.

        An iterator, because fifteen thousand containers take longer than one turn of the loop.
        """
        shape = shape or Shape.reference(self.policy)
        end = self.measured_at or self.at
        answer: dict[str, Any] = {
            "at": self.at.isoformat(),
            "window": {
                "hours": self.window_hours,
                "start": (end - timedelta(hours=self.window_hours)).isoformat(),
                "end": end.isoformat(),
            },
            "policy": self.policy.as_dict(),
            "fleet": {
                "hosts": len(self.hosts),
                "stale_hosts": [one.host.name for one in self.hosts if one.is_stale],
                "containers_counted": sum(one.containers_counted for one in self.hosts),
                "reason": self.reason,
                **{str(resource): one.as_dict() for resource, one in self.densities.items()},
                "fragmentation": Group(None, self.hosts).headroom(shape).as_dict(),
            },
        }
        if group_by is not None:
            groups = group_by_label(self.hosts, group_by)
            answer["group_by"] = f"label:{group_by}"
            answer["groups"] = [group.as_dict(shape) for group in groups]
        yield answer
        for host in self.hosts:
            yield host.as_dict(shape=shape, with_containers=with_containers)

    @classmethod
    def of(
        cls, hosts: Iterable[Host], *, at: datetime, window_hours: float, policy: Policy = DEFAULT
    ) -> Self:
        """The report on hosts, in one go; `assess_host` and the constructor take it in steps."""
        assessed = (assess_host(host, at=at, policy=policy) for host in hosts)
        return cls(at=at, window_hours=window_hours, policy=policy, hosts=tuple(assessed))

"""How densely hosts are packed: pure computation on what was observed. No I/O in here.

    Host, Containers     what was observed (built by `density_queries`)
      └─ count_all() ->  Manifest       what containers count with, and why
          └─ sums    ->  Density        one resource of a host or of the fleet
              └─     ->  HostDensity, Report

The P95 of a host is the sum of its containers' P95: as if all peaked at once, which is cautious.
A stale host counts with what was last known of it. docs/density.md works an example through.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import fsum
from typing import Any, Self

from app.fleet.bounds import BOUNDS
from app.fleet.headroom import Free, Headroom, Shape, measure
from app.fleet.manifests import Container, Manifest, Resource, Stowed
from app.fleet.policy import COUNTED, DEFAULT, NOBODY, Own, Policy, tell_overrides
from app.fleet.shares import BASIS_NAMES, Shares

__all__ = ["Container", "Density", "Group", "Host", "HostDensity", "Report", "Resource", "Stowed"]

STATES_COUNTED = ("running", "paused", "restarting")
"""The states of a container that hold resources or will again without anybody's doing."""


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


def _density(resource: Resource, *, capacity: float, system: float, shares: Shares) -> Density:
    return Density(
        resource=resource,
        capacity=capacity,
        system=system,
        reservations=fsum(shares.reservations),
        limits=fsum(shares.limits),
        use=fsum(shares.uses),
        use_p95=fsum(shares.p95s),
        basis=shares.count_bases(),
    )


def _sum(resource: Resource, parts: Iterable[Density]) -> Density:
    """The fleet's density: sums of the hosts' sums, never an average of their ratios."""
    parts = list(parts)
    basis: dict[str, Counter[str]] = {name: Counter() for name in BASIS_NAMES}
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


@dataclass(frozen=True, slots=True)
class HostDensity:
    host: Host
    densities: Mapping[Resource, Density]
    manifest: Manifest
    heard_at: datetime | None
    oldest: datetime
    """What was last heard of before this moment is stale."""
    policy: Policy

    @property
    def is_stale(self) -> bool:
        return self.heard_at is None or self.heard_at < self.oldest

    @property
    def containers_counted(self) -> int:
        return len(self.manifest.flags)

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
        """The containers as they count, made anew each time."""
        return self.manifest.stowed()

    def as_dict(self, *, with_containers: bool = False) -> dict[str, Any]:
        answer = {
            "id": self.host.id,
            "name": self.host.name,
            "labels": dict(self.host.labels),
            "heard_at": self.heard_at.isoformat() if self.heard_at else None,
            "is_stale": self.is_stale,
            "containers_counted": self.containers_counted,
            "headroom": self.free.count(Shape.reference(self.policy)),
            **{str(resource): density.as_dict() for resource, density in self.densities.items()},
            "flagged": self.manifest.flagged(),
        }
        if with_containers:
            answer["containers"] = self.manifest.as_dicts()
        return answer


def assess_host(
    host: Host, *, at: datetime, policy: Policy = DEFAULT, own: Own = NOBODY
) -> HostDensity:
    """One host's density at a moment. A stale host counts with what was last known of it.

    `policy` is the question's, and says what of the host is told; containers count by the defaults,
    or by what their workloads have of their `own`.
    """
    oldest = at - timedelta(seconds=policy.stale_after_seconds)
    manifest = Manifest.of(host.containers, at=at, own=own)
    heard = [host.last_seen_at, *manifest.containers.heard_at]
    return HostDensity(
        host=host,
        densities={
            Resource.CPU: _density(
                Resource.CPU,
                capacity=host.cpus,
                system=host.reserved_cpus,
                shares=manifest.cpu,
            ),
            Resource.MEMORY: _density(
                Resource.MEMORY,
                capacity=host.memory_bytes,
                system=host.reserved_memory_bytes,
                shares=manifest.memory,
            ),
        },
        manifest=manifest,
        heard_at=max((moment for moment in heard if moment is not None), default=None),
        oldest=oldest,
        policy=policy,
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
    sources: Mapping[str, str] = field(default_factory=dict)
    """Whose those constants of the policy are that aren't the defaults."""
    own: Own = field(default_factory=dict)
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

    @property
    def overrides(self) -> list[dict[str, Any]]:
        """The constants of their own that containers count with, by workload."""
        if not self.own:
            return []
        names = COUNTED - {"window_hours"} if "window_hours" in self.sources else COUNTED
        held: set[int] = set().union(*(one.manifest.containers.workload_ids for one in self.hosts))
        return tell_overrides(self.own, held, names)

    def parts(
        self,
        *,
        with_containers: bool = False,
        group_by: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The answer in parts: first the fleet's, then one a host.

        An iterator, because fifteen thousand containers take longer than one turn of the loop.
        """
        shape = Shape.reference(self.policy)
        end = self.measured_at or self.at
        answer: dict[str, Any] = {
            "at": self.at.isoformat(),
            "window": {
                "hours": self.window_hours,
                "start": (end - timedelta(hours=self.window_hours)).isoformat(),
                "end": end.isoformat(),
            },
            "policy": self.policy.as_dict(),
            "policy_sources": dict(self.sources),
            "overrides": self.overrides,
            "bounds": BOUNDS.as_dict(),
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
            yield host.as_dict(with_containers=with_containers)

    @classmethod
    def of(
        cls,
        hosts: Iterable[Host],
        *,
        at: datetime,
        window_hours: float,
        policy: Policy = DEFAULT,
        own: Own = NOBODY,
    ) -> Self:
        """The report on hosts, in one go; `assess_host` and the constructor take it in steps."""
        assessed = tuple(assess_host(host, at=at, policy=policy, own=own) for host in hosts)
        return cls(at=at, window_hours=window_hours, policy=policy, hosts=assessed, own=own)

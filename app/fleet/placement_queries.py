"""What placement starts from: hosts with their room, containers with what they demand.

Sizes are those that the density report counts with (what is reserved, or what stands in for it), or
what right-sizing recommends. A container may say on its labels what Docker has no field for:

    stowage.pin=true                             it is not moved
    stowage.constraints=node.labels.zone==a,...  where it may go

and a host, by `stowage.cordon=true`, that it takes nothing and is left alone.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app import db
from app.fleet.density import Host, HostDensity, Resource, Stowed, assess_host
from app.fleet.density_queries import build_host, fetch_hosts
from app.fleet.packing import Size
from app.fleet.placements import MICRO, Berth, Cargo, Constraint, parse_constraint
from app.fleet.policy import DEFAULT
from app.fleet.sizes import fetch_sizes
from app.fleet.turns import in_turns

FALSE = {"", "0", "false", "no", "off"}
LABELS = """
    SELECT c.id, c.workload_id, c.labels ->> 'stowage.pin' AS pin,
        c.labels ->> 'stowage.constraints' AS constraints
    FROM unnest($1::bigint[]) AS chosen (id) JOIN fleet_container c USING (id)
"""


@dataclass(frozen=True, slots=True)
class Harbour:
    """All that a simulation or a plan looks at."""

    at: datetime
    hosts: list[Host]
    densities: list[HostDensity]
    berths: list[Berth]


@dataclass(frozen=True, slots=True)
class Choice:
    """How a request wants hosts and containers counted."""

    labels: Mapping[str, str]
    """Hosts that carry all of these."""
    buffer: float
    """The share of the allocatable that is left free."""
    is_recommended: bool
    """Containers count with what right-sizing recommends, not with what they reserve."""
    keeps_apart: bool = True
    """No two containers of a workload come together on a host."""
    pins_unmanaged: bool = False
    """Containers of no workload are not moved."""


async def fetch_harbour(choice: Choice, *, at: datetime) -> Harbour:
    rows = await fetch_hosts(
        at=at, window_hours=DEFAULT.window_hours, labels=choice.labels, policy=DEFAULT
    )
    densities = [assess_host(build_host(row), at=at) async for row in in_turns(rows)]
    stowed = [list(one.stowed()) async for one in in_turns(densities)]
    ids = [one.container.id for several in stowed for one in several]
    labels = {row["id"]: row for row in await db.fetch(LABELS, ids)}
    sizes: Mapping[int, Any] = {}
    if choice.is_recommended:
        sizes = await fetch_sizes(container_ids=ids, at=at)
    berths = [
        _berth(density, several, labels, sizes, choice)
        async for density, several in in_turns(zip(densities, stowed, strict=True))
    ]
    return Harbour(at, [one.host for one in densities], densities, berths)


def _berth(
    density: HostDensity,
    stowed: Sequence[Stowed],
    labels: Mapping[int, Any],
    sizes: Mapping[int, Any],
    choice: Choice,
) -> Berth:
    host = density.host
    amounts = (density.densities[one].allocatable for one in (Resource.CPU, Resource.MEMORY))
    cpus, memory_bytes = (max(0.0, amount) * (1 - choice.buffer) for amount in amounts)
    why_closed = ""
    if density.is_stale:
        why_closed = "stale: nothing was heard of it lately"
    elif host.labels.get("stowage.cordon", "").lower() not in FALSE:
        why_closed = "cordoned by its label stowage.cordon"
    berth = Berth(
        id=host.id,
        name=host.name,
        labels=host.labels,
        capacity=(math.floor(cpus * MICRO), math.floor(memory_bytes)),
        is_open=not why_closed,
        why_closed=why_closed,
    )
    for one in stowed:
        berth.put(_cargo(one, labels.get(one.container.id), sizes, choice))
    return berth


def _cargo(one: Stowed, row: Any, sizes: Mapping[int, Any], choice: Choice) -> Cargo:
    pk = one.container.id
    size = sizes.get(pk)
    cpus = one.cpu.reservation if size is None else size.cpus
    memory_bytes = one.memory.reservation if size is None else size.memory_bytes
    workload = row["workload_id"] if row else None
    constraints, is_readable = _constraints(row["constraints"] if row else None)
    flags = [flag for flag in one.flags if size is None or not flag.startswith("unreserved")]
    is_pinned = (
        not is_readable  # what can't be read is obeyed by leaving it where it is
        or bool(row and (row["pin"] or "").lower() not in FALSE)
        or (choice.pins_unmanaged and workload is None)
    )
    return Cargo(
        id=pk,
        name=one.container.name,
        size=as_size(cpus, memory_bytes),
        group=group_of(workload) if workload is not None and choice.keeps_apart else None,
        constraints=constraints,
        is_pinned=is_pinned,
        flags=tuple(flags if is_readable else [*flags, "unreadable:constraints"]),
    )


def _constraints(text: str | None) -> tuple[tuple[Constraint, ...], bool]:
    """What the label says, and whether it can be read."""
    try:
        return tuple(
            parse_constraint(part) for part in (text or "").split(",") if part.strip()
        ), True
    except ValueError:
        return (), False


def as_size(cpus: float, memory_bytes: float) -> Size:
    """Whole millionths of a core and bytes, rounded up: never less than what is needed."""
    return math.ceil(cpus * MICRO - 1e-6), math.ceil(memory_bytes)


def group_of(workload_id: int) -> str:
    return f"workload {workload_id}"


async def fetch_workload(workload_id: int) -> Any:
    """Its id, name and reservations; None when there is none."""
    rows = await db.fetch(
        "SELECT id, name, cpu_reservation, memory_reservation_bytes FROM fleet_workload"
        " WHERE id = $1",
        workload_id,
    )
    return rows[0] if rows else None


async def fetch_known_workloads(ids: Collection[int]) -> set[int]:
    rows = await db.fetch("SELECT id FROM fleet_workload WHERE id = ANY($1::bigint[])", list(ids))
    return {row["id"] for row in rows}


def moved(harbour: Harbour, where: Mapping[int, int]) -> list[Host]:
    """The hosts with their containers as they will be: `where` is the host of each, by id."""
    by_host: dict[int, list[Any]] = {host.id: [] for host in harbour.hosts}
    for host in harbour.hosts:
        for container in host.containers:
            by_host[where.get(container.id, host.id)].append(container)
    return [
        Host(
            id=host.id,
            name=host.name,
            labels=host.labels,
            last_seen_at=host.last_seen_at,
            cpus=host.cpus,
            memory_bytes=host.memory_bytes,
            reserved_cpus=host.reserved_cpus,
            reserved_memory_bytes=host.reserved_memory_bytes,
            containers=by_host[host.id],
        )
        for host in harbour.hosts
    ]

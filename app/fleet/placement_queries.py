"""What placement starts from: hosts with their room, containers with what they demand.

Sizes are those that the density report counts with (what is reserved, or what stands in for it), or
what right-sizing recommends. A container may say on its labels what Docker has no field for:

    stowage.pin=true                             it is not moved
    stowage.constraints=node.labels.zone==a,...  where it may go

and a host, by `stowage.cordon=true`, that it takes nothing and is left alone.

What a workload's `placement` says holds for its containers. Rules speak of domains, which may go
beyond the hosts that were asked for: what stands on the others counts.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from app import db
from app.fleet.density import STATES_COUNTED, Host, HostDensity, Resource, assess_host
from app.fleet.density_queries import build_host, fetch_hosts
from app.fleet.manifests import FLAGS, MARKS, Containers, Manifest
from app.fleet.packing import Size
from app.fleet.placement_rules import Rulebook, Spec
from app.fleet.placements import MICRO, Berth, Cargo, Constraint, parse_constraint
from app.fleet.policies import Policies, fetch_own
from app.fleet.policy import COUNTED, DEFAULT, SIZED, Own, Policy, tell_overrides
from app.fleet.sizes import fetch_sizes
from app.fleet.topologies import Topology
from app.fleet.turns import in_turns, last_of

FALSE = {"", "0", "false", "no", "off"}
UNRESERVED = sum(1 << place for place, mark in enumerate(MARKS) if mark.startswith("unreserved"))
# Labels matter only where some rule could select by them.
SPECS = """
    SELECT id, name, labels::text AS labels, placement::text AS placement FROM fleet_workload
    WHERE (placement <> '{}' OR labels <> '{}')
        AND ($1::bool OR EXISTS (SELECT FROM fleet_workload WHERE placement <> '{}'))
"""
ELSEWHERE = """
    SELECT h.name, h.labels::text AS labels, c.workload_id, count(*) AS containers
    FROM fleet_host h JOIN fleet_container c ON c.host_id = h.id
    WHERE NOT h.labels @> $1::jsonb AND c.state = ANY($2::text[])
        AND c.workload_id = ANY($3::bigint[])
    GROUP BY h.id, c.workload_id
"""
NAMELESS = 0
"""The id under which rules stand of what has none."""


@dataclass(frozen=True, slots=True)
class Harbour:
    """All that a simulation or a plan looks at."""

    at: datetime
    hosts: list[Host]
    densities: list[HostDensity]
    berths: list[Berth]
    book: Rulebook
    policy: Policy
    policies: Policies
    own: Own


@dataclass(frozen=True, slots=True)
class Choice:
    """How a request wants hosts and containers counted."""

    labels: Mapping[str, str]
    """Hosts that carry all of these."""
    is_recommended: bool
    """Containers count with what right-sizing recommends, not with what they reserve."""
    keeps_apart: bool = True
    """No two containers of a workload come together on a host."""
    pins_unmanaged: bool = False
    """Containers of no workload are not moved."""
    policy: Policy = DEFAULT
    """The constants of whom it is asked for."""


class Asked(NamedTuple):
    """What a simulation places: the workload as it would be."""

    workload_id: int
    spec: Spec


class Elsewhere(NamedTuple):
    """A host that was not asked for."""

    name: str
    labels: Mapping[str, str]


async def fetch_harbour(
    choice: Choice, *, at: datetime, policies: Policies, asked: Asked | None = None
) -> Harbour:
    policy = choice.policy
    own = await fetch_own(policies, COUNTED)
    rows = await fetch_hosts(at=at, labels=choice.labels, own=own, for_placement=True)
    densities = [
        assess_host(build_host(row), at=at, policy=policy, own=own) async for row in in_turns(rows)
    ]
    sizes: Mapping[int, Any] = {}
    if choice.is_recommended:
        ids = [pk for one in densities for pk in one.manifest.containers.ids]
        sizes = await fetch_sizes(container_ids=ids, at=at)
    book = await _fetch_rules(asked)
    berths = [_berth(density, choice) async for density in in_turns(densities)]
    topology = await _fetch_topology(book, berths, choice)
    async for berth, density in in_turns(zip(berths, densities, strict=True)):
        berth.topology = topology
        berth.load(list(_cargo(density.manifest, sizes, choice, book)))
    hosts = [one.host for one in densities]
    return Harbour(at, hosts, densities, berths, book, policy, policies, own)


async def _fetch_rules(asked: Asked | None) -> Rulebook:
    specs = {
        row["id"]: Spec(row["name"], json.loads(row["labels"]), json.loads(row["placement"]))
        async for row in in_turns(await db.fetch(SPECS, bool(asked and asked.spec.placement)))
    }
    if asked is not None:
        specs[asked.workload_id] = asked.spec
    book = Rulebook(specs)
    async for _ in in_turns(book.compile()):
        pass
    return book


async def _fetch_topology(
    book: Rulebook, berths: Sequence[Berth], choice: Choice
) -> Topology | None:
    if not book.rules:
        return None
    topology = await last_of(book.start(berths))
    if choice.labels:
        rows = await db.fetch(
            ELSEWHERE, json.dumps(dict(choice.labels)), list(STATES_COUNTED), list(book.rules)
        )
        async for row in in_turns(rows):
            place = Elsewhere(row["name"], json.loads(row["labels"]))
            for _ in range(row["containers"]):
                topology.change(book.rules[row["workload_id"]], place, 1)
    return topology


def _berth(density: HostDensity, choice: Choice) -> Berth:
    """The host, with nothing on it."""
    host = density.host
    amounts = (density.densities[one].allocatable for one in (Resource.CPU, Resource.MEMORY))
    cpus, memory_bytes = (
        max(0.0, amount) * (1 - choice.policy.placement_buffer) for amount in amounts
    )
    why_closed = ""
    if density.is_stale:
        why_closed = "stale: nothing was heard of it lately"
    elif host.labels.get("stowage.cordon", "").lower() not in FALSE:
        why_closed = "cordoned by its label stowage.cordon"
    return Berth(
        id=host.id,
        name=host.name,
        labels=host.labels,
        capacity=(math.floor(cpus * MICRO), math.floor(memory_bytes)),
        is_open=not why_closed,
        why_closed=why_closed,
    )


def _cargo(
    manifest: Manifest, sizes: Mapping[int, Any], choice: Choice, book: Rulebook
) -> Iterator[Cargo]:
    held = manifest.containers
    columns = (held.ids, held.names, *held.others, manifest.flags)
    amounts = (manifest.cpu.reservations, manifest.memory.reservations)
    for pk, name, workload, pin, wanted, flags, cpus, memory_bytes in zip(
        *columns, *amounts, strict=True
    ):
        size = sizes.get(pk)
        constraints, is_readable = _constraints(wanted) if wanted else ((), True)
        spec = book.specs.get(workload)
        most = spec.placement.get("max_per_host") if spec else None
        yield Cargo(
            id=pk,
            name=name,
            size=as_size(cpus, memory_bytes) if size is None else as_size(*size[:2]),
            group=group_of(workload) if workload and (choice.keeps_apart or most) else None,
            most=1 if choice.keeps_apart else most or 1,
            constraints=(*constraints, *book.constraints.get(workload, ())),
            is_pinned=(
                not is_readable  # what can't be read is obeyed by leaving it where it is
                or (pin is not None and pin.lower() not in FALSE)
                or (choice.pins_unmanaged and workload is None)
            ),
            flags=_flags(flags if size is None else flags & ~UNRESERVED, is_readable),
            rules=book.rules.get(workload),
        )


def _flags(flags: int, is_readable: bool) -> tuple[str, ...]:
    return FLAGS[flags] if is_readable else (*FLAGS[flags], "unreadable:constraints")


@lru_cache(maxsize=256)
def _constraints(text: str) -> tuple[tuple[Constraint, ...], bool]:
    """What the label says, and whether it can be read."""
    try:
        return tuple(parse_constraint(part) for part in text.split(",") if part.strip()), True
    except ValueError:
        return (), False


def as_size(cpus: float, memory_bytes: float) -> Size:
    """Whole millionths of a core and bytes, rounded up: never less than what is needed."""
    least = 1 if cpus > 0 else 0  # what is above 0 takes up something
    return max(least, math.ceil(cpus * MICRO - 1e-6)), math.ceil(memory_bytes)


def group_of(workload_id: int) -> str:
    return f"workload {workload_id}"


async def fetch_overrides(
    harbour: Harbour, *, is_recommended: bool, also: int = NAMELESS
) -> list[dict[str, Any]]:
    """The constants that the sizes of these containers, and of one more workload, come from where
    they aren't the defaults.
    """
    names = SIZED if is_recommended else COUNTED
    own = await fetch_own(harbour.policies, names)
    if not own:
        return []
    ids = {also}
    async for density in in_turns(harbour.densities):
        ids |= density.manifest.containers.workload_ids
    return tell_overrides(own, ids, names)


async def fetch_workload(workload_id: int) -> Any:
    """Its id, name, team, reservations, labels and placement; None when there is none."""
    rows = await db.fetch(
        "SELECT id, name, team_id, cpu_reservation, memory_reservation_bytes,"
        " labels::text AS labels, placement::text AS placement FROM fleet_workload WHERE id = $1",
        workload_id,
    )
    return rows[0] if rows else None


async def fetch_known_workloads(ids: Collection[int]) -> set[int]:
    rows = await db.fetch("SELECT id FROM fleet_workload WHERE id = ANY($1::bigint[])", list(ids))
    return {row["id"] for row in rows}


def moved(harbour: Harbour, where: Mapping[int, int]) -> Iterator[Host]:
    """The hosts with their containers as they will be: `where` is the host of each, by id."""
    by_host: dict[int, list[Sequence[Any]]] = {host.id: [] for host in harbour.hosts}
    for density in harbour.densities:
        held = density.manifest.containers
        for row in zip(*held.columns, strict=True):
            by_host[where.get(row[0], density.host.id)].append(row)
    for host in harbour.hosts:
        yield replace(host, containers=Containers.of_rows(by_host[host.id]))

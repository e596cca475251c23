"""What the right-sizing report says: whom it is about, and the assessment of each.

A fleet's advice is ordered by what all of it would save, and told a page at a time. So it is made
twice: first of everyone, of which only what it is ordered and chosen by is kept; then of the page,
with the samples of the open hour. Of up to OPEN_MAX containers both are the same.
"""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from app import db
from app.fleet.policies import fetch_policies
from app.fleet.policy import Effective
from app.fleet.querysets import LIVE_STATES
from app.fleet.rightsizing import Amounts, Assessment, Sizing, State, assess
from app.fleet.rightsizing_queries import Row, amounts, fetch_members
from app.fleet.turns import in_turns

CONTAINERS = """
    SELECT c.id, c.name, c.state, c.engine_id, h.name AS host, c.workload_id, w.name AS workload,
        w.team_id, c.cpu_reservation, c.cpu_limit, c.memory_reservation_bytes, c.memory_limit_bytes,
        1 AS containers
    FROM unnest($1::bigint[]) AS chosen (id) JOIN fleet_container c USING (id)
        JOIN fleet_host h ON h.id = c.host_id
        LEFT JOIN fleet_workload w ON w.id = c.workload_id
"""
WORKLOADS = """
    SELECT w.id, w.name, w.team_id, w.replicas, w.cpu_reservation, w.cpu_limit,
        w.memory_reservation_bytes, w.memory_limit_bytes, w.id AS workload_id,
        (SELECT count(*) FROM fleet_container c
            WHERE c.workload_id = w.id AND c.state = ANY($2::text[])) AS containers
    FROM unnest($1::bigint[]) AS chosen (id) JOIN fleet_workload w USING (id)
"""


@dataclass(frozen=True, slots=True)
class Advice:
    """One container or workload, and what it should have. `count` containers are like this."""

    row: Row
    is_workload: bool
    assessment: Assessment
    effective: Effective

    @property
    def count(self) -> int:
        """How many times a saving is made: a workload's replicas, as its spec asks for them."""
        return int(self.row["replicas"]) if self.is_workload else 1

    def as_dict(self) -> dict[str, Any]:
        row = self.row
        about: dict[str, Any] = {"id": row["id"], "name": row["name"]}
        if self.is_workload:
            about |= {"team": row["team_id"], "replicas": row["replicas"]}
            about |= {"containers": row["containers"]}
        else:
            about |= {"state_of_container": row["state"], "host": row["host"]}
            about |= {"workload": row["workload"], "team": row["team_id"]}
        return {
            **about,
            "overrides": self.effective.as_dict(),
            **self.assessment.as_dict(),
            "saving": {
                "cpu": _times(self.assessment.cpu, self.count),
                "memory": _times(self.assessment.memory, self.count),
            },
        }


def _times(sizing: Sizing, count: int) -> float | None:
    return None if sizing.saving is None else round(sizing.saving * count, 6)


class Key(NamedTuple):
    """What advice is ordered and chosen by."""

    id: int
    name: str
    state: State
    cpu_saving: float | None
    memory_saving: float | None


ORDERINGS: Mapping[str, tuple[str, bool]] = {
    "-saving": ("memory_saving", True),
    "saving": ("memory_saving", False),
    "-cpu_saving": ("cpu_saving", True),
    "cpu_saving": ("cpu_saving", False),
    "name": ("name", False),
    "-name": ("name", True),
}


def arrange(keys: Iterable[Key], *, ordering: str, states: Collection[State] = ()) -> list[Key]:
    """The keys of these states in order; those without a saving come last, ties go by name."""
    chosen = [key for key in keys if not states or key.state in states]
    name, is_descending = ORDERINGS[ordering]
    chosen.sort(key=lambda key: (key.name, key.id))
    known = [key for key in chosen if getattr(key, name) is not None]
    known.sort(key=lambda key: getattr(key, name), reverse=is_descending)
    return known + [key for key in chosen if getattr(key, name) is None]


@dataclass(slots=True)
class Totals:
    """What all of the chosen would save, and how many are in which state."""

    states: Counter[str] = field(default_factory=Counter)
    cpu: float = 0.0
    memory: float = 0.0

    def add(self, key: Key) -> None:
        self.states[str(key.state)] += 1
        self.cpu += key.cpu_saving or 0.0
        self.memory += key.memory_saving or 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "states": {str(state): self.states[str(state)] for state in State},
            "saving": {"cpu": round(self.cpu, 6), "memory": round(self.memory)},
        }


async def fetch_keys(*, ids: Sequence[int], is_workload: bool, at: datetime) -> list[Key]:
    """The key of each of these containers or workloads."""
    return [
        Key(
            one.row["id"],
            one.row["name"],
            one.assessment.state,
            _times(one.assessment.cpu, one.count),
            _times(one.assessment.memory, one.count),
        )
        async for one in _advise(ids, is_workload, at, with_open=None)
    ]


async def fetch_advice(*, ids: Sequence[int], is_workload: bool, at: datetime) -> list[Advice]:
    """The advice for each of these, in their order; the open hour's samples count."""
    found = {one.row["id"]: one async for one in _advise(ids, is_workload, at, with_open=True)}
    return [found[pk] for pk in ids if pk in found]


async def _advise(
    ids: Sequence[int], is_workload: bool, at: datetime, with_open: bool | None
) -> AsyncIterator[Advice]:
    if is_workload:
        rows = await db.fetch(WORKLOADS, list(ids), list(LIVE_STATES))
    else:
        rows = await db.fetch(CONTAINERS, list(ids))
    policies = await fetch_policies()
    members = await fetch_members(
        workload_ids=ids if is_workload else [],
        container_ids=[] if is_workload else ids,
        policies=policies,
        at=at,
        with_open=with_open,
    )
    find = members.evidence_of_workload if is_workload else members.evidence
    async for row in in_turns(rows):
        effective = policies.effective(team_id=row["team_id"], workload_id=row["workload_id"])
        evidence = find(row["id"], at=at, policy=effective.policy)
        cpu, memory = amounts(row)
        assessment = assess(evidence, cpu=cpu, memory=memory, policy=effective.policy)
        yield Advice(row, is_workload, assessment, effective)


def as_row(answer: Mapping[str, Any]) -> dict[str, Any]:
    """One result as a flat row of a table: `memory.recommended.limit` and the like."""
    flat: dict[str, Any] = {}

    def put(prefix: str, value: Any) -> None:
        if value is None and prefix.endswith((".target", ".recommended")):
            value = Amounts()._asdict()
        if isinstance(value, Mapping) and prefix != "overrides":
            for name, inner in value.items():
                put(f"{prefix}.{name}" if prefix else name, inner)
        else:
            flat[prefix] = value

    put("", answer)
    return flat

"""What the right-sizing report says: whom it is about, and the assessment of each.

A fleet's advice is ordered by what all of it would save, and told a page at a time. So it is made
twice: first of everyone, of which only what it is ordered and chosen by is kept; then of the page,
with the samples of the open hour. Of up to OPEN_MAX containers both are the same; of more the first
is remembered (`app.fleet.remembered`).
"""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from app import db
from app.fleet import remembered
from app.fleet.policies import Policies, fetch_policies
from app.fleet.policy import Effective
from app.fleet.querysets import LIVE_STATES
from app.fleet.rightsizing import Amounts, Assessment, State, assess
from app.fleet.rightsizing_queries import CHUNK, OPEN_MAX, Row, amounts, fetch_members
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
REST_SECONDS = 0.005
"""How long the loop is free after each stretch of work that nobody waits for."""


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
        return _count(self.row, self.is_workload)

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
                "cpu": _times(self.assessment.cpu.saving, self.count),
                "memory": _times(self.assessment.memory.saving, self.count),
            },
        }


def _count(row: Row, is_workload: bool) -> int:
    return int(row["replicas"]) if is_workload else 1


def _times(saving: float | None, count: int) -> float | None:
    return None if saving is None else round(saving * count, 6)


class Key(NamedTuple):
    """What advice is ordered and chosen by."""

    id: int
    name: str
    state: State
    cpu_saving: float | None
    memory_saving: float | None


BY_NAME = itemgetter(Key._fields.index("name"), Key._fields.index("id"))
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
    place = Key._fields.index(name)
    chosen.sort(key=BY_NAME)
    known = [key for key in chosen if key[place] is not None]
    known.sort(key=itemgetter(place), reverse=is_descending)
    return known + [key for key in chosen if key[place] is None]


@dataclass(slots=True)
class Totals:
    """What all of the chosen would save, and how many are in which state."""

    states: Counter[str] = field(default_factory=Counter)
    cpu: float = 0.0
    memory: float = 0.0

    def add(self, keys: Sequence[Key]) -> None:
        for state, count in Counter(key.state for key in keys).items():
            self.states[str(state)] += count
        for key in keys:
            self.cpu += key.cpu_saving or 0.0
            self.memory += key.memory_saving or 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "states": {str(state): self.states[str(state)] for state in State},
            "saving": {"cpu": round(self.cpu, 6), "memory": round(self.memory)},
        }


async def fetch_keys(
    *, ids: Sequence[int], is_workload: bool, at: datetime, open_max: int = OPEN_MAX
) -> list[Key]:
    """The key of each of these containers or workloads.

    Above `open_max` containers those whose evidence has not changed are not read again.
    """
    rows = await _fetch_rows(ids, is_workload)
    policies = await fetch_policies()
    if sum(row["containers"] for row in rows) > open_max:
        remembered.MEMORY.note(is_workload=is_workload, at=at)
        return await _remembered(rows, policies, is_workload, at)
    return [
        _key(
            one.row,
            is_workload,
            one.assessment.state,
            one.assessment.cpu.saving,
            one.assessment.memory.saving,
        )
        async for one in _advise(rows, policies, is_workload, at, with_open=None)
    ]


def _key(row: Row, is_workload: bool, state: State, cpu: float | None, memory: float | None) -> Key:
    count = _count(row, is_workload)
    return Key(row["id"], row["name"], state, _times(cpu, count), _times(memory, count))


async def _remembered(
    rows: Sequence[Row],
    policies: Policies,
    is_workload: bool,
    at: datetime,
    *,
    rest_seconds: float = 0.0,
) -> list[Key]:
    versions = await remembered.fetch_stamps(
        [row["id"] for row in rows],
        is_workload=is_workload,
        at=at,
        evidence_days=policies.evidence_days,
    )
    find, keep = remembered.MEMORY.find, remembered.MEMORY.keep
    keys, missing, stamps = [], [], {}
    async for row in in_turns(rows, rest_seconds=rest_seconds):
        effective = policies.effective(team_id=row["team_id"], workload_id=row["workload_id"])
        stamp = hash((versions.get(row["id"]), amounts(row), effective.policy))
        found = find((is_workload, row["id"]), stamp=stamp, at=at)
        if found is None:
            missing.append(row)
            stamps[row["id"]] = stamp
        else:
            keys.append(_key(row, is_workload, found.state, found.cpu_saving, found.memory_saving))
    for batch in _batches(missing):
        async with remembered.MEMORY.turn:
            left = []
            for row in batch:
                made = find((is_workload, row["id"]), stamp=stamps[row["id"]], at=at)
                if made is None:
                    left.append(row)
                else:  # by another who asked meanwhile
                    saved = made.cpu_saving, made.memory_saving
                    keys.append(_key(row, is_workload, made.state, *saved))
            async for one in _advise(
                left, policies, is_workload, at, with_open=False, rest_seconds=rest_seconds
            ):
                made = remembered.Remembered.of(
                    one.assessment, stamp=stamps[one.row["id"]], policy=one.effective.policy, at=at
                )
                keep((is_workload, one.row["id"]), made)
                saved = made.cpu_saving, made.memory_saving
                keys.append(_key(one.row, is_workload, made.state, *saved))
    return keys


async def carry_forward(*, at: datetime) -> int:
    """Bring what is remembered and was asked for lately up to date, so that nobody who asks after
    an hour is rolled up waits for it; the number of containers and workloads looked at.

    In the background: half of the loop's time at the most.
    """
    looked_at = 0
    policies = await fetch_policies()
    for is_workload in (True, False):
        wanted = remembered.MEMORY.wanted(is_workload=is_workload, at=at)
        for start in range(0, len(wanted), CHUNK):
            ids = wanted[start : start + CHUNK]
            rows = await _fetch_rows(ids, is_workload)
            rows = [row for row in rows if is_workload or row["state"] in LIVE_STATES]
            for pk in set(ids) - {row["id"] for row in rows}:
                remembered.MEMORY.forget((is_workload, pk))
            looked_at += len(
                await _remembered(rows, policies, is_workload, at, rest_seconds=REST_SECONDS)
            )
    return looked_at


def _batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows of about CHUNK containers each, so that not all evidence is in memory at once."""
    batch, containers = [], 0
    for row in rows:
        batch.append(row)
        containers += row["containers"] or 1
        if containers >= CHUNK:
            yield batch
            batch, containers = [], 0
    if batch:
        yield batch


async def fetch_advice(*, ids: Sequence[int], is_workload: bool, at: datetime) -> list[Advice]:
    """The advice for each of these, in their order; the open hour's samples count."""
    rows = await _fetch_rows(ids, is_workload)
    policies = await fetch_policies()
    advised = _advise(rows, policies, is_workload, at, with_open=True)
    found = {one.row["id"]: one async for one in advised}
    return [found[pk] for pk in ids if pk in found]


async def _fetch_rows(ids: Sequence[int], is_workload: bool) -> list[Row]:
    rows: list[Row] = []
    for start in range(0, len(ids), remembered.AT_ONCE):
        some = list(ids[start : start + remembered.AT_ONCE])
        if is_workload:
            rows += await db.fetch(WORKLOADS, some, list(LIVE_STATES))
        else:
            rows += await db.fetch(CONTAINERS, some)
    return rows


async def _advise(
    rows: Sequence[Row],
    policies: Policies,
    is_workload: bool,
    at: datetime,
    *,
    with_open: bool | None,
    rest_seconds: float = 0.0,
) -> AsyncIterator[Advice]:
    ids = [row["id"] for row in rows]
    members = await fetch_members(
        workload_ids=ids if is_workload else [],
        container_ids=[] if is_workload else ids,
        policies=policies,
        at=at,
        with_open=with_open,
    )
    find = members.evidence_of_workload if is_workload else members.evidence
    async for row in in_turns(rows, rest_seconds=rest_seconds):
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

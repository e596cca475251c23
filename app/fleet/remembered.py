"""What right-sizing said of a large fleet, kept by the worker while nothing that it came from has
changed.

Above `rightsizing_queries.OPEN_MAX` containers the report's order comes from summaries alone, which
change once an hour. Reading and assessing fifteen thousand takes seconds, so of each container or
workload what the order needs is remembered, under a stamp of all that it came from: the versions of
its summaries (`xmin`, which PostgreSQL changes with the row), its OOM kills, what it declares and
its policy. What came from the clock is remembered until then: `Remembered.until`.

After each hour's rolling up all stamps are new. What was asked for within `WANTED` is then brought
up to date in the background (`advice.carry_forward`), before the next request asks.
"""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Generic, NamedTuple, Protocol, TypeVar

from app import db
from app.fleet.policy import Policy
from app.fleet.rightsizing import Assessment, Evidence, State

MOST = 40_000
"""Entries. Fifteen thousand take 5 MiB, of sizes 6; as many as there may be 15, of sizes 17."""
DAY = 86_400
AT_ONCE = 5_000
"""Rows that are read by one statement: some milliseconds of the event loop."""
WANTED = timedelta(hours=25)
"""For how long what was asked for is kept up to date: whoever asks once a day finds it ready."""

# Of the same containers as rightsizing_queries.MEMBERS.
STAMPS = """
    SELECT m.subject AS id, string_agg(
        concat_ws(' ', m.id::text, s.xmin::text, (
            SELECT string_agg(concat_ws('@', k.at::text, k.memory_bytes::text), ' ' ORDER BY k.at)
            FROM fleet_oom_kill k WHERE k.container_id = m.id
        )), ',' ORDER BY m.id) AS stamp
    FROM ({members}) AS m (subject, id) LEFT JOIN fleet_usage_summary s ON s.container_id = m.id
    GROUP BY m.subject
"""
OF_CONTAINERS = STAMPS.format(members="SELECT id, id FROM unnest($1::bigint[]) AS chosen (id)")
OF_WORKLOADS = STAMPS.format(
    members="""
        SELECT c.workload_id, c.id
        FROM unnest($1::bigint[]) AS chosen (id)
            JOIN fleet_container c ON c.workload_id = chosen.id
        WHERE c.state <> 'removed'
            OR c.last_seen_at >= $2::timestamptz - $3::float8 * interval '1 day'
    """
)


async def fetch_stamps(
    ids: Collection[int], *, is_workload: bool, at: datetime, evidence_days: float
) -> dict[int, str]:
    """A stamp of what is stored of each; it differs wherever anything of that does."""
    listed = list(ids)
    stamps: dict[int, str] = {}
    for start in range(0, len(listed), AT_ONCE):
        some = listed[start : start + AT_ONCE]
        if is_workload:
            rows = await db.fetch(OF_WORKLOADS, some, at, evidence_days)
        else:
            rows = await db.fetch(OF_CONTAINERS, some)
        stamps.update((row["id"], row["stamp"]) for row in rows)
    return stamps


def expires(evidence: Evidence, *, policy: Policy, at: datetime) -> float:
    """When a kill or a day leaves the window, in seconds since 1970."""
    until = _day_leaves(at, policy.evidence_days)
    if not evidence.kills:
        return until
    window = policy.evidence_days * DAY
    return min(until, *(kill.at.timestamp() + window for kill in evidence.kills))


@lru_cache(maxsize=16)
def _day_leaves(at: datetime, days: float) -> float:
    window = timedelta(days=days)
    first_day = (at - window).astimezone(UTC).timestamp() // DAY
    return (first_day + 1) * DAY + window.total_seconds()


class Entry(Protocol):
    """What is remembered: computed `since` from what has this stamp, and true `until`; both in
    seconds since 1970.
    """

    @property
    def stamp(self) -> int: ...
    @property
    def since(self) -> float: ...
    @property
    def until(self) -> float: ...


class Remembered(NamedTuple):
    """What the order of the report needs, of one container or of one replica of a workload."""

    stamp: int
    since: float
    until: float
    state: State
    cpu_saving: float | None
    memory_saving: float | None

    @classmethod
    def of(
        cls, assessment: Assessment, *, stamp: int, policy: Policy, at: datetime
    ) -> "Remembered":
        until = expires(assessment.evidence, policy=policy, at=at)
        cpu, memory = assessment.cpu.saving, assessment.memory.saving
        return cls(stamp, at.timestamp(), until, assessment.state, cpu, memory)


E = TypeVar("E", bound=Entry)


class Memory(Generic[E]):
    """Remembered by (whether it is a workload, id); the oldest are forgotten first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: dict[tuple[bool, int], E] = {}
        self._asked_at: dict[bool, datetime] = {}
        self.turn = asyncio.Lock()
        """Held to compute what is not remembered, so that several who ask compute it once."""

    def note(self, *, is_workload: bool, at: datetime) -> None:
        """Somebody asked for workloads or containers."""
        self._asked_at[is_workload] = at

    def wanted(self, *, is_workload: bool, at: datetime) -> list[int]:
        """The ids of what is remembered, if somebody asked for it lately."""
        asked_at = self._asked_at.get(is_workload)
        if asked_at is None or at - asked_at > WANTED:
            return []
        return [pk for kind, pk in self._known if kind is is_workload]

    def forget(self, key: tuple[bool, int]) -> None:
        self._known.pop(key, None)

    def find(self, key: tuple[bool, int], *, stamp: int, at: datetime) -> E | None:
        found = self._known.get(key)
        if found is None or found.stamp != stamp or not found.since <= at.timestamp() < found.until:
            return None
        return found

    def keep(self, key: tuple[bool, int], value: E) -> None:
        self._known.pop(key, None)
        self._known[key] = value
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]


MEMORY: Memory[Remembered] = Memory()
"""The worker's own. Stamps tell databases apart well enough: a version is never used twice."""

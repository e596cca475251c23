"""Storing samples: COPY into a staging table, then one statement into the day's partition."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import IntegrityError
from django.utils import timezone

from app import db
from app.errors import Invalid
from app.fleet import partitions

STAGING = """
    CREATE TEMPORARY TABLE IF NOT EXISTS fleet_usage_staging (
        container_id bigint NOT NULL, at timestamptz NOT NULL,
        cpu_cores float8 NOT NULL, memory_bytes bigint NOT NULL
    ) ON COMMIT DELETE ROWS
"""
# The staged rows are taken out, so that a second batch in the same transaction starts empty. Rows
# are stored in the key's order: writers of the same samples wait for each other, never crosswise.
STORE = """
    WITH batch AS (
        DELETE FROM fleet_usage_staging RETURNING container_id, at, cpu_cores, memory_bytes
    ), known AS MATERIALIZED (
        SELECT id FROM fleet_container
        WHERE id IN (SELECT container_id FROM batch)
            AND (%s::text = '' OR host_id = (SELECT id FROM fleet_host WHERE name = %s::text))
        ORDER BY id FOR KEY SHARE
    ), stored AS (
        INSERT INTO fleet_usage (container_id, at, cpu_cores, memory_bytes)
        SELECT container_id, at, cpu_cores, memory_bytes
        FROM batch JOIN known ON known.id = batch.container_id
        ORDER BY container_id, at
        ON CONFLICT DO NOTHING
        RETURNING container_id, at
    ), marked AS (
        INSERT INTO fleet_usage_mark (hour, container_ids)
        SELECT date_trunc('hour', at, 'UTC'), array_agg(DISTINCT container_id)
        FROM stored GROUP BY 1
    ), noted AS (
        INSERT INTO fleet_usage_batch (transaction, container_ids, counts, since, until)
        SELECT pg_current_xact_id()::text::bigint, array_agg(container_id ORDER BY container_id),
            array_agg(samples ORDER BY container_id), min(since), max(until)
        FROM (
            SELECT container_id, count(*) AS samples, min(at) AS since, max(at) AS until
            FROM stored GROUP BY container_id
        ) AS one
        HAVING count(*) > 0
    )
    SELECT
        (SELECT count(*) FROM stored) AS stored,
        (SELECT count(*) FROM batch JOIN known ON known.id = batch.container_id) AS known,
        ARRAY(
            SELECT DISTINCT container_id FROM batch WHERE container_id NOT IN (SELECT id FROM known)
        ) AS unknown
"""


class Sample(NamedTuple):
    container_id: int
    at: datetime
    cpu_cores: float
    memory_bytes: int


class Recorded(NamedTuple):
    """How many samples were stored, how many were there already, which containers don't exist."""

    stored: int
    duplicates: int
    unknown: frozenset[int]


class UnknownContainersError(Invalid):
    """Samples name containers that don't exist; nothing of the batch is stored."""

    def __init__(self, ids: frozenset[int]) -> None:
        super().__init__(f"{len(ids)} containers are not known.", code="unknown_container")
        self.ids = ids


async def record_usage(
    *, samples: Sequence[Sample], skip_unknown: bool = False, only_host: str = ""
) -> Recorded:
    """Store samples once each, however often and in whatever order they come.

    Raises UnknownContainersError, with nothing stored, when a container isn't known; with
    `skip_unknown` the samples of the known ones are stored. With `only_host` those of that host
    are known, and no others.
    """
    try:
        return await _store(samples, skip_unknown, only_host)
    except IntegrityError:
        # The day has no partition yet (the clock of this server stood, or maintenance did).
        await partitions.maintain_partitions(
            now=timezone.now(),
            keep_days=partitions.keep_days(),
            ahead_days=partitions.AHEAD_DAYS,
        )
        return await _store(samples, skip_unknown, only_host)


async def _store(samples: Sequence[Sample], skip_unknown: bool, only_host: str) -> Recorded:
    async with db.atomic():
        await db.execute(STAGING)
        await db.copy_in("fleet_usage_staging", columns=list(Sample._fields), records=samples)
        (row,) = await db.fetch(STORE, only_host, only_host)
        unknown = frozenset(row["unknown"])
        if unknown and not skip_unknown:
            raise UnknownContainersError(unknown)
    return Recorded(row["stored"], row["known"] - row["stored"], unknown)

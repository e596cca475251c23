"""Forgetting what is too old: events, and containers that were removed long ago."""

from datetime import datetime, timedelta

from django.conf import settings

from app import db
from app.fleet.models import EventCompaction
from app.fleet.services.events import Change, record_changes

BATCH = 5_000
"""Rows deleted in one transaction: none of them takes long."""

FORGET_EVENTS = """
    WITH old AS (
        SELECT id, position FROM fleet_event
        WHERE position <= (SELECT max(position) FROM fleet_event WHERE at < %s::timestamptz)
        ORDER BY position LIMIT %s FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM fleet_event WHERE id IN (SELECT id FROM old) RETURNING position
    )
    INSERT INTO fleet_event_compaction AS c (id, position)
    SELECT 1, max(position) FROM gone HAVING count(*) > 0
    ON CONFLICT (id) DO UPDATE SET position = greatest(c.position, EXCLUDED.position)
    RETURNING position
"""
KEEP_BATCHES = timedelta(minutes=15)
"""How long a watcher of samples may be away."""
FORGET_BATCHES = """
    WITH old AS (
        DELETE FROM fleet_usage_batch WHERE at < %s::timestamptz RETURNING transaction
    ), mark AS (
        INSERT INTO fleet_usage_batch (transaction, at, container_ids, counts, since, until)
        SELECT max(transaction), now.at, '{}', '{}', now.at, now.at
        FROM old, (SELECT %s::timestamptz AS at) AS now GROUP BY now.at
    )
    SELECT coalesce(max(transaction), 0) AS until FROM old
"""
FORGET_CONTAINERS = """
    DELETE FROM fleet_container WHERE id IN (
        SELECT id FROM fleet_container
        WHERE state = 'removed' AND last_seen_at < %s::timestamptz
        ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
    ) RETURNING id, name
"""


def keep_events_days() -> int:
    return int(settings.STOWAGE["EVENT_RETENTION_DAYS"])


async def forget_events(*, now: datetime, keep_days: int) -> int:
    """Delete events older than `keep_days`, the oldest first; up to which position they are gone.

    A reader that would go on from before that is told so: see `compacted_until`.
    """
    before = now - timedelta(days=keep_days)
    while await db.fetch(FORGET_EVENTS, before, BATCH):
        pass
    return await compacted_until()


async def compacted_until() -> int:
    """Events up to this position may be missing; 0 while none is."""
    row = await EventCompaction.objects.values_list("position", flat=True).afirst()
    return row or 0


async def forget_batches(*, now: datetime) -> int:
    """Delete what the journal of samples says of longer ago than it is kept; up to which
    transaction, or 0. A row without containers goes on telling so.
    """
    (row,) = await db.fetch(FORGET_BATCHES, now - KEEP_BATCHES, now)
    return int(row["until"])


async def forget_containers(*, now: datetime, keep_days: int) -> int:
    """Delete containers that were removed and not seen for `keep_days`, and what they used.

    Their roll-ups are past keeping by then. The number of containers.
    """
    before = now - timedelta(days=keep_days)
    forgotten = 0
    while True:
        async with db.atomic():
            gone = await db.fetch(FORGET_CONTAINERS, before, BATCH)
            await record_changes(
                *(Change("container.deleted", row["id"], {"name": row["name"]}) for row in gone)
            )
        forgotten += len(gone)
        if len(gone) < BATCH:
            return forgotten

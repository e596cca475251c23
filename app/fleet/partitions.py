"""The days of `fleet_usage`: made ahead, dropped whole by age.

One partition holds one day, UTC, and is called `fleet_usage_YYYYMMDD`. There is no default
partition: a sample that belongs to no day is refused by validation, and making a day that is
missing is cheap. Every worker may maintain: an advisory lock lets one at a time through.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from app import db

logger = logging.getLogger(__name__)

PREFIX = "fleet_usage_"
AHEAD_DAYS = 7
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('fleet_usage_partitions', 0))"
# Making and dropping take strong locks for an instant: rather give up than queue ingest behind us.
PATIENCE = "SET LOCAL lock_timeout = '2s'"


class Maintained(NamedTuple):
    """The days that were made and dropped."""

    made: list[date]
    dropped: list[date]


def keep_days() -> int:
    """Whole days that raw samples are kept; older ones are refused and dropped."""
    return int(settings.STOWAGE["USAGE_RETENTION_DAYS"])


def table(day: date) -> str:
    return f"{PREFIX}{day:%Y%m%d}"


def bounds(day: date) -> tuple[datetime, datetime]:
    """The first moment of the day and of the next, UTC."""
    start = datetime.combine(day, time(), UTC)
    return start, start + timedelta(days=1)


def plan(
    existing: set[date], today: date, *, keep_days: int, ahead_days: int
) -> tuple[list[date], list[date]]:
    """The days to make and the days to drop.

    The day `keep_days` ago stays: samples are kept by age to the second, partitions by day.
    """
    first = today - timedelta(days=keep_days)
    wanted = {first + timedelta(days=n) for n in range(keep_days + ahead_days + 1)}
    return sorted(wanted - existing), sorted(day for day in existing if day < first)


async def maintain_partitions(*, now: datetime, keep_days: int, ahead_days: int) -> Maintained:
    """Make the days around `now` and drop those past keeping. Safe to run twice at once."""
    async with db.atomic():
        await db.execute(PATIENCE)
        await db.fetch(LOCK)
        made, dropped = plan(
            await existing_days(),
            now.astimezone(UTC).date(),
            keep_days=keep_days,
            ahead_days=ahead_days,
        )
        for day in made:
            await _make(day)
        for day in dropped:
            await db.execute(f"DROP TABLE {table(day)}")
    return Maintained(made, dropped)


async def existing_days() -> set[date]:
    """The days that have a partition."""
    rows = await db.fetch(
        """
        SELECT c.relname::text AS name FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'fleet_usage'::regclass
        """
    )
    return {
        datetime.strptime(row["name"], f"{PREFIX}%Y%m%d").replace(tzinfo=UTC).date() for row in rows
    }


async def _make(day: date) -> None:
    start, end = bounds(day)
    # A partition's bounds are no parameters; these are made of digits only.
    await db.execute(
        f"CREATE TABLE {table(day)} PARTITION OF fleet_usage"
        f" FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
    )


async def maintain_forever(
    *, clock: Callable[[], datetime] = timezone.now, every_seconds: float = 3600
) -> None:
    """Maintain now and then every hour, until cancelled. A failure is logged and tried again."""
    while True:
        try:
            await maintain_partitions(now=clock(), keep_days=keep_days(), ahead_days=AHEAD_DAYS)
        except OperationalError:
            logger.warning(
                "Partitions of usage could not be maintained; next try later.", exc_info=True
            )
        await asyncio.sleep(every_seconds)

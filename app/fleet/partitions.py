"""The partitions of usage: made ahead, dropped whole by age.

Raw samples lie in days, their roll-ups in weeks (from Monday); both begin at midnight UTC, and are
called after the table and their first day: `fleet_usage_YYYYMMDD`. There is no default partition:
a sample that belongs to none is refused by validation, and making one that is missing is cheap.
Every worker may maintain: an advisory lock lets one at a time through.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from django.conf import settings

from app import db

AHEAD_DAYS = 7
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('fleet_usage_partitions', 0))"
# Making and dropping take strong locks for an instant: rather give up than queue ingest behind us.
PATIENCE = "SET LOCAL lock_timeout = '2s'"


@dataclass(frozen=True, slots=True)
class Series:
    """A partitioned table, and how many days one of its partitions holds."""

    table: str
    days: int

    def start(self, day: date) -> date:
        """The first day of the partition that holds `day`. Weeks begin on Monday."""
        return day - timedelta(days=(day.toordinal() - 1) % self.days)

    def partition(self, start: date) -> str:
        return f"{self.table}_{start:%Y%m%d}"

    def bounds(self, start: date) -> tuple[datetime, datetime]:
        """The first moment of a partition and of the next, UTC."""
        first = datetime.combine(start, time(), UTC)
        return first, first + timedelta(days=self.days)


SAMPLES = Series("fleet_usage", 1)
HOURS = Series("fleet_usage_hour", 7)


class Maintained(NamedTuple):
    """The first days of the partitions that were made and dropped."""

    made: list[date]
    dropped: list[date]


def keep_days() -> int:
    """Days that raw samples are kept; older ones are refused and dropped."""
    return int(settings.STOWAGE["USAGE_RETENTION_DAYS"])


def keep_hours_days() -> int:
    """Days that hourly roll-ups are kept."""
    return int(settings.STOWAGE["ROLLUP_RETENTION_DAYS"])


def plan(
    existing: set[date],
    today: date,
    *,
    keep_days: int,
    ahead_days: int,
    series: Series = SAMPLES,
) -> tuple[list[date], list[date]]:
    """The partitions to make and to drop, by their first days.

    The one that holds the day `keep_days` ago stays: samples are kept by age to the second.
    """
    first = today - timedelta(days=keep_days)
    covered = (first + timedelta(days=n) for n in range(keep_days + ahead_days + 1))
    wanted = {series.start(day) for day in covered}
    return sorted(wanted - existing), sorted(day for day in existing if day < min(wanted))


async def maintain_partitions(
    *, now: datetime, keep_days: int, ahead_days: int, series: Series = SAMPLES
) -> Maintained:
    """Make the partitions around `now`, drop those past keeping. Safe to run twice at once."""
    async with db.atomic():
        await db.execute(PATIENCE)
        await db.fetch(LOCK)
        made, dropped = plan(
            await existing_days(series),
            now.astimezone(UTC).date(),
            keep_days=keep_days,
            ahead_days=ahead_days,
            series=series,
        )
        for day in made:
            await _make(series, day)
        for day in dropped:
            await db.execute(f"DROP TABLE {series.partition(day)}")
    return Maintained(made, dropped)


async def existing_days(series: Series = SAMPLES) -> set[date]:
    """The first days of the partitions that there are."""
    rows = await db.fetch(
        """
        SELECT c.relname::text AS name FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = %s::text::regclass
        """,
        series.table,
    )
    return {
        datetime.strptime(row["name"], f"{series.table}_%Y%m%d").replace(tzinfo=UTC).date()
        for row in rows
    }


async def _make(series: Series, day: date) -> None:
    start, end = series.bounds(day)
    # A partition's bounds are no parameters; these are made of digits only.
    await db.execute(
        f"CREATE TABLE {series.partition(day)} PARTITION OF {series.table}"
        f" FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
    )

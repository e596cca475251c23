"""Days of usage: made ahead, dropped by age, whoever does it and however often."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from django.db import connections

from app import db
from app.fleet import partitions, services, upkeep
from app.fleet.models import Usage
from tests.fleet.samples import report

NOON = datetime(2031, 6, 15, 12, tzinfo=UTC)


def days(*numbers: int) -> list[date]:
    return [NOON.date() + timedelta(days=number) for number in numbers]


def test_days_that_are_missing_are_made_and_old_ones_dropped() -> None:
    existing = set(days(-4, -3, -2, -1, 0))
    made, dropped = partitions.plan(existing, NOON.date(), keep_days=2, ahead_days=2)
    assert (made, dropped) == (days(1, 2), days(-4, -3))


def test_weeks_begin_on_monday_and_stay_until_all_of_them_is_too_old() -> None:
    monday = date(2026, 3, 2)
    assert partitions.HOURS.start(monday) == partitions.HOURS.start(date(2026, 3, 8)) == monday
    planned = partitions.plan(
        {date(2026, 2, 16), date(2026, 2, 23)},
        date(2026, 3, 8),
        keep_days=8,
        ahead_days=1,
        series=partitions.HOURS,
    )
    assert planned == ([monday, date(2026, 3, 9)], [date(2026, 2, 16)])


def test_nothing_is_planned_twice() -> None:
    made, _ = partitions.plan(set(), NOON.date(), keep_days=1, ahead_days=1)
    assert partitions.plan(set(made), NOON.date(), keep_days=1, ahead_days=1) == ([], [])


def test_day_is_named_and_bounded_in_utc() -> None:
    assert partitions.SAMPLES.partition(date(2026, 1, 2)) == "fleet_usage_20260102"
    assert partitions.SAMPLES.bounds(date(2026, 1, 2)) == (
        datetime(2026, 1, 2, tzinfo=UTC),
        datetime(2026, 1, 3, tzinfo=UTC),
    )


async def maintain(now: datetime) -> partitions.Maintained:
    return await partitions.maintain_partitions(now=now, keep_days=2, ahead_days=3)


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestMaintaining:
    async def test_today_and_the_days_ahead_are_there_afterwards(self) -> None:
        await maintain(NOON)
        assert await partitions.existing_days() == set(days(-2, -1, 0, 1, 2, 3))
        assert await maintain(NOON) == ([], [])

    async def test_midnight_makes_one_day_and_drops_one(self) -> None:
        await maintain(NOON)
        midnight = datetime(2031, 6, 16, tzinfo=UTC)
        assert await maintain(midnight - timedelta(microseconds=1)) == ([], [])
        assert await maintain(midnight) == (days(4), days(-2))

    async def test_midnight_is_utc_wherever_the_clock_stands(self) -> None:
        await maintain(NOON)
        tokyo = NOON.astimezone(datetime.strptime("+0900", "%z").tzinfo) + timedelta(hours=6)
        assert tokyo.day == 16
        assert await maintain(tokyo) == ([], [])

    async def test_samples_on_both_sides_of_midnight_are_stored_and_found(self) -> None:
        observed = await services.observe_host(**report())
        await maintain(NOON)
        midnight = datetime(2031, 6, 16, tzinfo=UTC)
        moments = [midnight - timedelta(seconds=1), midnight, midnight + timedelta(seconds=1)]
        samples = [
            services.Sample(observed.containers["c1"], moment, 0.5, 10) for moment in moments
        ]
        assert (await services.record_usage(samples=samples)).stored == 3
        stored = [sample.at async for sample in Usage.objects.order_by("at")]
        assert stored == moments
        counts = await db.fetch(
            "SELECT tableoid::regclass::text AS day, count(*) FROM fleet_usage"
            " GROUP BY 1 ORDER BY 1"
        )
        assert [(row["day"], row["count"]) for row in counts] == [
            ("fleet_usage_20310615", 1),
            ("fleet_usage_20310616", 2),
        ]

    async def test_day_that_is_dropped_takes_its_samples_along(self) -> None:
        observed = await services.observe_host(**report())
        await maintain(NOON)
        sample = services.Sample(observed.containers["c1"], NOON, 0.5, 10)
        await services.record_usage(samples=[sample])
        await maintain(NOON + timedelta(days=2))
        assert await Usage.objects.acount() == 1
        await maintain(NOON + timedelta(days=3))
        assert await Usage.objects.acount() == 0

    async def test_missing_day_is_made_when_samples_come(self) -> None:
        observed = await services.observe_host(**report())
        now = datetime.now(UTC)
        await db.execute(f"DROP TABLE {partitions.SAMPLES.partition(now.date())}")
        sample = services.Sample(observed.containers["c1"], now, 0.5, 10)
        assert (await services.record_usage(samples=[sample])).stored == 1


@pytest.mark.asyncio
@pytest.mark.usefixtures("committed")
async def test_workers_that_maintain_at_the_same_time_do_it_once() -> None:
    now = datetime.now(UTC)
    ahead = partitions.AHEAD_DAYS + 2
    try:
        done = await asyncio.gather(
            *(
                partitions.maintain_partitions(now=now, keep_days=3, ahead_days=ahead)
                for _ in range(4)
            )
        )
        assert sorted(len(one.made) for one in done) == [0, 0, 0, max(len(d.made) for d in done)]
    finally:
        for day in await partitions.existing_days():
            if day > now.date() + timedelta(days=partitions.AHEAD_DAYS):
                await db.execute(f"DROP TABLE {partitions.SAMPLES.partition(day)}")


@pytest.mark.asyncio
async def test_loop_maintains_by_the_clock_until_it_is_cancelled(transaction: None) -> None:
    calls = 0
    has_done_both = asyncio.Event()

    def clock() -> datetime:
        nonlocal calls
        calls += 1
        if calls == 3:
            has_done_both.set()
        return NOON if calls == 1 else NOON + timedelta(days=1)

    task = asyncio.create_task(upkeep.maintain_forever(clock=clock, every_seconds=0))
    await has_done_both.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    last = NOON.date() + timedelta(days=1 + partitions.AHEAD_DAYS)
    assert last in await partitions.existing_days()


@pytest.mark.timeout(60)  # it starts a Python of its own
def test_command_says_what_it_did(django_db_setup: None) -> None:
    name = connections["default"].settings_dict["NAME"]
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    done = subprocess.run(
        [sys.executable, "manage.py", "maintain_partitions"],
        env=os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "settings.test"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "Days made",
        "Days dropped",
        "Weeks made",
        "Weeks dropped",
    ]

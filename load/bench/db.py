"""CPU time of app.db against raw asyncpg and stock Django, in one run on one core.

    python -m load.bench.db

DATABASE_URL names the server; without it, it is the embedded one that tests run on.

Prints one line a case: microseconds of this process's CPU time per call, and the ratio that is
promised.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import django

from app.ops import embedded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.test")
if "DATABASE_URL" not in os.environ:
    os.environ["DATABASE_URL"] = embedded.start(Path("var/test/postgres"))
django.setup()

from asgiref.sync import sync_to_async  # noqa: E402
from django.db import connection  # noqa: E402
from django.db import models as stock  # noqa: E402

from app import db  # noqa: E402
from app.db import models, pools  # noqa: E402

ROUNDS, CALLS = 25, 100


class Vessel(models.Model):
    name = models.CharField(max_length=40)
    cpus = models.FloatField()
    stock_objects = stock.Manager()
    objects = models.Manager()

    class Meta:
        app_label = "db"
        db_table = "bench_vessel"


class Crate(models.Model):
    vessel = models.ForeignKey(Vessel, models.CASCADE)
    name = models.CharField(max_length=40)
    size_bytes = models.BigIntegerField()
    made_at = models.DateTimeField()
    stock_objects = stock.Manager()
    objects = models.Manager()

    class Meta:
        app_label = "db"
        db_table = "bench_crate"


def prepare() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_crate, bench_vessel")
    with connection.schema_editor() as editor:
        editor.create_model(Vessel)
        editor.create_model(Crate)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO bench_vessel (name, cpus) SELECT 'v' || n, n FROM generate_series(1, 50) n"
        )
        cursor.execute(
            "INSERT INTO bench_crate (vessel_id, name, size_bytes, made_at) "
            "SELECT n, 'c' || n, n * 1000, now() FROM generate_series(1, 50) n"
        )
        cursor.execute("ANALYZE bench_vessel, bench_crate")


def clean() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE bench_crate, bench_vessel")
    connection.close()


async def measure(calls: dict[str, Callable[[], Awaitable[object]]]) -> dict[str, float]:
    """CPU microseconds per call, the least of all rounds; the cases take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(30):
            await call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(CALLS):
                await call()
            times[name].append((time.process_time() - start) / CALLS * 1e6)
    return {name: min(values) for name, values in times.items()}


async def main() -> None:
    row = db.Plan(Crate.objects.filter(pk=db.Marker("id")))
    page = db.Plan(Crate.objects.select_related("vessel").order_by("pk"), limit=50)
    # What raw asyncpg does by itself: its own statement cache.
    cached = await pools.connect(pools.database_entry(), pools.Limits(), statement_cache_size=100)

    async def queryset() -> list[Crate]:
        queryset = Crate.objects.select_related("vessel").order_by("pk")[:50]
        return [crate async for crate in queryset]

    async def stock_async() -> list[Crate]:
        queryset = Crate.stock_objects.select_related("vessel").order_by("pk")[:50]
        return await sync_to_async(list)(queryset)

    def stock_sync() -> list[Crate]:
        return list(Crate.stock_objects.select_related("vessel").order_by("pk")[:50])

    cases: dict[str, Callable[[], Awaitable[object]]] = {
        "one row: asyncpg fetchrow": lambda: cached.fetchrow(row.sql, 7),
        "one row: plan": lambda: row.fetchrow(id=7),
        "one row: plan, instance": lambda: row.instance(id=7),
        "one row: QuerySet.aget": lambda: Crate.objects.aget(pk=7),
        "50 rows: asyncpg fetch": lambda: cached.fetch(page.sql, 50),
        "50 rows: plan, records": page.fetch,
        "50 rows: plan, instances": page.instances,
        "50 rows: QuerySet, instances": queryset,
        "50 rows: Django's async ORM": stock_async,
    }
    result = await measure(cases)
    await cached.close()
    await db.close()
    result["50 rows: Django's sync ORM"] = await asyncio.to_thread(measure_sync, stock_sync)
    for name, microseconds in result.items():
        print(f"{name:32} {microseconds:9.0f} µs")
    print_promises(result)


def measure_sync(call: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(CALLS):
            call()
        times.append((time.process_time() - start) / CALLS * 1e6)
    connection.close()
    return min(times)


def print_promises(result: dict[str, float]) -> None:
    promises = [
        ("one row: plan", "one row: asyncpg fetchrow", 1.2),
        ("50 rows: plan, instances", "50 rows: Django's async ORM", 0.5),
        ("50 rows: QuerySet, instances", "50 rows: Django's async ORM", 0.5),
        ("50 rows: QuerySet, instances", "50 rows: Django's sync ORM", 1.0),
        ("50 rows: plan, records", "50 rows: asyncpg fetch", 1.2),
    ]
    for name, base, limit in promises:
        ratio = result[name] / result[base]
        verdict = "holds" if ratio <= limit else "FAILS"
        print(f"{verdict}: {name} is {ratio:.2f} x {base} (promised {limit})")


if __name__ == "__main__":
    prepare()
    try:
        asyncio.run(main())
    finally:
        clean()

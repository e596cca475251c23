"""`python -m load.scale`: the same questions to a little usage and to very much, with their plans.

    --what rollups    thirty days of one workload, over roll-ups of a hundred million samples
    --what sizes      right-sizing of fifteen thousand containers
    --what samples    the samples' queries, over a table of ten thousand rows and one of ten million
    --plans           print the plans, as docs/performance.md shows them

Fills a scratch database by SQL (made anew under var/load, or in the server that DATABASE_URL
names), asks through the ASGI application, and prints medians. Takes minutes and, for ten million
samples, about 2 GiB of disk.
"""

import argparse
import asyncio
import statistics
import sys
from datetime import timedelta
from time import perf_counter, process_time
from typing import Any

from load.density import server, set_up, tear_down

MOST_SAMPLES, MOST_ROLLED_UP = 50_000_000, 1_000_000_000
ROUNDS = 15
SAMPLES_AN_HOUR = 360
REPLICAS = 10
"""Containers of the workload that is asked for."""

HOURS = """
    INSERT INTO fleet_usage_hour (container_id, hour, samples, first_at, last_at, cpu_sum, cpu_max,
        memory_sum, memory_max, cpu_histogram, memory_histogram)
    SELECT c.id, h, 360, h, h + interval '59 min 50 s', 36 + c.id % 7, 0.5, 360 * 2.0 ^ 27,
        2::bigint ^ 28, '{"35": 100, "36": 200, "40": 55, "60": 5}', '{"20": 300, "21": 60}'
    FROM fleet_container c,
        generate_series($1::timestamptz, $2::timestamptz - interval '1 hour', '1 hour') AS h
"""
SAMPLES = """
    INSERT INTO fleet_usage (container_id, at, cpu_cores, memory_bytes)
    SELECT c.id, $1::timestamptz - n * interval '10 seconds', 0.1 + (n % 10) / 100.0,
        2::bigint ^ 27 + n
    FROM generate_series($2::int - 1, 0, -1) AS n, fleet_container c
"""
MARKS = """
    INSERT INTO fleet_usage_mark (hour, container_ids)
    SELECT hour, (SELECT array_agg(id) FROM fleet_container)
    FROM (SELECT DISTINCT date_trunc('hour', at, 'UTC') AS hour FROM fleet_usage) AS hours
"""
SUMMARIES = """
    INSERT INTO fleet_usage_summary (container_id, reference, samples, first_at, last_at,
        cpu_weights, memory_weights, peaks)
    SELECT id, $1::timestamptz, 70000, $1::timestamptz - interval '8 days', $1::timestamptz,
        (SELECT jsonb_object_agg(n, 100.5 + n) FROM generate_series(id % 20, 40 + id % 20) AS n),
        (SELECT jsonb_object_agg(n, 200.5 + n) FROM generate_series(5 + id % 9, 20 + id % 9) AS n),
        (SELECT jsonb_object_agg(
            floor(extract(epoch FROM $1::timestamptz) / 86400)::bigint - n,
            jsonb_build_array(0.5, 2::bigint ^ 28)) FROM generate_series(0, 8) AS n)
    FROM fleet_container
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--what", choices=["rollups", "sizes", "samples", "all"], default="all")
    parser.add_argument("--containers", type=int, default=15_000, help="that are sized")
    parser.add_argument("--rolled-up", type=int, default=100_000_000, help="samples in roll-ups")
    parser.add_argument("--little", type=int, default=10_000, help="samples of the small table")
    parser.add_argument("--much", type=int, default=10_000_000, help="samples of the large table")
    parser.add_argument("--plans", action="store_true", help="print the plans, too")
    options = parser.parse_args()
    if not (0 < options.little <= options.much <= MOST_SAMPLES):
        parser.error(f"--little and --much: from 1 to {MOST_SAMPLES:,}, the little first")
    if not 0 < options.rolled_up <= MOST_ROLLED_UP:
        parser.error(f"--rolled-up: from 1 to {MOST_ROLLED_UP:,}")
    for name, ask in (("rollups", ask_rollups), ("sizes", ask_sizes), ("samples", ask_samples)):
        if options.what in (name, "all"):
            on_scratch(ask, options)
    return 0


def on_scratch(ask: Any, options: argparse.Namespace) -> None:
    """In a scratch database of its own."""
    with server():
        set_up()
        try:
            asyncio.run(connected(ask, options))
        finally:
            tear_down()


async def connected(ask: Any, options: argparse.Namespace) -> None:
    """With a client that may read."""
    from app import db
    from app.accounts import services
    from app.rest.test import APIClient
    from asgi import warm_up

    user = await services.create_user(username="scale")
    _, text = await services.create_token(user=user, name="scale", scopes=["read"])
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    await warm_up()
    try:
        await ask(client, options)
    finally:
        await db.close()


async def ask_rollups(client: Any, options: argparse.Namespace) -> None:
    from django.utils import timezone

    from app import db
    from app.fleet.history import POINTS_BY_HOUR
    from app.fleet.partitions import HOURS as WEEKS
    from app.fleet.partitions import maintain_partitions

    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    hours = 30 * 24
    containers = max(REPLICAS, options.rolled_up // SAMPLES_AN_HOUR // hours)
    await maintain_partitions(now=now, keep_days=31, ahead_days=1, series=WEEKS)
    await make_containers(containers)
    rows = await db.execute(HOURS, now - timedelta(hours=hours), now)
    await db.execute("ANALYZE")
    print(f"{rows:,} roll-ups of {rows * SAMPLES_AN_HOUR:,} samples, {containers} containers")
    since = (now - timedelta(hours=hours)).isoformat().replace("+00:00", "Z")
    workload = await _workload()
    for form in ("json", "csv", "svg"):
        query = f"usage/?workload={workload}&resolution=1h&since={since}&format={form}"
        await measure(client, f"30 days of one workload, {form}", query)
    if options.plans:
        ids = await _containers(workload)
        await explain(POINTS_BY_HOUR, ids, now - timedelta(hours=hours), now, now)


async def ask_sizes(client: Any, options: argparse.Namespace) -> None:
    from django.utils import timezone

    from app import db
    from app.fleet.models import Container
    from app.fleet.sizes import fetch_sizes

    now = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    await make_containers(options.containers)
    await db.execute(SUMMARIES, now)
    await db.execute("ANALYZE")
    print(f"{options.containers:,} containers with eight days of history")
    for name, query in (
        ("right-sizing by workload, a page of 50", "page_size=50"),
        ("right-sizing by container, a page of 50", "by=container&page_size=50"),
        ("right-sizing of one workload", "workload=w0"),
    ):
        await measure(client, name, f"reports/rightsizing/?{query}", rounds=3)
    ids = [pk async for pk in Container.objects.values_list("pk", flat=True)]
    for name in ("first", "again"):
        started, own = perf_counter(), process_time()
        sizes = await fetch_sizes(container_ids=ids, at=timezone.now())
        seconds, own = perf_counter() - started, process_time() - own
        print(f"  sizes of {len(sizes):,} containers, {name}: ", end="")
        print(f"{seconds:.2f} s, {own:.2f} s the worker's")


async def ask_samples(client: Any, options: argparse.Namespace) -> None:
    from django.utils import timezone

    from app import db
    from app.fleet import rollups
    from app.fleet.history import POINTS
    from app.fleet.partitions import HOURS as WEEKS
    from app.fleet.partitions import SAMPLES as DAYS
    from app.fleet.partitions import maintain_partitions

    now = timezone.now()
    for series in (DAYS, WEEKS):
        await maintain_partitions(now=now, keep_days=3, ahead_days=1, series=series)
    for total in (options.little, options.much):
        await db.execute("TRUNCATE fleet_container, fleet_workload, fleet_host CASCADE")
        # The same hour of the same workload in both; what grows is what is beside it.
        per_container = min(total // REPLICAS, 6 * 24 * 60)
        containers = max(REPLICAS, total // per_container)
        await make_containers(containers)
        async with db.atomic():
            # Every row's container is there: checking it ten million times takes minutes.
            await db.execute("SET LOCAL session_replication_role = replica")
            rows = await db.execute(SAMPLES, now, per_container)
            await db.execute(MARKS)
        started = perf_counter()
        rolled_up = await rollups.roll_up(now=now)
        seconds = perf_counter() - started
        await db.execute("ANALYZE")
        print(f"{rows:,} samples of {containers:,} containers, ", end="")
        print(f"{rolled_up:,} hours of them rolled up in {seconds:.1f} s")
        workload = await _workload()
        ids = await _containers(workload)
        start = now - timedelta(minutes=60)
        since = start.isoformat().replace("+00:00", "Z")
        questions = {
            "the newest samples of one container": f"containers/{ids[0]}/usage/",
            "the newest samples of one workload": f"usage/?workload={workload}",
            "a page of one container since an hour": f"usage/?container={ids[0]}&since={since}",
            "an hour of one workload by the minute": (
                f"usage/?workload={workload}&resolution=1m&since={since}"
            ),
            "right-sizing of one workload": f"reports/rightsizing/?workload={workload}",
        }
        for name, query in questions.items():
            await measure(client, name, query)
        if options.plans:
            step = timedelta(minutes=1)
            await explain(POINTS, ids, start, now, start, step)


async def make_containers(count: int) -> None:
    """One host, and workloads of REPLICAS containers each."""
    from django.utils import timezone

    from app.fleet.models import Container, Host, Workload

    host = await Host.objects.acreate(
        name="scale", cpus=64, memory_bytes=2**40, last_seen_at=timezone.now()
    )
    workloads = [
        Workload(name=f"w{number}", image="x", replicas=REPLICAS)
        for number in range(-(-count // REPLICAS))
    ]
    await Workload.objects.abulk_create(workloads)
    await Container.objects.abulk_create(
        Container(
            host=host,
            workload=workloads[number // REPLICAS],
            engine_id=f"scale-{number}",
            name=f"c{number}",
            state="running",
            memory_reservation_bytes=2**28,
            memory_limit_bytes=2**29,
        )
        for number in range(count)
    )


async def measure(client: Any, name: str, query: str, rounds: int = ROUNDS) -> None:
    """Some requests: the first, the others' median and the least time; the worker's own of it.

    The rest is PostgreSQL's, and the machine's other programs', which the least has least of.
    """
    seconds, own = [], []
    for _ in range(rounds + 1):
        started, own_started = perf_counter(), process_time()
        response = await client.get(f"/api/v1/{query}")
        seconds.append(perf_counter() - started)
        own.append(process_time() - own_started)
        assert response.status_code == 200, response.text
    taken, own_taken = statistics.median(seconds[1:]) * 1000, statistics.median(own[1:]) * 1000
    size = len(response.content) / 1024
    least = min(seconds) * 1000
    print(f"  {name:<42} first {seconds[0] * 1000:6.1f} ms, worker {own[0] * 1000:6.1f}, ", end="")
    print(f"then {taken:6.1f}, least {least:6.1f}, worker {own_taken:5.1f}", end="")
    print(f"  {size:7.1f} KiB")


async def explain(statement: str, *values: Any) -> None:
    """The plan of a statement as the application sends it, and what it took."""
    from app import db

    for row in await db.fetch(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {statement}", *values):
        print(f"    {next(iter(row.values()))}")


async def _workload() -> int:
    from app import db

    (row,) = await db.fetch("SELECT id FROM fleet_workload WHERE name = 'w0'")
    return int(row["id"])


async def _containers(workload: int) -> list[int]:
    from app import db

    rows = await db.fetch(
        "SELECT id FROM fleet_container WHERE workload_id = $1::bigint ORDER BY id", workload
    )
    return [row["id"] for row in rows]


if __name__ == "__main__":
    sys.exit(main())

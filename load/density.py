"""`python -m load.density`: what the density report costs a worker, at the size of a large fleet.

Fills a scratch database (made anew under var/load, or in the server that DATABASE_URL names) and
asks for the report through the ASGI application. Beside how long each answer takes it prints the
longest stretch of processor time for which the event loop served nobody else: what other requests
feel. (Not of wall time, which other programs on the machine would stretch.)
"""

import argparse
import asyncio
import gc
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time, thread_time
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATABASE = "stowage_density_load"
GIB = 2**30
REPORTS = (
    "",
    "?group_by=label:zone",
    "?over=7d",
    "?detail=containers",
    "?format=svg",
    "?format=svg&resource=cpu",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load.density", description=__doc__)
    parser.add_argument("--hosts", type=int, default=300)
    parser.add_argument("--containers", type=int, default=50, help="on each host")
    parser.add_argument("--minutes", type=int, default=60, help="of usage, a sample every 10 s")
    parser.add_argument(
        "--live", action="store_true", help="read all samples, none beforehand: as of few hosts"
    )
    options = parser.parse_args()
    with server():
        set_up()
        try:
            asyncio.run(run(options))
        finally:
            tear_down()
    return 0


@contextmanager
def server() -> Iterator[None]:
    """The server that DATABASE_URL names, or an embedded one for as long as the block runs."""
    if "DATABASE_URL" in os.environ:
        yield
        return
    from app.ops import embedded

    directory = ROOT / "var" / "load" / "postgres"
    os.environ["DATABASE_URL"] = embedded.start(directory)
    try:
        yield
    finally:
        embedded.stop(directory)


def set_up() -> None:
    """Django on an empty scratch database, its tables made."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings.test"
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {DATABASE}")
    connection.close()
    connection.settings_dict |= {"NAME": DATABASE, "SERVER": connection.settings_dict["NAME"]}
    call_command("migrate", verbosity=0)
    connection.close()


def tear_down() -> None:
    """Without the scratch database."""
    from django.db import connection

    connection.close()
    connection.settings_dict["NAME"] = connection.settings_dict["SERVER"]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    connection.close()


async def run(options: argparse.Namespace) -> None:
    from django.utils import timezone

    from app import db
    from app.accounts import services
    from app.fleet import density_history, recent
    from app.rest.test import APIClient
    from asgi import warm_up

    samples = await fill(options)
    print(f"{options.hosts} hosts, {options.hosts * options.containers:,} containers, ", end="")
    print(f"{samples:,} samples in the window")
    user = await services.create_user(username="load")
    _, text = await services.create_token(user=user, name="load", scopes=["read"])
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    await warm_up()
    if not options.live:
        started = perf_counter()
        count = await recent.refresh(now=timezone.now())
        print(f"  percentiles of {count:,} containers beforehand: {perf_counter() - started:.1f} s")
        started = perf_counter()
        hosts = await density_history.keep_hour(now=timezone.now())
        print(f"  the hour's sums of {hosts} hosts kept: {perf_counter() - started:.1f} s")
    for query in REPORTS:
        for _ in range(2):  # the second one finds plans and pages warm, and is the one printed
            line = await measure(client, query)
        print(f"  GET reports/density/{query:<26} {line}")
    await db.close()


async def measure(client: Any, query: str) -> str:
    """One request: how long it took, and how long the loop was held at a stretch."""
    stretches, rounds = [0.0], [0.0]
    watch = asyncio.create_task(_watch(stretches))
    gc.callbacks.append(timer := _time_rounds(rounds))
    await asyncio.sleep(0.01)
    started, own_started = perf_counter(), process_time()
    response = await client.get(f"/api/v1/reports/density/{query}")
    seconds, own = perf_counter() - started, process_time() - own_started
    await asyncio.sleep(0)
    watch.cancel()
    gc.callbacks.remove(timer)
    assert response.status_code == 200, response.text
    size = len(response.content) / 2**20
    held, collected = max(stretches) * 1000, max(rounds) * 1000
    return (
        f"{seconds:5.2f} s, {own:4.2f} the worker's, {size:5.2f} MiB, "
        f"loop held at most {held:3.0f} ms (longest garbage collection {collected:3.0f} ms)"
    )


def _time_rounds(rounds: list[float]) -> Callable[[str, dict[str, int]], None]:
    """A callback for `gc` that notes the processor time of each round."""
    started = 0.0

    def note(phase: str, info: dict[str, int]) -> None:
        nonlocal started
        if phase == "start":
            started = thread_time()
        else:
            rounds.append(thread_time() - started)

    return note


async def _watch(stretches: list[float]) -> None:
    while True:
        started = thread_time()
        await asyncio.sleep(0)
        stretches.append(thread_time() - started)


async def fill(options: argparse.Namespace) -> int:
    """Hosts, containers and their usage up to now; the number of samples."""
    from django.utils import timezone

    from app import db
    from app.fleet.models import Container, Host, Usage

    chance = random.Random(1)
    now = timezone.now()
    hosts = [
        Host(
            name=f"host-{number:03d}",
            labels={"zone": "abc"[number % 3]},
            cpus=16.0,
            memory_bytes=64 * GIB,
            reserved_memory_bytes=2 * GIB,
            last_seen_at=now,
        )
        for number in range(options.hosts)
    ]
    await Host.objects.abulk_create(hosts)
    for host in hosts:
        await Container.objects.abulk_create(
            _container(chance, host, number) for number in range(options.containers)
        )
    numbers = [pk async for pk in Container.objects.values_list("pk", flat=True)]
    stored = await db.copy_in(
        Usage,
        columns=["container", "at", "cpu_cores", "memory_bytes"],
        records=_samples(chance, numbers, now, options.minutes),
    )
    await db.execute("ANALYZE")
    return stored


def _container(chance: random.Random, host: Any, number: int) -> Any:
    from app.fleet.models import Container

    is_plain = chance.random() < 0.3
    return Container(
        host=host,
        name=f"program-{number:02d}",
        engine_id=f"{host.name}/{number}",
        state="running",
        cpu_reservation=None if is_plain else 0.2,
        memory_reservation_bytes=None if is_plain else GIB,
        memory_limit_bytes=None if is_plain else 2 * GIB,
    )


def _samples(
    chance: random.Random, containers: list[int], now: datetime, minutes: int
) -> Iterator[tuple[int, datetime, float, int]]:
    """In the order of their arrival: every container, then every container ten seconds later."""
    typical = {
        number: (chance.uniform(0.01, 0.4), chance.uniform(0.1, 1.2) * GIB) for number in containers
    }
    for step in range(minutes * 6 - 1, -1, -1):
        at = now - timedelta(seconds=10 * step)
        for number, (cpu, memory) in typical.items():
            noise = chance.uniform(0.7, 1.1)
            yield number, at, cpu * noise, int(memory * noise)


if __name__ == "__main__":
    sys.exit(main())

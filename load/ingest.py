"""`python -m load.ingest`: what storing samples costs one worker, at a steady rate.

Three hundred hosts of fifty containers send a sample of each every ten seconds: 1,500 samples a
second, thirty batches. Unlike `load.simulation` nothing else is asked meanwhile, and every tenth
batch is sent twice and every tenth backwards. Afterwards what is stored is what was sent, by count
and sum. Starts a database and one worker of its own under var/load/ingest, on loopback.

With `--peak` one worker is given batches of 1,000 samples, two at once, as fast as it takes them:
as JSON arrays, or with `--form ndjson` as lines. Each is acknowledged after its commit.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from load.simulation.stacks import ROOT, Stack, stack

MIB = 2**20
EVERY_SECONDS = 10.0
PEAK_BATCH, PEAK_BATCHES = 1_000, 400
FIRST_AT = datetime.now(UTC) - timedelta(minutes=1)


def as_lines(batch: list[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(sample).encode() for sample in batch)


FORMS: dict[str, tuple[str, Callable[[list[dict[str, Any]]], bytes]]] = {
    "json": ("application/json", lambda batch: json.dumps(batch).encode()),
    "ndjson": ("application/x-ndjson", as_lines),
}
SUMS = """
    SELECT count(*) AS samples, coalesce(sum(cpu_cores), 0) AS cpu,
        coalesce(sum(memory_bytes), 0)::bigint AS memory
    FROM fleet_usage
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load.ingest", description=__doc__)
    parser.add_argument("--hosts", type=int, default=300)
    parser.add_argument("--containers", type=int, default=50, help="on each host")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--peak", action="store_true", help="as fast as one worker takes them")
    parser.add_argument("--form", choices=sorted(FORMS), default="json", help="of batches, --peak")
    options = parser.parse_args()
    if not (0 < options.hosts <= 1000 and 0 < options.containers <= 200):
        parser.error("--hosts: 1 to 1000; --containers: 1 to 200")
    if not 0 < options.seconds <= 600:
        parser.error("--seconds: 1 to 600")
    with stack(ROOT / "var" / "load" / "ingest" / "postgres", 1) as (made, token, _):
        return asyncio.run((run_peak if options.peak else run)(options, made, token))


async def run(options: argparse.Namespace, made: Stack, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(made.urls[0], headers=headers) as session:
        hosts = [
            await register(session, number, options.containers) for number in range(options.hosts)
        ]
        sent: list[dict[str, Any]] = []
        every = min(EVERY_SECONDS, options.seconds)
        started, cpu = time.perf_counter(), made.cpu_seconds()
        for turn in range(round(options.seconds / every)):
            sent += await send_round(session, hosts, turn, started + turn * every, every)
        seconds = time.perf_counter() - started
        cores = (made.cpu_seconds() - cpu) / seconds
    print(f"{len(sent) / seconds:,.0f} samples a second for {seconds:.0f} s: {cores:.3f} cores")
    return await compare(sent)


async def run_peak(options: argparse.Namespace, made: Stack, token: str) -> int:
    content_type, write = FORMS[options.form]
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(made.urls[0], headers=headers) as session:
        count = -(-PEAK_BATCH // options.containers)
        hosts = [await register(session, number, options.containers) for number in range(count)]
    ids = [pk for host in hosts for pk in host][:PEAK_BATCH]
    turns = range(min(PEAK_BATCHES, 80 * options.seconds))
    made_ahead = [make_batch(ids, turn) for turn in turns]
    bodies = [write(batch) for batch in made_ahead]
    headers["Content-Type"] = content_type
    async with aiohttp.ClientSession(made.urls[0], headers=headers) as session:
        await send(session, write(make_batch(ids, -1)))  # what is made once, at the first request
        taken = itertools.count()
        started, cpu = time.perf_counter(), made.cpu_seconds()
        until = started + options.seconds
        await asyncio.gather(*(send_until(session, bodies, taken, until) for _ in range(2)))
        seconds, cores = time.perf_counter() - started, made.cpu_seconds() - cpu
    batches = min(next(taken) - 2, len(bodies))
    samples = batches * len(ids)
    print(
        f"{samples:,} samples as {options.form}: {samples / cores:,.0f} a second of the worker's"
        f" CPU time, {samples / seconds:,.0f} by the clock"
    )
    return await compare([*make_batch(ids, -1), *itertools.chain(*made_ahead[:batches])])


def make_batch(ids: list[int], turn: int) -> list[dict[str, Any]]:
    """A sample of each container, of another moment in each turn."""
    at = (FIRST_AT - timedelta(seconds=10 * turn)).isoformat()
    return [
        {
            "container": pk,
            "at": at,
            "cpu_cores": (pk + turn) % 64 / 64,
            "memory_bytes": (pk + turn) * MIB,
        }
        for pk in ids
    ]


async def send_until(
    session: aiohttp.ClientSession, bodies: list[bytes], taken: Iterator[int], until: float
) -> None:
    """Send one body after another. The one that is taken when the time is over is not sent."""
    while (turn := next(taken)) < len(bodies) and time.perf_counter() < until:
        await send(session, bodies[turn])


async def send(session: aiohttp.ClientSession, body: bytes) -> None:
    async with session.post("/api/v1/usage/", data=body) as response:
        assert response.status == 201, await response.text()
        await response.read()


async def compare(sent: list[dict[str, Any]]) -> int:
    """0 if what is stored is what was sent."""
    from app import db

    (stored,) = await db.fetch(SUMS)
    await db.close()
    wanted = (len(sent), sum(s["cpu_cores"] for s in sent), sum(s["memory_bytes"] for s in sent))
    found = (stored["samples"], stored["cpu"], stored["memory"])
    is_equal = found == wanted
    print(f"Stored: {found[0]:,} samples, {'as' if is_equal else 'NOT as'} sent, by count and sum.")
    return 0 if is_equal else 1


async def register(session: aiohttp.ClientSession, number: int, containers: int) -> list[int]:
    """A host with its containers; their ids."""
    now = datetime.now(UTC).isoformat()
    body = {
        "host": {"name": f"h{number}", "cpus": 16, "memory_bytes": 2**36, "engine": "docker"},
        "observed_at": now,
        "containers": [
            {"engine_id": f"h{number}-{n}", "name": f"c{n}", "state": "running"}
            for n in range(containers)
        ],
    }
    return list((await post(session, "hosts/observe/", body))["containers"].values())


async def send_round(
    session: aiohttp.ClientSession,
    hosts: list[list[int]],
    turn: int,
    started: float,
    every: float,
) -> list[dict[str, Any]]:
    """A batch of each host, spread evenly over so many seconds. What was sent."""
    sent: list[dict[str, Any]] = []
    at = datetime.now(UTC) - timedelta(seconds=1)
    async with asyncio.TaskGroup() as group:
        for number, ids in enumerate(hosts):
            delay = started + number * every / len(hosts) - time.perf_counter()
            await asyncio.sleep(max(0, delay))
            batch = [
                {
                    "container": pk,
                    "at": at.isoformat(),
                    "cpu_cores": (pk + turn) % 64 / 64,  # sums of these are exact
                    "memory_bytes": pk * MIB,
                }
                for pk in ids
            ]
            sent += batch
            if number % 10 == 1:
                batch.reverse()
            for _ in range(2 if number % 10 == 0 else 1):
                group.create_task(post(session, "usage/", batch))
    await asyncio.sleep(max(0, started + every - time.perf_counter()))
    return sent


async def post(session: aiohttp.ClientSession, path: str, body: Any) -> Any:
    async with session.post(f"/api/v1/{path}", json=body) as response:
        assert response.status < 300, await response.text()
        return await response.json()


if __name__ == "__main__":
    sys.exit(main())

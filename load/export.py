"""`python -m load.export`: what a worker holds while it streams a whole list, and after its client
has left.

Stores samples of hosts of different sizes and asks for each host's, as NDJSON and as CSV. The peak
of the worker's resident set is Linux's own (VmHWM, reset before each). Then a client leaves in the
middle, and it is timed how long the query and its connection outlive that. Starts a database and a
worker of its own under var/load/export, on loopback.
"""

import argparse
import asyncio
import sys
import time
from typing import Any

import aiohttp

from load.memory import forget_peak, peak_rss_bytes, rss_bytes
from load.simulation.stacks import ROOT, Stack, stack

MIB = 2**20
EACH = 1000
"""Samples of one container."""
BUSY = """
    SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()
    AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND xact_start IS NOT NULL
"""
HOST = "INSERT INTO fleet_host (name, cpus, memory_bytes, engine) VALUES (%s, 1, 1, 'docker') RETURNING id"  # noqa: E501
SAMPLES = """
    WITH made AS (
        INSERT INTO fleet_container (host_id, engine_id, name, state)
        SELECT %s, %s || '-' || n, 'c' || n, 'running' FROM generate_series(1, %s) n RETURNING id
    )
    INSERT INTO fleet_usage (container_id, at, cpu_cores, memory_bytes)
    SELECT id, now() - n * interval '1 second', n / 1000.0, n * 1024
    FROM made, generate_series(1, %s) n
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load.export", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 200_000, 1_000_000])
    parser.add_argument("--most", type=int, default=16, help="MiB that the largest may add")
    options = parser.parse_args()
    if not all(EACH <= rows <= 5_000_000 for rows in options.rows):
        parser.error(f"--rows: {EACH} to 5000000")
    with stack(ROOT / "var" / "load" / "export" / "postgres", 1) as (made, _, token):
        return asyncio.run(run(options, made, token))


async def run(options: argparse.Namespace, made: Stack, token: str) -> int:
    from app import db

    hosts = {rows: await fill(rows) for rows in options.rows}
    await db.execute("ANALYZE fleet_usage")
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=1800)
    async with aiohttp.ClientSession(made.urls[0], headers=headers, timeout=timeout) as session:
        await read_all(session, hosts[min(hosts)], "ndjson")  # its imports and plans
        grown = [
            await measure(session, made, rows, host, form)
            for form in ("ndjson", "csv")
            for rows, host in hosts.items()
        ]
        seconds = await leave(session, hosts[max(hosts)])
    print(f"A client left in the middle: its query and connection were free {seconds:.2f} s later.")
    await db.close()
    is_constant = max(grown) <= options.most * MIB
    print(f"Memory is {'' if is_constant else 'NOT '}constant, within {options.most} MiB.")
    return 0 if is_constant and seconds < 5 else 1


async def fill(rows: int) -> int:
    """A host with so many samples; its id."""
    from app import db

    name = f"export-{rows}"
    (host,) = await db.fetch(HOST, name)
    await db.execute(SAMPLES, host["id"], name, rows // EACH, EACH)
    return int(host["id"])


async def measure(
    session: aiohttp.ClientSession, made: Stack, rows: int, host: int, form: str
) -> int:
    """Reads all of a host's samples; how far the worker's peak was above what it held before."""
    pid = made.processes[0].pid
    forget_peak(pid)
    before, started, cpu = rss_bytes(pid), time.perf_counter(), made.cpu_seconds()
    lines, size = await read_all(session, host, form)
    seconds, cpu = time.perf_counter() - started, made.cpu_seconds() - cpu
    grown = peak_rss_bytes(pid) - before
    expected = rows // EACH * EACH + (form == "csv")
    assert lines == expected, (lines, expected)
    print(
        f"{form}, {rows:,} rows, {size / MIB:,.1f} MiB: peak {before / MIB:.1f} + {grown / MIB:.1f}"
        f" MiB; {seconds:.1f} s, {cpu / rows * 1e6:.0f} µs of CPU a row",
        flush=True,
    )
    return grown


async def read_all(session: aiohttp.ClientSession, host: int, form: str) -> tuple[int, int]:
    lines = size = 0
    async with ask(session, host, form) as response:
        assert response.status == 200, await response.text()
        async for chunk in response.content.iter_any():
            lines += chunk.count(b"\n")
            size += len(chunk)
    return lines, size


def ask(session: aiohttp.ClientSession, host: int, form: str) -> Any:
    return session.get("/api/v1/usage/", params={"host": str(host), "format": form})


async def leave(session: aiohttp.ClientSession, host: int) -> float:
    """Seconds from the client's leaving until the database has nothing to do for it any more."""
    from app import db

    async with ask(session, host, "ndjson") as response:
        await response.content.readany()
        assert (await db.fetch(BUSY))[0]["n"] == 1
        response.close()
    left_at = time.perf_counter()
    async with asyncio.timeout(30):
        while (await db.fetch(BUSY))[0]["n"]:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.01)
    return time.perf_counter() - left_at


if __name__ == "__main__":
    sys.exit(main())

"""`python -m load.answers`: how long the large questions take over HTTP, of one real worker.

Thirty days of one workload over the roll-ups of a hundred million samples; then of a fleet of three
hundred hosts with fifty containers each, a third of the hosts overfull: reports and repack plans.
Each is asked several times; printed are the first time, the median and the least of the others, and
the median of the worker's processor time. Meanwhile /healthz is asked for every 5 ms, and the
slowest answer is printed: what another client feels. Starts a database and a worker of its own
under var/load/answers, on loopback.
"""

import argparse
import asyncio
import statistics
import sys
from contextlib import suppress
from datetime import timedelta
from time import perf_counter
from typing import Any

import aiohttp

from load.density import fill
from load.scale import HOURS, SAMPLES_AN_HOUR, SUMMARIES, make_containers
from load.simulation.stacks import ROOT, Stack, stack

DAYS = 30
ROUNDS = 7


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load.answers", description=__doc__)
    parser.add_argument("--rolled-up", type=int, default=100_000_000, help="samples in roll-ups")
    parser.add_argument("--hosts", type=int, default=300)
    parser.add_argument("--containers", type=int, default=50, help="on each host")
    parser.add_argument("--minutes", type=int, default=10, help="of usage of the fleet")
    options = parser.parse_args()
    if not 0 < options.rolled_up <= 1_000_000_000:
        parser.error("--rolled-up: 1 to 1,000,000,000")
    if not (0 < options.hosts <= 1000 and 0 < options.containers <= 200):
        parser.error("--hosts: 1 to 1000; --containers: 1 to 200")
    with stack(ROOT / "var" / "load" / "answers" / "postgres", 1) as (made, _, token):
        asyncio.run(run(options, made, token))
    return 0


async def run(options: argparse.Namespace, made: Stack, token: str) -> None:
    from app import db

    async with aiohttp.ClientSession(
        made.urls[0], headers={"Authorization": f"Bearer {token}"}
    ) as session:
        await ask_history(options, Asker(session, made))
        await db.execute("TRUNCATE fleet_host, fleet_workload, fleet_usage_hour CASCADE")
        await ask_fleet(options, Asker(session, made))
    await db.close()


async def ask_history(options: argparse.Namespace, asker: "Asker") -> None:
    from django.utils import timezone

    from app import db
    from app.fleet.partitions import HOURS as WEEKS
    from app.fleet.partitions import maintain_partitions

    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    since = now - timedelta(days=DAYS)
    await maintain_partitions(now=now, keep_days=DAYS + 1, ahead_days=1, series=WEEKS)
    await make_containers(max(10, options.rolled_up // SAMPLES_AN_HOUR // (DAYS * 24)))
    rows = await db.execute(HOURS, since, now)
    await db.execute("ANALYZE")
    print(f"{rows:,} roll-ups of {rows * SAMPLES_AN_HOUR:,} samples")
    (row,) = await db.fetch("SELECT id FROM fleet_workload WHERE name = 'w0'")
    for form in ("json", "csv", "svg"):
        query = f"workload={row['id']}&resolution=1h&since={since:%Y-%m-%dT%H:%M:%SZ}&format={form}"
        await asker.ask(f"30 days of one workload, {form}", "GET", f"usage/?{query}", rounds=30)


async def ask_fleet(options: argparse.Namespace, asker: "Asker") -> None:
    from django.utils import timezone

    from app import db
    from app.fleet import recent
    from app.fleet.partitions import maintain_partitions

    now = timezone.now()
    await maintain_partitions(now=now, keep_days=2, ahead_days=1)
    samples = await fill(options)
    await db.execute(SUMMARIES, now - timedelta(hours=1))
    await db.execute(  # a third of the hosts hold more than they have, the others are half full
        "UPDATE fleet_container SET memory_reservation_bytes = CASE WHEN host_id % 3 = 0 THEN"
        " 1400000000 ELSE 200000000 + id % 37 * 20000000 END, cpu_reservation = 0.05 + id % 5 * 0.1"
    )
    await db.execute("VACUUM ANALYZE")
    await recent.refresh(now=timezone.now())
    count = options.hosts * options.containers
    print(f"{options.hosts} hosts, {count:,} containers, {samples:,} samples")
    await asker.ask("density report", "GET", "reports/density/")
    await asker.ask("density report as a picture", "GET", "reports/density/?format=svg")
    for by in ("workload", "container"):
        query = f"reports/rightsizing/?by={by}&page_size=50"
        await asker.ask(f"right-sizing by {by}, a page", "GET", query)
    for moves in (100, 1000, 5000):
        body = {"max_moves": moves}
        await asker.ask(f"repack, {moves} moves", "POST", "placements/repack/", body, rounds=3)
    body = {"cpu_reservation": 0.25, "memory_reservation_bytes": 2**29, "count": 500}
    await asker.ask("simulate 500 containers", "POST", "placements/simulate/", body, rounds=3)


class Asker:
    """One client that asks, and one beside it that feels how long others wait."""

    def __init__(self, session: aiohttp.ClientSession, made: Stack) -> None:
        self.session = session
        self.made = made

    async def ask(
        self, name: str, method: str, path: str, body: Any = None, rounds: int = ROUNDS
    ) -> None:
        seconds, own, waits = [], [], [0.0]
        beside = asyncio.create_task(self._wait_beside(waits))
        answer = b""
        for _ in range(rounds + 1):
            started, cpu = perf_counter(), self.made.cpu_seconds()
            async with self.session.request(method, f"/api/v1/{path}", json=body) as response:
                answer = await response.read()
                assert response.status == 200, answer[:500]
            seconds.append((perf_counter() - started) * 1000)
            own.append((self.made.cpu_seconds() - cpu) * 1000)
        beside.cancel()
        with suppress(asyncio.CancelledError):
            await beside
        print(
            f"  {name:<36} first {seconds[0]:6.0f} ms, then {statistics.median(seconds[1:]):6.0f},"
            f" least {min(seconds[1:]):6.0f}, worker {statistics.median(own[1:]):6.0f},"
            f" {len(answer) / 1024:7.1f} KiB; others waited {max(waits):4.0f} ms at most",
            flush=True,
        )

    async def _wait_beside(self, waits: list[float]) -> None:
        while True:
            started = perf_counter()
            async with self.session.get("/healthz") as response:
                await response.read()
            waits.append((perf_counter() - started) * 1000)
            await asyncio.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main())

"""A fleet that reports to a real API over HTTP, and the proof that nothing was lost or doubled.

    python -m load.simulation                                300 hosts, 50 containers each, a minute
    python -m load.simulation --hosts 20 --history-hours 30  with a past, for the reports
    python -m load.simulation --workers 3 --kill-every 2 --restart-database-every 15

Starts a database and workers of its own under var/load/simulation, on loopback, and stops them.
The same seed gives the same fleet.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from load.simulation.agents import Agents, Ledger, agents
from load.simulation.fleets import Host, fleet
from load.simulation.stacks import ROOT, Stack, stack

MOST_SECONDS, MOST_HOSTS, MOST_CONTAINERS = 3600.0, 1000, 200
HISTORY_STEP_SECONDS = 60.0
REPORTS = ("reports/density/", "reports/rightsizing/")


def main() -> int:
    options = read_options()
    random.seed(options.seed)
    with stack(options.var / "postgres", options.workers) as (made, token, reader):
        return asyncio.run(simulate(options, made, token, reader))


async def simulate(options: argparse.Namespace, made: Stack, token: str, reader: str) -> int:
    from app import db
    from load.simulation import proofs

    hosts = fleet(options.hosts, options.containers, options.seed)
    async with agents(made.urls, token) as all_agents:
        await send_history(all_agents, hosts, options.history_hours)
        past = all_agents.ledger.samples
        all_agents.ledger.seconds.clear()
        cpu, started = made.cpu_seconds(), time.monotonic()
        breaking = asyncio.create_task(break_things(made, options))
        await all_agents.report(hosts, live(options.seconds, options.interval, random.Random(1)))
        breaking.cancel()
        await asyncio.gather(breaking, return_exceptions=True)
        seconds = time.monotonic() - started
        cores = (made.cpu_seconds() - cpu) / seconds
        made.wait_until_ready()
        await read_reports(all_agents, made.urls[0], reader)
        ledger = all_agents.ledger
    print_figures(options, ledger, past, seconds, cores)
    await db.open()
    try:
        differences = await proofs.compare(ledger)
        hour_samples, hour_differences = await proofs.compare_hours()
    finally:
        await db.close()
    for line in [*differences, *hour_differences][:20]:
        print(line, file=sys.stderr)
    if differences or hour_differences:
        print("What is stored is NOT what was sent.", file=sys.stderr)
        return 1
    print(
        f"Stored is what was sent: {ledger.samples:,} samples of {len(ledger.counts):,} containers"
    )
    print(f"agree by count and by sum; so do {hour_samples:,} samples in hours that are rolled up.")
    return 0


async def send_history(all_agents: Agents, hosts: list[Host], hours: float) -> None:
    """The fleet's past, a sample a minute, as quick as the API takes it."""
    now = time.time()

    async def moments() -> AsyncIterator[float]:
        at = now - hours * 3600
        while at < now - HISTORY_STEP_SECONDS:
            yield at
            at += HISTORY_STEP_SECONDS

    await all_agents.report(hosts, moments)


def live(seconds: float, interval: float, chance: random.Random) -> Callable[[], Any]:
    """Moments as they come: hosts don't keep step with each other."""
    until = time.monotonic() + seconds

    async def moments() -> AsyncIterator[float]:
        due = time.monotonic() + chance.uniform(0, interval)
        while due < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            yield time.time()
            due += interval

    return moments


async def break_things(made: Stack, options: argparse.Namespace) -> None:
    """Kills workers and restarts the database, each at its pace, until it is cancelled."""
    async with asyncio.TaskGroup() as group:
        if options.kill_every:
            group.create_task(_kill(made, options.kill_every))
        if options.restart_database_every:
            group.create_task(_restart_database(made, options.restart_database_every))


async def _kill(made: Stack, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds * random.uniform(0.5, 1.5))
        number = random.randrange(len(made.processes))
        made.kill_worker(number)
        made.start_worker(number)


async def _restart_database(made: Stack, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        await asyncio.to_thread(made.restart_database)


async def read_reports(all_agents: Agents, url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    for report in REPORTS:
        started = time.perf_counter()
        async with all_agents.session.get(f"{url}/api/v1/{report}", headers=headers) as answer:
            size = len(await answer.read())
            took = time.perf_counter() - started
            print(f"GET {report:24} {answer.status} {size:>10,} bytes in {took:.2f} s")
            answer.raise_for_status()


def print_figures(
    options: argparse.Namespace, ledger: Ledger, past: int, seconds: float, cores: float
) -> None:
    rate = (ledger.samples - past) / seconds
    print(
        f"{options.hosts} hosts, {options.containers} containers each, {past:,} samples of the past"
    )
    print(f"{rate:,.0f} samples a second for {seconds:.0f} s, {cores:.2f} cores of all workers")
    if len(ledger.seconds) > 1:
        cuts = statistics.quantiles(ledger.seconds, n=100)
        print(
            f"{len(ledger.seconds):,} requests: p50 {cuts[49] * 1000:.0f} ms, "
            f"p99 {cuts[98] * 1000:.0f} ms; {ledger.repeats} were repeated"
        )


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=_number(MOST_HOSTS), default=300)
    parser.add_argument("--containers", type=_number(MOST_CONTAINERS), default=50, help="on each")
    parser.add_argument("--seconds", type=_number(MOST_SECONDS), default=60)
    parser.add_argument("--interval", type=_number(60.0), default=10.0, help="between two samples")
    parser.add_argument("--history-hours", type=_number(47.0, least=0), default=0)
    parser.add_argument("--workers", type=_number(16), default=1)
    parser.add_argument("--kill-every", type=_number(MOST_SECONDS, least=0), default=0)
    parser.add_argument("--restart-database-every", type=_number(MOST_SECONDS, least=0), default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--var", type=Path, default=ROOT / "var" / "load" / "simulation")
    return parser.parse_args()


def _number(most: float, *, least: float = 0.05) -> Callable[[str], Any]:
    def read(text: str) -> float | int:
        number = type(most)(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"write a number from {least:g} to {most:g}")
        return number

    return read


if __name__ == "__main__":
    sys.exit(main())

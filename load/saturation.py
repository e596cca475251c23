"""How Stowage answers near saturation and above it, beside the handler by hand.

    python -m load.saturation                   about 3 minutes
    python -m load.saturation --work list --rounds 1 --seconds 2
    python -m load.saturation --only-above

Requests arrive in an open loop: latency counts from the moment at which a request was due
(corrected for coordinated omission). First at 80 % of what each serves at most, at even distances
and as strangers come; then at twice that, where Stowage has to shed: how much it still answers, how
quickly it refuses the rest, whether health probes are answered. Servers run on one core, the rest
on the other; everything is on loopback and is stopped.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from load.bench import data
from load.bench.arrivals import Arrivals, moments, send
from load.bench.generators import MISSING, is_installed, run_wrk, turns, written
from load.bench.servers import OTHER_CORE, Server, on_core, serving
from load.bench.stacks import ROOT, STACKS
from load.bench.works import WORKS, Work

CONNECTIONS = 64
CROWD = 1500
"""Connections at twice the peak: more than `MAX_REQUESTS_UNDER_WAY`."""
PROBE_SECONDS = 0.1
SETTLE_SECONDS = 2.0
"""Until as many requests are under way as a worker takes, the first of them are answered."""

CALM_SECONDS = 0.5
"""Until the worker lets in as many as before the crowd (`app.rest.shedding`)."""


@dataclass(frozen=True)
class Target:
    """A server, and what is asked of it."""

    server: Server
    work: Work
    tokens: tuple[str, ...]
    seconds: float

    def requests(self) -> list[bytes]:
        return list(turns(self.work.asks(), self.tokens if self.server.stack.has_auth else None))

    def peak(self) -> float:
        """Requests a second in a closed loop: what it serves at most."""
        with written(self.requests()) as file:
            outcome = run_wrk(self.server.port, file, seconds=self.seconds, connections=CONNECTIONS)
        assert not outcome.refused + outcome.broken, outcome
        return outcome.per_second

    def load(self, rate: float, *, is_random: bool, connections: int) -> Arrivals:
        due = moments(rate, self.seconds, is_random=is_random)
        with on_core(OTHER_CORE):
            return asyncio.run(
                send(self.server.port, self.requests(), due, self.seconds, connections)
            )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reads = [name for name, work in WORKS.items() if not work.writes and not work.needs_etag]
    parser.add_argument("--work", choices=reads, default="detail")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long a load lasts")
    parser.add_argument("--only-above", action="store_true", help="at twice the peak alone")
    options = parser.parse_args()
    if not 1 <= options.rounds <= 20 or not 1 <= options.seconds <= 60:
        parser.error("--rounds: 1 to 20; --seconds: 1 to 60")
    if not is_installed():
        print(MISSING, file=sys.stderr)
        return 2
    work = WORKS[options.work]
    with (
        data.prepared(ROOT / "var" / "bench") as made,
        serving(STACKS["handwritten"], made.url, None) as handwritten,
        serving(STACKS["stowage"], made.url, made.tokens[0]) as stowage,
    ):
        targets = [
            Target(server, work, made.tokens, options.seconds) for server in (handwritten, stowage)
        ]
        broken = 0 if options.only_above else measure_near(targets, options.rounds)
        broken += measure_above(targets[1], options.rounds)
    return 1 if broken else 0


def measure_near(targets: Sequence[Target], rounds: int) -> int:
    """Latencies at 80 % of each one's peak; the requests that had no answer."""
    broken = 0
    for is_random, way in ((False, "at even distances"), (True, "as strangers come")):
        found: dict[str, list[float]] = {}
        for number in range(rounds):
            for target in targets if number % 2 else reversed(targets):
                name, rate = target.server.stack.name, 0.8 * target.peak()
                came = target.load(rate, is_random=is_random, connections=CONNECTIONS * 4)
                p50, p99 = came.percentile_ms(0.5), came.percentile_ms(0.99)
                broken += came.broken
                print(
                    f"80 % {way}, {name}: {rate:,.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms,"
                    f" refused {came.answered_in_time.get(503, 0)}",
                    flush=True,
                )
                found.setdefault(name, []).append(p99)
        mine, base = statistics.median(found["stowage"]), statistics.median(found["handwritten"])
        print(f"80 % {way}: p99 {mine:.2f} ms, by hand {base:.2f} ms: {mine / base:.2f} ×\n")
    return broken


def measure_above(target: Target, rounds: int) -> int:
    """At twice the peak; the requests that had no answer, or were refused without a remedy."""
    broken, shares = 0, []
    peak = target.peak()
    for _ in range(rounds):
        due = moments(2 * peak, target.seconds + SETTLE_SECONDS, is_random=False)
        busy = target.server.cpu_seconds()
        began = time.monotonic()
        with on_core(OTHER_CORE):
            came, probes = asyncio.run(_load_and_probe(target, due))
        busy = (target.server.cpu_seconds() - busy) / (time.monotonic() - began)
        time.sleep(CALM_SECONDS)
        after = target.peak()
        around = (peak + after) / 2  # the machine may be another's, too, for a while
        shares.append(came.per_second(200) / around)
        refused = came.answered_in_time.get(503, 0)
        print(
            f"Twice the peak of {peak:,.0f}/s ({after:,.0f} afterwards), {came.due:,} requests:"
            f" {came.per_second(200):,.0f}/s served ({shares[-1]:.0%} of the peak before and"
            f" after), {refused / came.seconds:,.0f}/s refused; answered in all"
            f" {came.per_second():,.0f}/s; the worker's core was busy for {busy:.0%}\n"
            f"served: p50 {came.percentile_ms(0.5):.0f} ms, p99 {came.percentile_ms(0.99):.0f} ms;"
            f" 503: p50 {came.percentile_ms(0.5, 503):.0f} ms, p99"
            f" {came.percentile_ms(0.99, 503):.0f} ms, without Retry-After"
            f" {came.without_retry_after}\n"
            f"health probes: {len(probes)} answered, the slowest after {max(probes) * 1e3:.0f} ms;"
            f" no answer: {came.broken}",
            flush=True,
        )
        broken += came.broken + came.without_retry_after
        peak = after
    print(f"Served at twice the peak: {statistics.median(shares):.0%} of it")
    return broken


async def _load_and_probe(target: Target, due: Iterator[float]) -> tuple[Arrivals, list[float]]:
    probes: list[float] = []
    probing = asyncio.create_task(_probe(target.server.port, probes))
    try:
        seconds = target.seconds + SETTLE_SECONDS
        came = await send(
            target.server.port,
            target.requests(),
            due,
            seconds,
            CROWD,
            settle_seconds=SETTLE_SECONDS,
        )
    finally:
        probing.cancel()
        with suppress(asyncio.CancelledError):
            await probing
    return came, probes


async def _probe(port: int, took: list[float]) -> None:
    """Ask for /healthz as an orchestrator does: over a connection of its own each time."""
    while True:
        started = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200"), answer
        took.append(time.perf_counter() - started)
        await asyncio.sleep(PROBE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())

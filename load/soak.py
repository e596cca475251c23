"""Whether a worker grows: 200,000 requests of many kinds, and its memory as they go by.

    python -m load.soak                     some minutes
    python -m load.soak --requests 20000

Reads, pages, filters that are never the same twice, creations, batches, answers by ETag, refusals
and the fleet's own endpoints, in production's settings, with a hundred users' tokens. The slope is
that of the line with the least squares through the memory (PSS) since the first quarter, when
caches and pools have filled. Everything is on loopback.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import orjson

from load.bench import checks, data
from load.bench.generators import MISSING, is_installed, run_wrk, turns, written
from load.bench.servers import Server, serving
from load.bench.stacks import ROOT, STACKS
from load.bench.works import SERIAL, WORKS, Ask

CONNECTIONS = 16


def mixed_asks(server: Server) -> list[Ask]:
    """The kinds in turn, so that a thousand requests hold each as often as any other thousand."""
    workload = orjson.dumps({"name": f"soak-{SERIAL}", "image": "registry.example/soak:1"})
    kinds: list[Sequence[Ask]] = [
        [Ask(f"/bench/hosts/?name={SERIAL}")],
        *(WORKS[name].asks() for name in ("empty", "detail", "list", "detail", "cursor")),
        checks.with_etags(server, WORKS["etag"], WORKS["etag"].asks()[:20]) or [],
        WORKS["create"].asks(),
        WORKS["create"].wrong,
        [Ask(f"/bench/{SERIAL}/"), Ask("/bench/hosts/999999/"), Ask("/bench/hosts/?page=0")],
        [Ask("/api/v1/hosts/"), Ask("/api/v1/containers/?state=running"), Ask("/healthz")],
        [Ask("/api/v1/reports/density/"), Ask("/api/v1/workloads/?page_size=5")],
        [Ask("/api/v1/workloads/", "POST", workload)],
    ]
    asks = [kind[n % len(kind)] for n in range(100) for kind in kinds]
    small = orjson.dumps(orjson.loads(WORKS["ingest"].asks()[0].body)[:50])
    return [*asks, *(replace(one, body=small) for one in WORKS["ingest"].asks())]


def soak(server: Server, made: data.Data, count: int) -> Iterator[tuple[int, int]]:
    """Requests so far, and the memory of the server at that point."""
    sent = 0
    with written(turns(mixed_asks(server), made.tokens)) as file:
        while sent < count:
            outcome = run_wrk(server.port, file, seconds=1, connections=CONNECTIONS)
            assert not outcome.broken, outcome
            sent += outcome.requests
            made.clean()
            yield sent, server.pss_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=200_000)
    options = parser.parse_args()
    if not 1_000 <= options.requests <= 2_000_000:
        parser.error("--requests: 1000 to 2000000")
    if not is_installed():
        print(MISSING, file=sys.stderr)
        return 2
    points = []
    with (
        data.prepared(ROOT / "var" / "bench") as made,
        serving(STACKS["stowage"], made.url, made.tokens[0]) as server,
    ):
        print(f"idle: {server.pss_bytes() / 2**20:.1f} MiB", flush=True)
        told = 0
        for sent, size in soak(server, made, options.requests):
            points.append((sent, size))
            if sent - told >= options.requests / 10:
                told = sent
                print(f"{sent:>9,} requests: {size / 2**20:.1f} MiB", flush=True)
    late = [(sent, size) for sent, size in points if sent >= options.requests / 4]
    if len(late) < 2:
        print("Too few points for a slope.")
        return 0
    slope, _ = statistics.linear_regression(*zip(*late, strict=True))
    print(f"Slope since the first quarter: {slope * 1000 / 1024:+.2f} KiB for 1,000 requests")
    return 0


if __name__ == "__main__":
    sys.exit(main())

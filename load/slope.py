"""How the cost of a list grows with its rows, beside the handler by hand.

    python -m load.slope                    about a minute
    python -m load.slope --rounds 1 --seconds 1

CPU time of the server per request for pages of 10, 100 and 1,000 rows with count, interleaved; the
slope is that of the line with the least squares through the medians. Everything is on loopback.
"""

import argparse
import statistics
import sys

from load.bench import data
from load.bench.generators import MISSING, is_installed
from load.bench.measures import run_work
from load.bench.servers import serving
from load.bench.stacks import ROOT, STACKS
from load.bench.works import Ask, Work

ROWS = (10, 100, 1_000)


def list_of(rows: int) -> Work:
    path = f"/bench/hosts/?page=1&page_size={rows}"
    return Work(f"list of {rows:,}", f"page of {rows:,} with count", lambda: [Ask(path)])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long one run lasts")
    options = parser.parse_args()
    if not 1 <= options.rounds <= 20 or not 1 <= options.seconds <= 60:
        parser.error("--rounds: 1 to 20; --seconds: 1 to 60")
    if not is_installed():
        print(MISSING, file=sys.stderr)
        return 2
    found: dict[tuple[str, int], list[float]] = {}
    with (
        data.prepared(ROOT / "var" / "bench") as made,
        serving(STACKS["handwritten"], made.url, None) as handwritten,
        serving(STACKS["stowage"], made.url, made.tokens[0]) as stowage,
    ):
        for number in range(-1, options.rounds):  # the first warms up
            for rows in ROWS:
                for server in (handwritten, stowage) if number % 2 else (stowage, handwritten):
                    run = run_work(server, list_of(rows), made, options.seconds)
                    assert run is not None
                    assert not run.outcome.refused + run.outcome.broken, run.outcome
                    if number >= 0:
                        key = server.stack.name, rows
                        found.setdefault(key, []).append(run.cpu_microseconds)
    tell({key: statistics.median(times) for key, times in found.items()})
    return 0


def tell(times: dict[tuple[str, int], float]) -> None:
    slopes = {}
    for name in ("handwritten", "stowage"):
        mine = [times[name, rows] for rows in ROWS]
        slope, fixed = statistics.linear_regression(ROWS, mine)
        slopes[name] = slope
        shown = ", ".join(f"{one:,.0f}" for one in mine)
        print(f"{name}: {shown} µs for {ROWS} rows; {slope:.2f} µs a row, {fixed:.0f} at none")
    print(f"Slope: {slopes['stowage'] / slopes['handwritten']:.2f} × the handler's")


if __name__ == "__main__":
    sys.exit(main())

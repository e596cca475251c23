"""Stowage and its peers at the same work, in one run on one machine.

    python -m load.bench             about 20 minutes
    python -m load.bench --quick     about 5
    python -m load.bench --check     compares the answers, measures nothing
    python -m load.bench --stacks handwritten,stowage --work empty,detail,list

Starts everything that it needs on loopback, and stops it. Keeps what it makes in var/bench/:
the table (results.md) and its figures (results.json).
"""

import argparse
import fcntl
import sys
import time
from pathlib import Path
from typing import Any

from app.ops import embedded
from load.bench import data, reports
from load.bench.environments import EnvironmentSetupError, install_peers
from load.bench.generators import MISSING, is_installed
from load.bench.measures import Plan, Results, compare, measure
from load.bench.servers import ServerError
from load.bench.stacks import ROOT, STACKS
from load.bench.works import WORKS

FULL = (5, 3.0)
QUICK = (2, 1.0)


def main() -> int:
    options = read_options()
    if not is_installed():
        print(MISSING, file=sys.stderr)
        return 2
    var = options.var.resolve()
    var.mkdir(parents=True, exist_ok=True)
    with (var / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(f"Another run uses {var}. Wait for it, or name another --var.", file=sys.stderr)
            return 2
        try:
            return run(options, var)
        except (ServerError, EnvironmentSetupError, embedded.EmbeddedError) as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            embedded.stop(var / "postgres")


def run(options: argparse.Namespace, var: Path) -> int:
    plan = Plan(options.stacks, options.work, options.rounds, options.seconds)
    if any(stack.is_peer for stack in plan.stacks):
        install_peers()
    started_at = time.monotonic()
    prepared = data.prepare(var / "postgres")

    def tell(line: str) -> None:
        print(f"[{time.monotonic() - started_at:5.0f} s] {line}", flush=True)

    if options.check:
        results = Results()
        compare(plan, prepared, results, tell)
    else:
        results = measure(plan, prepared, var / "postgres", tell)
        keep(plan, results, var)
    problems = [*results.differences, *find_failures(results)]
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


def keep(plan: Plan, results: Results, var: Path) -> None:
    table = reports.render(plan, results)
    reports.write_json(var / "results.json", plan, results)
    (var / "results.md").write_text(table + "\n", encoding="utf-8")
    print(f"\n{table}\n\nKept in {var}.")


def find_failures(results: Results) -> list[str]:
    return [
        f"{stack} {work}: {one.failures} requests failed."
        for stack, works in results.figures.items()
        for work, one in works.items()
        if one.failures
    ]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--check", action="store_true", help="compare the answers, no more")
    parser.add_argument("--stacks", type=_chosen(STACKS), default=list(STACKS.values()))
    parser.add_argument("--work", type=_chosen(WORKS), default=list(WORKS.values()))
    parser.add_argument("--rounds", type=int, help="how often each is measured")
    parser.add_argument("--seconds", type=float, help="how long one measurement lasts")
    parser.add_argument("--var", type=Path, default=ROOT / "var" / "bench")
    options = parser.parse_args()
    rounds, seconds = QUICK if options.quick else FULL
    options.rounds = options.rounds or rounds
    options.seconds = options.seconds or seconds
    return options


def _chosen(known: dict[str, Any]) -> Any:
    def read(text: str) -> list[Any]:
        unknown = set(text.split(",")) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(
                f"{', '.join(sorted(unknown))} is unknown. Known are: {', '.join(known)}."
            )
        return [known[name] for name in text.split(",")]

    return read


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    sys.exit(main())

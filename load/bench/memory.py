"""What one worker holds in memory: idle, under load, and whether it grows with the requests.

    python -m load.bench.memory                                    200,000 requests
    python -m load.bench.memory --requests 2000 --stacks stowage   a short one

Serves the stacks of the benchmark one after the other, from data that it makes, and loads each with
all of its work in turn. Prints PSS (shared pages divided among those who share them) after each
part of the requests, and the slope over the second half, in bytes a request.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.ops import embedded
from load.bench import checks
from load.bench.data import Data, prepare
from load.bench.environments import install_peers
from load.bench.generators import MISSING, is_installed, run_wrk, turns, written
from load.bench.servers import Server, move_postgres, serving
from load.bench.stacks import ROOT, STACKS
from load.bench.works import WORKS

SECONDS = 2.0
"""How long one part of one work lasts."""


@dataclass
class Course:
    """PSS over requests that were answered; the first is idle."""

    stack: str
    requests: list[int] = field(default_factory=lambda: [0])
    pss_bytes: list[int] = field(default_factory=list)

    @property
    def slope(self) -> float:
        """Least squares over the second half, when everything has been used once."""
        half = len(self.requests) // 2
        return slope(self.requests[half:], self.pss_bytes[half:])

    def line(self) -> str:
        idle, most = self.pss_bytes[0] / 2**20, max(self.pss_bytes) / 2**20
        return (
            f"{self.stack}: {idle:.1f} MiB idle, {most:.1f} under load;"
            f" {self.requests[-1]} requests, {self.slope:+.2f} bytes a request"
        )


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - middle_x) ** 2 for x in xs)
    if not spread:
        return 0.0
    return sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / spread


def follow(server: Server, data: Data, requests: int) -> Course:
    course = Course(server.stack.name, pss_bytes=[server.pss_bytes()])
    while course.requests[-1] < requests:
        done = sum(load(server, data, name) for name in WORKS)
        course.requests.append(course.requests[-1] + done)
        course.pss_bytes.append(server.pss_bytes())
        print(f"  {course.requests[-1]:8d} {course.pss_bytes[-1] / 2**20:6.1f} MiB", flush=True)
    return course


def load(server: Server, data: Data, name: str) -> int:
    """One part of one work; how many requests were answered."""
    work = WORKS[name]
    asks = checks.with_etags(server, work, work.asks())
    if asks is None:
        return 0
    with written(turns(asks, data.tokens if server.stack.has_auth else None)) as file:
        outcome = run_wrk(server.port, file, seconds=SECONDS, connections=work.connections)
    if work.writes:
        data.clean()
    return outcome.requests


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stacks", default="handwritten,fastapi,stowage")
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--var", type=Path, default=ROOT / "var" / "bench")
    options = parser.parse_args()
    if not is_installed():
        print(MISSING, file=sys.stderr)
        return 2
    stacks = [STACKS[name] for name in options.stacks.split(",")]
    if any(stack.is_peer for stack in stacks):
        install_peers()
    postgres = options.var.resolve() / "postgres"
    courses = []
    try:
        data = prepare(postgres)
        move_postgres(postgres)
        for stack in stacks:
            print(stack.title, flush=True)
            with serving(stack, data.url, data.tokens[0]) as server:
                courses.append(follow(server, data, options.requests))
    finally:
        embedded.stop(postgres)
    report = [vars(course) for course in courses]
    (options.var / "memory.json").write_text(json.dumps(report) + "\n", encoding="utf-8")
    print("\n".join(course.line() for course in courses))
    return 0


if __name__ == "__main__":
    sys.exit(main())

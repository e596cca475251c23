"""Fleets to report on: made from a seed, the same each time."""

import random
from datetime import UTC, datetime, timedelta

from app.fleet.density import Container, Host, Report
from app.fleet.shares import Measure

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
GIB = 2**30
PROGRAMS = ("web", "api", "worker", "db", "cache", "queue", "search", "auth", "mail", "metrics")


def make_fleet(hosts: int, containers: int, *, seed: int = 1) -> Report:
    """A report on so many hosts of 16 to 64 GiB with so many containers each, of all kinds:
    reserved or not, limited or not, idle, busy, over their reservation, stale, paused, unmeasured.
    """
    chance = random.Random(seed)
    fleet = [_make_host(chance, number, containers) for number in range(1, hosts + 1)]
    return Report.of(fleet, at=NOW, window_hours=1.0)


def _make_host(chance: random.Random, number: int, containers: int) -> Host:
    size = chance.choice((16, 32, 64))
    weights = [chance.lognormvariate(0, 0.9) for _ in range(containers)]
    reserved = size * chance.uniform(0.45, 1.05)
    parts = [weight / sum(weights) for weight in weights]
    is_silent = chance.random() < 0.06
    heard_at = NOW - timedelta(hours=2 if is_silent else 0)
    return Host(
        id=number,
        name=f"{chance.choice(('ams', 'fra', 'lhr'))}-{number:02d}",
        labels={"zone": "a"},
        last_seen_at=heard_at,
        cpus=size / 4,
        memory_bytes=size * GIB,
        reserved_cpus=0.25,
        reserved_memory_bytes=size * GIB // 16,
        containers=tuple(
            _make_container(chance, number * 1000 + index, part * reserved, heard_at)
            for index, part in enumerate(parts)
        ),
    )


def _make_container(
    chance: random.Random, number: int, size: float, heard_at: datetime
) -> Container:
    fill = chance.choice((chance.uniform(0.05, 0.3), chance.uniform(0.3, 0.98), 1.1))
    kind = chance.choices(("whole", "unlimited", "plain", "unmeasured"), (70, 15, 13, 2))[0]
    heard_at -= timedelta(minutes=9 * (chance.random() < 0.02))

    def measure(amount: float) -> Measure:
        if kind == "unmeasured":
            return Measure(reservation=amount)
        return Measure(
            reservation=None if kind == "plain" else amount,
            limit=amount * 1.5 if kind == "whole" else None,
            current=amount * fill if heard_at == NOW else None,
            p95=amount * min(fill * chance.uniform(1, 1.3), 1.2),
        )

    return Container(
        id=number,
        name=f"{chance.choice(PROGRAMS)}-{number % 1000}",
        state=chance.choices(("running", "paused", "restarting"), (95, 2, 3))[0],
        heard_at=heard_at,
        samples=0 if kind == "unmeasured" else 360,
        cpu=measure(size / 5),
        memory=measure(float(int(size * GIB))),
    )

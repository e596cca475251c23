"""What is asked of every stack: the work, as raw requests, made anew for each run from one seed."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import orjson

from load.bench.stacks.links import write_cursor
from load.bench.stowage.environment import HOST_HEADER

HOSTS, TEAMS, SAMPLES_PER_HOST = 1_000, 50, 200
FIRST_AT = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=1)
BATCH = 1_000
SERIAL = "@@@@@@@@@@@@"
"""Stands in a body for a number that is another in each request; the generator fills it in."""


@dataclass(frozen=True)
class Ask:
    """One request."""

    path: str
    method: str = "GET"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def raw(self, token: str | None) -> bytes:
        """As bytes on the wire."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {HOST_HEADER}"]
        lines += ["Accept: application/json"]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.method != "GET":
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True)
class Work:
    """A kind of request: how it is called, which status answers it, what of the answer differs
    from stack to stack by nature.
    """

    name: str
    title: str
    asks: Callable[[], Sequence[Ask]]
    status: int = 200
    masked: tuple[str, ...] = ()
    needs_etag: bool = False
    writes: bool = False
    connections: int = 8
    """How many requests are under way at once."""
    wrong: tuple[Ask, ...] = field(default=())
    """Requests that every stack has to refuse with a 4xx."""


def _post(path: str, data: Any) -> Ask:
    return Ask(path, "POST", orjson.dumps(data))


def _details() -> list[Ask]:
    return [Ask(f"/bench/hosts/{pk}/") for pk in range(1, 101)]


def _pages() -> list[Ask]:
    return [Ask(f"/bench/hosts/?page={page}") for page in range(1, HOSTS // 50 + 1)]


def _cursors() -> list[Ask]:
    """Pages in the middle, so that there is one before and one after."""
    cursor = quote(write_cursor(FIRST_AT + STEP * (SAMPLES_PER_HOST // 2 + 40)))
    return [
        Ask(f"/bench/samples/?cursor={cursor}&host={host}&ordering=-at") for host in range(1, 101)
    ]


def _host(team: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"made-{SERIAL}",
        "cpus": 8,
        "memory_bytes": 16 * 2**30,
        "team_id": team,
        "labels": {"zone": "north", "rack": "7"},
        **changes,
    }


def _creates() -> list[Ask]:
    return [_post("/bench/hosts/", _host(team)) for team in range(1, TEAMS + 1)]


def _batches() -> list[Ask]:
    """Of hosts whose samples nobody reads."""
    chance = random.Random(7)
    return [
        _post("/bench/samples/", [_sample(chance, batch * BATCH + n) for n in range(BATCH)])
        for batch in range(10)
    ]


def _sample(chance: random.Random, n: int) -> dict[str, Any]:
    return {
        "host": HOSTS - n % 100,
        "at": (FIRST_AT + timedelta(days=30, seconds=n)).isoformat().replace("+00:00", "Z"),
        "cpu": round(chance.uniform(0, 8), 3),
        "memory_bytes": chance.randrange(2**34),
    }


_GOOD_SAMPLE = _sample(random.Random(8), 1)

WORKS = {
    work.name: work
    for work in (
        Work("empty", "empty answer", lambda: [Ask("/bench/empty/")]),
        Work("detail", "one row, foreign key nested", _details),
        Work("list", "page of 50 with count", _pages),
        Work("cursor", "page of 50 by cursor, filtered, ordered", _cursors),
        Work(
            "create",
            "create with validation",
            _creates,
            status=201,
            masked=("id", "created_at"),
            writes=True,
            wrong=(
                _post("/bench/hosts/", _host(1, cpus=-1)),
                _post("/bench/hosts/", _host(1, name="n" * 101)),
                _post("/bench/hosts/", _host(1, memory_bytes="much")),
                _post("/bench/hosts/", _host(TEAMS + 1)),
                _post("/bench/hosts/", _host(1, name="host-1")),
            ),
        ),
        Work(
            "ingest",
            f"batch of {BATCH:,} samples",
            _batches,
            status=201,
            writes=True,
            connections=2,
            wrong=(
                _post("/bench/samples/", [_GOOD_SAMPLE, {**_GOOD_SAMPLE, "cpu": -1}]),
                _post("/bench/samples/", [_GOOD_SAMPLE, {**_GOOD_SAMPLE, "at": "yesterday"}]),
                _post("/bench/samples/", [_GOOD_SAMPLE, {**_GOOD_SAMPLE, "host": HOSTS + 1}]),
            ),
        ),
        Work("etag", "304 by ETag", _details, status=304, needs_etag=True),
    )
}

"""An example fleet, the same on every run: for pictures, demonstrations and tests of the report."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

MIB, GIB = 2**20, 2**30

HOSTS = {"fram": (8, 16), "gjoa": (8, 16), "beagle": (4, 16), "calypso": (16, 32), "vega": (4, 8)}
"""Name: (cpus, GiB of memory)."""

SERVICES = {
    "postgres": (1.0, 2048, 0.72),
    "redis": (0.25, 512, 0.55),
    "web": (0.5, 512, 0.62),
    "worker": (0.75, 768, 0.35),
    "search": (1.0, 3072, 0.83),
    "ingest": (0.5, 640, 1.12),
    "mailer": (0.1, 256, 0.12),
    "grafana": (0.2, 384, 0.4),
    "proxy": (0.2, 192, 0.78),
    "reports": (0.5, 1536, 0.15),
    "cache": (0.25, 1024, 0.93),
}
"""Name: (cores reserved, MiB reserved, share of the reservation that is used)."""


@dataclass(frozen=True)
class Running:
    """One container of the fleet. `use` is a share of `memory_bytes` and of `cpus`."""

    engine_id: str
    name: str
    cpus: float
    memory_bytes: int
    use: float
    is_reserved: bool
    is_limited: bool

    def observed(self, at: datetime) -> dict[str, Any]:
        reservation = self.memory_bytes if self.is_reserved else None
        return {
            "engine_id": self.engine_id,
            "name": self.name,
            "image": f"registry.example/{self.name.rpartition('-')[0]}:1.0",
            "image_digest": None,
            "state": "running",
            "labels": {},
            "cpu_reservation": self.cpus if self.is_reserved else None,
            "cpu_limit": None,
            "memory_reservation_bytes": reservation,
            "memory_limit_bytes": self.memory_bytes * 3 // 2 if self.is_limited else None,
            "started_at": (at - timedelta(days=3)).isoformat(),
            "finished_at": None,
            "exit_code": None,
            "oom_killed": False,
        }

    def samples(self, container_id: int, until: datetime, hours: int) -> Iterator[dict[str, Any]]:
        """A sample every five minutes over the last `hours`, with a daily wave and some noise."""
        noise = random.Random(self.engine_id)
        for step in range(hours * 12):
            at = until - timedelta(minutes=5 * step)
            wave = 0.9 + 0.1 * math.sin(2 * math.pi * (at.hour + at.minute / 60) / 24)
            share = self.use * wave * noise.uniform(0.95, 1.0)
            yield {
                "container": container_id,
                "at": at.isoformat(),
                "cpu_cores": round(self.cpus * share, 4),
                "memory_bytes": int(self.memory_bytes * share),
            }


def example_fleet(seed: int = 1) -> dict[str, list[Running]]:
    """Containers by host: each host is filled with services up to a share of its memory."""
    chance = random.Random(seed)
    return {host: list(fill(host, gib * GIB, chance)) for host, (_, gib) in HOSTS.items()}


def fill(host: str, capacity_bytes: int, chance: random.Random) -> Iterator[Running]:
    left = capacity_bytes * chance.uniform(0.7, 0.95)
    for number in range(1, 40):
        service = chance.choice(list(SERVICES))
        cpus, mib, use = SERVICES[service]
        memory_bytes = mib * MIB
        if memory_bytes > left:
            continue
        left -= memory_bytes
        yield Running(
            engine_id=f"example-{host}-{number}",
            name=f"{service}-{number}",
            cpus=cpus,
            memory_bytes=memory_bytes,
            use=use * chance.uniform(0.85, 1.1),
            is_reserved=chance.random() > 0.1,
            is_limited=chance.random() > 0.15,
        )


def observation(host: str, containers: list[Running], at: datetime) -> dict[str, Any]:
    """What the agent of `host` would report: the body of `POST hosts/observe/`."""
    cpus, gib = HOSTS[host]
    return {
        "host": {
            "name": host,
            "cpus": float(cpus),
            "memory_bytes": gib * GIB,
            "reserved_cpus": 0.25,
            "reserved_memory_bytes": gib * GIB // 20,
            "engine": "docker",
            "engine_version": "28.0.0",
            "labels": {"site": "example"},
        },
        "observed_at": at.isoformat(),
        "images": [],
        "containers": [container.observed(at) for container in containers],
    }

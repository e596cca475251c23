"""Hosts full of programs, as their agents report them. Pure.

Deploys replace a workload's containers by new ones, every few hours; a leaky program is killed for
memory, stands still for one report, and starts again.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from load.simulation.programs import Program, program

GIB = 2**30
DEPLOY_SECONDS = 6 * 3600.0
OUTAGE_SECONDS = 30.0  # between a kill for memory and the next start


@dataclass(frozen=True)
class Host:
    """A machine and what runs on it."""

    name: str
    cpus: float
    memory_bytes: int
    programs: tuple[Program, ...]
    deploys_at: float
    """When in their cycle its containers are replaced."""

    def observation(self, at: float) -> dict[str, Any]:
        """The body of `POST hosts/observe/` at this moment."""
        return {
            "host": {
                "name": self.name,
                "cpus": self.cpus,
                "memory_bytes": self.memory_bytes,
                "reserved_cpus": 0.25,
                "reserved_memory_bytes": GIB,
                "engine": "docker",
                "engine_version": "29.0.0",
                "labels": {"simulated": "true"},
            },
            "observed_at": moment(at),
            "images": [],
            "containers": [self._container(one, at) for one in self.programs],
        }

    def engine_id(self, one: Program, at: float) -> str:
        """Another one after each deploy."""
        return f"{self.name}/{one.name}/{int((at + self.deploys_at) // DEPLOY_SECONDS)}"

    def samples(self, at: float) -> Iterator[tuple[str, dict[str, Any]]]:
        """The engine's id of each running container, and its sample without the API's id."""
        for one in self.programs:
            if not self._is_down(one, at):
                use = one.use(at)
                yield (
                    self.engine_id(one, at),
                    {
                        "at": moment(at),
                        "cpu_cores": use.cpu_cores,
                        "memory_bytes": use.memory_bytes,
                    },
                )

    def signature(self, at: float) -> tuple[Any, ...]:
        """Changes when the list of containers does, in what an agent would report at once."""
        return tuple((self.engine_id(one, at), self._is_down(one, at)) for one in self.programs)

    def _is_down(self, one: Program, at: float) -> bool:
        return one.lives(at) != one.lives(at - OUTAGE_SECONDS)

    def _container(self, one: Program, at: float) -> dict[str, Any]:
        is_down = self._is_down(one, at)
        return {
            "engine_id": self.engine_id(one, at),
            "name": one.name,
            "image": f"registry.example/{one.kind.value}:1",
            "image_digest": None,
            "state": "exited" if is_down else "running",
            "labels": {"kind": one.kind.value},
            "cpu_reservation": one.cpu_reservation,
            "cpu_limit": None,
            "memory_reservation_bytes": one.memory_reservation_bytes,
            "memory_limit_bytes": one.memory_limit_bytes,
            "started_at": moment(at - 3600),
            "finished_at": moment(at) if is_down else None,
            "exit_code": 137 if is_down else None,
            "oom_killed": is_down,
        }


def fleet(hosts: int, containers: int, seed: int) -> list[Host]:
    """So many hosts with so many containers each."""
    chance = random.Random(seed)
    return [
        Host(
            name=f"sim-{number:03d}",
            cpus=16.0,
            memory_bytes=64 * GIB,
            programs=tuple(
                program(f"program-{number:03d}-{place:02d}", chance) for place in range(containers)
            ),
            deploys_at=chance.uniform(0, DEPLOY_SECONDS),
        )
        for number in range(hosts)
    ]


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()

"""What a source reports, in the words of the agent protocol.

An Observation is a full list: what is missing from it is gone. Sizes are bytes, CPU is in cores,
moments are ISO 8601 in UTC, and None means "none", never 0.
"""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple


class Sample(NamedTuple):
    """What one container used: cores since the sample before, bytes now. Named by the first two."""

    engine_id: str
    at: str
    cpu_cores: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine. What its system reserves is None where the API's own figure shall stay."""

    name: str
    cpus: float
    memory_bytes: int
    reserved_cpus: float | None = None
    reserved_memory_bytes: int | None = None
    engine: str
    engine_version: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    reference: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    engine_id: str
    name: str
    state: str
    image: str | None = None
    image_digest: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    cpu_reservation: float | None = None
    cpu_limit: float | None = None
    memory_reservation_bytes: int | None = None
    memory_limit_bytes: int | None = None
    started_at: str | None = None
    finished_at: str | None = None
    exit_code: int | None = None
    oom_killed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    host: Host
    observed_at: str
    images: list[Image]
    containers: list[Container]

    def as_json(self) -> dict[str, Any]:
        """The body of `POST /api/v1/hosts/observe/`."""
        body = asdict(self)
        for name in ("reserved_cpus", "reserved_memory_bytes"):
            if body["host"][name] is None:
                del body["host"][name]
        return body


def moment(at: datetime | None = None) -> str:
    """A moment on the wire, by default now. Milliseconds are finer than any interval."""
    return (at or datetime.now(UTC)).isoformat(timespec="milliseconds")

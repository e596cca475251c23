"""Data that the tests of the fleet share."""

from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def container(engine_id: str = "c1", **more: Any) -> dict[str, Any]:
    """A container as `services.observe_host` takes it."""
    return {
        "engine_id": engine_id,
        "name": f"name-{engine_id}",
        "image": "nginx:1",
        "image_digest": None,
        "state": "running",
        "labels": {},
        "oom_killed": False,
        **more,
    }


def report(
    *containers: dict[str, Any],
    name: str = "host-a",
    observed_at: datetime = NOW,
    images: tuple[dict[str, Any], ...] = (),
    **container_values: Any,
) -> dict[str, Any]:
    """The arguments of `services.observe_host`; without containers, of a host that runs one."""
    return {
        "host": {
            "name": name,
            "cpus": 4.0,
            "memory_bytes": 8 * 2**30,
            "reserved_cpus": 0.5,
            "reserved_memory_bytes": 2**30,
            "engine": "docker",
            "engine_version": "29.0",
            "labels": {"zone": "a"},
        },
        "observed_at": observed_at,
        "images": list(images),
        "containers": list(containers) or [container(**container_values)],
    }

"""The Engine API's answers, as observations and readings. Shapes: docs.docker.com/engine/api.

    memory used = usage - inactive_file (cgroup v2) | usage - total_inactive_file (v1)
    cpu limit   = NanoCpus, else CpuQuota / CpuPeriod; CPU shares weigh, they reserve nothing

Swarm reserves for a service, not for its containers: a manager's service list adds what `inspect`
lacks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from app.agent.counters import Reading
from app.agent.observations import Container, Host, Image

JSON = Mapping[str, Any]
Amount = TypeVar("Amount", int, float)

NANO = 1_000_000_000
DEFAULT_PERIOD = 100_000  # microseconds; what CpuPeriod 0 stands for
NEVER = "0001-01-01"  # Go's zero time
SERVICE_LABEL = "com.docker.swarm.service.name"
STATES = {"created", "running", "paused", "restarting", "exited", "dead"}
RUNNING = {"running", "paused"}  # what has a control group, and so uses something


def reading_from(stats: JSON) -> Reading | None:
    """A reading of `containers/{id}/stats`; None once it has stopped, for they are empty then."""
    cpu, memory = stats.get("cpu_stats") or {}, stats.get("memory_stats") or {}
    total = (cpu.get("cpu_usage") or {}).get("total_usage")
    system = cpu.get("system_cpu_usage")
    if not total or not system or "usage" not in memory:
        return None
    online = cpu.get("online_cpus") or len(cpu["cpu_usage"].get("percpu_usage") or [None])
    return Reading(total, system, online, used_memory_bytes(memory))


def used_memory_bytes(memory: JSON) -> int:
    """Memory that the kernel could not take back at once: without the inactive page cache."""
    details = memory.get("stats") or {}
    inactive = details.get("total_inactive_file", details.get("inactive_file", 0))
    return max(0, int(memory["usage"]) - int(inactive))


def cpu_limit_from(config: JSON) -> float | None:
    """The cores that `HostConfig` allows; None for no limit."""
    if nano := config.get("NanoCpus"):
        return float(nano) / NANO
    if (quota := config.get("CpuQuota") or 0) > 0:
        return float(quota) / (config.get("CpuPeriod") or DEFAULT_PERIOD)
    return None


def moment_from(text: str | None) -> str | None:
    """Go's time, cut to the microseconds that PostgreSQL keeps; None for Go's zero time."""
    if not text or text.startswith(NEVER):
        return None
    head, dot, tail = text.partition(".")
    if not dot:
        return text
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
    return f"{head}.{digits[:6]}{tail[len(digits) :]}"


def reference_from(name: str) -> str:
    """An image's name with its tag: `busybox` is `busybox:latest`. An id stays as it is."""
    if "@" in name or name.startswith("sha256:"):
        return name
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def repository_of(reference: str) -> str:
    """The reference without tag and digest."""
    name = reference.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]


def digest_of(image: JSON, reference: str) -> str:
    """The registry's digest of the image under this reference; its id for one built here."""
    repository = repository_of(reference)
    for named in image.get("RepoDigests") or []:
        name, _, digest = named.partition("@")
        if name == repository:
            return str(digest)
    return str(image["Id"])


def images_from(listed: Sequence[JSON]) -> list[Image]:
    """`images/json`, one Image for each tag. What has no tag is a leftover, not for running."""
    return [
        Image(reference=tag, digest=digest_of(image, tag), size_bytes=int(image.get("Size") or 0))
        for image in listed
        for tag in image.get("RepoTags") or []
        if tag != "<none>:<none>"
    ]


def essentials_of(container: JSON) -> dict[str, Any]:
    """The tenth of `containers/{id}/json` that is read here, for it is kept for each container."""
    wanted = {
        "State": ("Status", "Running", "OOMKilled", "ExitCode", "StartedAt", "FinishedAt"),
        "Config": ("Image", "Labels"),
        "HostConfig": ("NanoCpus", "CpuQuota", "CpuPeriod", "Memory", "MemoryReservation"),
    }
    parts = {part: {key: container[part].get(key) for key in keys} for part, keys in wanted.items()}
    return {"Id": container["Id"], "Name": container["Name"], "Image": container["Image"]} | parts


def image_of(container: JSON, images: Mapping[str, JSON]) -> Image:
    """The image that a container runs, even where its tag has moved on since. `images` is by id."""
    image_id, reference = container["Image"], reference_from(container["Config"]["Image"])
    known = images.get(image_id, {"Id": image_id})
    if reference.startswith("sha256:"):
        tags = [tag for tag in known.get("RepoTags") or [] if tag != "<none>:<none>"]
        reference = tags[0] if tags else reference
    size = int(known.get("Size") or 0)
    return Image(reference=reference, digest=digest_of(known, reference), size_bytes=size)


def container_from(container: JSON, image: Image) -> Container:
    """`containers/{id}/json` as a Container."""
    state, config = container["State"], container["HostConfig"]
    finished_at = moment_from(state.get("FinishedAt"))
    return Container(
        engine_id=container["Id"],
        name=container["Name"].lstrip("/"),
        state=state["Status"] if state["Status"] in STATES else "dead",
        image=image.reference,
        image_digest=image.digest,
        labels=dict(container["Config"].get("Labels") or {}),
        cpu_limit=cpu_limit_from(config),
        memory_reservation_bytes=config.get("MemoryReservation") or None,
        memory_limit_bytes=config.get("Memory") or None,
        started_at=moment_from(state.get("StartedAt")),
        finished_at=finished_at,
        exit_code=state.get("ExitCode") if finished_at and not state.get("Running") else None,
        oom_killed=bool(state.get("OOMKilled")),
    )


def reservations_from(services: Sequence[JSON]) -> dict[str, tuple[float | None, int | None]]:
    """What each Swarm service reserves for one container: cores and bytes, by its name."""
    found = {}
    for service in services:
        spec = service["Spec"]
        reserved = (spec["TaskTemplate"].get("Resources") or {}).get("Reservations") or {}
        nano, memory = reserved.get("NanoCPUs"), reserved.get("MemoryBytes")
        found[str(spec["Name"])] = (nano / NANO if nano else None, memory or None)
    return found


def reserve(
    container: Container, reservations: Mapping[str, tuple[float | None, int | None]]
) -> Container:
    """The container with its Swarm service's reservations, within its limits."""
    cpus, memory = reservations.get(container.labels.get(SERVICE_LABEL, ""), (None, None))
    if cpus is None and memory is None:
        return container
    return replace(
        container,
        cpu_reservation=cap(cpus, container.cpu_limit),
        memory_reservation_bytes=cap(memory, container.memory_limit_bytes)
        or container.memory_reservation_bytes,
    )


def cap(reserved: Amount | None, limit: Amount | None) -> Amount | None:
    """Swarm accepts a reservation above the limit, which nothing can use."""
    return reserved if reserved is None or limit is None else min(reserved, limit)


def host_from(
    info: JSON, *, name: str, reserved_cpus: float | None, reserved_memory_bytes: int | None
) -> Host:
    """`info` as a Host; its labels are the engine's own and what tells machines apart."""
    swarm = (info.get("Swarm") or {}).get("LocalNodeState") == "active"
    facts = {
        "stowage.os": info.get("OperatingSystem"),
        "stowage.architecture": info.get("Architecture"),
        "stowage.kernel": info.get("KernelVersion"),
    }
    labels = dict(label.partition("=")[::2] for label in info.get("Labels") or [])
    return Host(
        name=name or info["Name"],
        cpus=float(info["NCPU"]),
        memory_bytes=int(info["MemTotal"]),
        reserved_cpus=reserved_cpus,
        reserved_memory_bytes=reserved_memory_bytes,
        engine="swarm" if swarm else "docker",
        engine_version=info["ServerVersion"],
        labels=labels | {key: str(fact) for key, fact in facts.items() if fact},
    )

"""Writing hosts by hand. What an agent reports about its own host is in `observation`."""

from typing import Any, TypedDict, Unpack

from django.utils import timezone

from app import db
from app.errors import Conflict, NotFound
from app.fleet.models import Container, Host
from app.fleet.services.conflicts import conflicts
from app.fleet.services.events import Change, difference, image_change, record_changes
from app.fleet.services.versions import Versions, check_version


class HostSpec(TypedDict, total=False):
    """What a writer may say of a host."""

    name: str
    labels: dict[str, str]
    cpus: float
    memory_bytes: int
    reserved_cpus: float
    reserved_memory_bytes: int
    engine: str
    engine_version: str


MEANINGS = {
    "fleet_host_name": ("name", "A host with this name exists. Choose another, or update it."),
}

RELEASE_IMAGES = """
    DELETE FROM fleet_image_hosts AS h USING fleet_image AS i
    WHERE h.host_id = %s AND i.id = h.image_id
    RETURNING i.id, i.reference, i.digest
"""


async def register_host(**spec: Unpack[HostSpec]) -> Host:
    """Add a host. Raises Conflict when the name is taken."""
    with conflicts(MEANINGS):
        async with db.atomic():
            host = await Host.objects.acreate(**spec)
            await record_changes(Change("host.created", host.pk, dict(spec)))
    return host


async def update_host(
    *, host_id: int, versions: Versions = None, **changes: Unpack[HostSpec]
) -> Host:
    """Change a host; nothing is written when nothing differs.

    Raises NotFound, Outdated, and Conflict when the name is taken.
    """
    with conflicts(MEANINGS):
        async with db.atomic():
            host = await locked_host(host_id, versions)
            before = {name: getattr(host, name) for name in changes}
            differing = difference(before, dict(changes))
            if differing:
                await _write(host, differing)
                await record_changes(Change("host.updated", host.pk, differing))
    return host


async def delete_host(*, host_id: int, force: bool = False, versions: Versions = None) -> None:
    """Delete a host with its containers and their usage.

    Raises NotFound, Outdated; and Conflict while containers are live on it, unless
    `force`: an agent that still reports would bring the host back at once.
    """
    with conflicts():
        async with db.atomic():
            host = await locked_host(host_id, versions)
            live = await Container.objects.on_host(host_id).live().acount()
            if live and not force:
                raise Conflict(
                    f"{live} containers are live on host {host.name!r}. Stop its agent and remove"
                    " them first, or repeat the request with ?force=true.",
                    code="host_in_use",
                )
            images = await db.fetch(RELEASE_IMAGES, host_id)
            gone = await db.fetch(
                "DELETE FROM fleet_container WHERE host_id = %s RETURNING id, name", host_id
            )
            await db.execute("DELETE FROM fleet_host WHERE id = %s", host_id)
            await record_changes(
                *(image_change(row) for row in images),
                *(Change("container.deleted", row["id"], {"name": row["name"]}) for row in gone),
                Change("host.deleted", host_id, {"name": host.name}),
            )


async def locked_host(host_id: int, versions: Versions = None) -> Host:
    """The host, locked until the transaction ends. Raises NotFound and Outdated."""
    try:
        host: Host = await Host.objects.select_for_update(no_key=True).aget(pk=host_id)
    except Host.DoesNotExist:
        raise NotFound(f"There is no host {host_id}.") from None
    check_version(host.version, versions)
    return host


async def _write(host: Host, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(host, name, value)
    host.version += 1
    host.updated_at = timezone.now()
    await host.asave(update_fields=[*values, "version", "updated_at"])

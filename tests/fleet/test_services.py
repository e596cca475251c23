"""The writes, each one transaction with its events."""

import pytest

from app.errors import Conflict, NotFound
from app.fleet import services
from app.fleet.models import Container, Event, Host, Revision, Workload
from tests.fleet.samples import report


async def kinds() -> list[str]:
    return [event.kind async for event in Event.objects.order_by("id")]


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestHosts:
    async def test_registering_a_host_leaves_an_event(self) -> None:
        host = await services.register_host(name="a", cpus=4, memory_bytes=8)
        assert (await Host.objects.aget()).pk == host.pk
        assert await kinds() == ["host.created"]

    async def test_name_that_is_taken_is_a_conflict(self) -> None:
        await services.register_host(name="a", cpus=4, memory_bytes=8)
        with pytest.raises(Conflict, match="name"):
            await services.register_host(name="a", cpus=4, memory_bytes=8)
        assert await kinds() == ["host.created"]

    async def test_update_that_changes_nothing_writes_nothing(self) -> None:
        host = await services.register_host(name="a", cpus=4, memory_bytes=8)
        same = await services.update_host(host_id=host.pk, cpus=4)
        assert same.version == 1
        assert await kinds() == ["host.created"]

    async def test_update_raises_the_version_and_says_what_changed(self) -> None:
        host = await services.register_host(name="a", cpus=4, memory_bytes=8)
        changed = await services.update_host(host_id=host.pk, cpus=5, memory_bytes=8)
        assert changed.version == 2
        event = await Event.objects.aget(kind="host.updated")
        assert event.data == {"cpus": 5}

    async def test_host_that_is_not_there_is_not_found(self) -> None:
        with pytest.raises(NotFound):
            await services.update_host(host_id=0, cpus=5)
        with pytest.raises(NotFound):
            await services.delete_host(host_id=0)

    async def test_host_with_live_containers_is_deleted_by_force_only(self) -> None:
        observed = await services.observe_host(**report())
        with pytest.raises(Conflict, match="force=true"):
            await services.delete_host(host_id=observed.host_id)
        await services.delete_host(host_id=observed.host_id, force=True)
        assert await Host.objects.acount() == await Container.objects.acount() == 0
        assert (await kinds())[-2:] == ["container.deleted", "host.deleted"]


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestWorkloads:
    async def test_creating_a_workload_writes_its_first_revision(self) -> None:
        workload = await services.create_workload(name="web", image="nginx:1", replicas=2)
        revision = await Revision.objects.aget(workload=workload)
        assert revision.number == workload.generation == 1
        assert revision.spec["image"] == "nginx:1"
        assert await kinds() == ["workload.created"]

    async def test_name_is_unique_without_a_team_too(self) -> None:
        await services.create_workload(name="web", image="nginx:1")
        with pytest.raises(Conflict, match="name"):
            await services.create_workload(name="web", image="nginx:2")

    async def test_change_of_the_spec_is_a_new_generation(self) -> None:
        workload = await services.create_workload(name="web", image="nginx:1")
        changed = await services.update_workload(workload_id=workload.pk, image="nginx:2")
        assert (changed.generation, changed.version) == (2, 2)
        numbers = [one.number async for one in Revision.objects.order_by("number")]
        assert numbers == [1, 2]

    async def test_new_name_is_no_new_generation(self) -> None:
        workload = await services.create_workload(name="web", image="nginx:1")
        changed = await services.update_workload(workload_id=workload.pk, name="www")
        assert (changed.generation, changed.version) == (1, 2)
        assert await Revision.objects.acount() == 1

    async def test_deleting_a_workload_leaves_its_containers(self) -> None:
        workload = await services.create_workload(name="web", image="nginx:1")
        await services.observe_host(**report(labels={"stowage.workload": "web"}))
        assert (await Container.objects.aget()).workload_id == workload.pk
        await services.delete_workload(workload_id=workload.pk)
        assert (await Container.objects.aget()).workload_id is None
        assert await Workload.objects.acount() == await Revision.objects.acount() == 0

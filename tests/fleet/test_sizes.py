"""The sizes that headroom and repack plans count with: what is known best, and never 0."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from app.db.testing import assert_num_queries
from app.fleet import services
from app.fleet import sizes as sizes_module
from app.fleet.models import Container, OOMKill, PolicyOverride, UsageSummary
from app.fleet.remembered import Memory
from app.fleet.sizes import Size, fetch_sizes, fetch_workload_sizes
from tests.fleet.samples import container, report

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]
MIB = 2**20


async def observed(*containers: dict[str, Any]) -> dict[str, int]:
    values = report(*containers, observed_at=timezone.now())
    return (await services.observe_host(**values)).containers


async def summarise(container_id: int, *, days: float = 3, memory: int = 400 * MIB) -> None:
    """As if the container had used that for so long."""
    now = timezone.now()
    await UsageSummary.objects.acreate(
        container_id=container_id,
        reference=now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1),
        samples=int(days * 8640),
        first_at=now - timedelta(days=days),
        last_at=now,
        cpu_weights={"40": 1000.0},
        memory_weights={"20": 1000.0},
        peaks={str(int(now.timestamp() // 86400)): [0.2, memory]},
    )


async def test_sizes_are_the_best_that_is_known() -> None:
    workload = await services.create_workload(name="w", image="x")
    label = {"stowage.workload": "w"}
    ids = await observed(
        container("old", labels=label),
        container("new", labels=label, memory_reservation_bytes=2**30),
        container("own"),
        container("declared", cpu_reservation=0.5, memory_reservation_bytes=2**30),
        container("nothing"),
    )
    for name in ("old", "own"):
        await summarise(ids[name])
    sizes = await fetch_sizes(container_ids=ids.values(), at=timezone.now())
    assert sizes[ids["old"]].cpu_basis == sizes[ids["old"]].memory_basis == "recommended"
    assert sizes[ids["new"]] == sizes[ids["old"]]._replace(
        cpus=sizes[ids["new"]].cpus, memory_bytes=sizes[ids["new"]].memory_bytes
    )
    assert sizes[ids["own"]] == sizes[ids["old"]]
    assert sizes[ids["declared"]] == Size(0.5, 2**30, "declared", "declared")
    assert sizes[ids["nothing"]] == Size(0.010, 16 * MIB, "floor", "floor")
    of_workload = await fetch_workload_sizes(workload_ids=[workload.pk], at=timezone.now())
    assert of_workload == {workload.pk: sizes[ids["old"]]}


async def test_number_of_statements_does_not_grow() -> None:
    names = [f"c{number}" for number in range(30)]
    ids = await observed(*(container(one, labels={"stowage.workload": one}) for one in names))
    with assert_num_queries(6):
        assert len(await fetch_sizes(container_ids=ids.values(), at=timezone.now())) == 30
    assert await fetch_sizes(container_ids=[0], at=timezone.now()) == {}


async def test_oom_kill_and_policy_count_at_once() -> None:
    workload = await services.create_workload(name="w", image="x")
    ids = await observed(container("a", labels={"stowage.workload": "w"}))
    await summarise(ids["a"], memory=900 * MIB)

    async def size() -> Size:
        return (await fetch_sizes(container_ids=[ids["a"]], at=timezone.now()))[ids["a"]]

    before = await size()
    await PolicyOverride.objects.acreate(
        workload=workload, constants={"memory_reservation_margin": 2.0}
    )
    doubled = await size()
    assert doubled.memory_bytes == pytest.approx(before.memory_bytes / 1.15 * 2, abs=2)
    await OOMKill.objects.acreate(container_id=ids["a"], at=timezone.now(), memory_bytes=2000 * MIB)
    assert (await size()).memory_bytes == 2000 * MIB


async def test_what_is_remembered_of_many_is_as_computed_anew_whatever_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sizes_module, "CHUNK", 1)
    monkeypatch.setattr(sizes_module, "MEMORY", Memory())
    workload = await services.create_workload(name="w", image="x")
    label = {"stowage.workload": "w"}
    ids = await observed(
        *(container(name, labels=label) for name in ("a", "b", "c")), container("own")
    )
    for name in ("a", "own"):
        await summarise(ids[name])
    now, sized = timezone.now(), 0
    fetch_some = sizes_module._fetch_some

    async def counted(rows: Any, *args: Any, **values: Any) -> Any:
        nonlocal sized
        sized += len(rows)
        return await fetch_some(rows, *args, **values)

    monkeypatch.setattr(sizes_module, "_fetch_some", counted)

    async def sizes(at: datetime = now) -> dict[int, Size]:
        return await fetch_sizes(container_ids=ids.values(), at=at)

    async def anew(at: datetime = now) -> dict[int, Size]:
        with monkeypatch.context() as patch:
            patch.setattr(sizes_module, "MEMORY", Memory())
            return await sizes(at)

    async def changed(count: int) -> dict[int, Size]:
        """The sizes, of which so many were computed anew; they are as all are anew."""
        before = sized
        found = await sizes()
        assert sized - before == count
        assert found == await anew()
        return found

    first = await changed(4)
    assert await changed(0) == first
    await summarise(ids["b"])
    await UsageSummary.objects.filter(container_id=ids["b"]).aupdate(memory_weights={"50": 9000.0})
    second = await changed(3)
    assert second[ids["c"]] != first[ids["c"]]
    assert second[ids["own"]] == first[ids["own"]]
    await PolicyOverride.objects.acreate(workload=workload, constants={"memory_limit_margin": 3.0})
    assert await changed(3) != second
    await OOMKill.objects.acreate(container_id=ids["own"], at=now, memory_bytes=2000 * MIB)
    assert (await changed(1))[ids["own"]].memory_bytes == 2000 * MIB
    await Container.objects.filter(pk=ids["c"]).aupdate(memory_reservation_bytes=3 * 2**30)
    await changed(1)
    await Container.objects.filter(pk=ids["c"]).aupdate(workload=None)
    await changed(3)  # a member less
    later = now + timedelta(days=9)
    assert await sizes(later) == await anew(later)
    assert (await sizes(later))[ids["own"]].memory_bytes < 2000 * MIB

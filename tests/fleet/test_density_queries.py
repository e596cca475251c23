"""What the report reads, from a real PostgreSQL."""

from datetime import timedelta

import pytest
from django.utils import timezone

from app.db.testing import assert_num_queries
from app.fleet.density_queries import build_host, fetch_hosts, fetch_known
from app.fleet.models import Container, Host, Usage
from app.fleet.shares import Measure

pytestmark = pytest.mark.asyncio(loop_scope="session")

GIB = 2**30


@pytest.fixture
def now():
    return timezone.now()


async def create_host(name="alpha", *, labels=None, last_seen_at=None):
    return await Host.objects.acreate(
        name=name,
        labels=labels or {},
        cpus=8.0,
        memory_bytes=16 * GIB,
        reserved_cpus=0.5,
        reserved_memory_bytes=GIB,
        last_seen_at=last_seen_at,
    )


async def create_container(host, name="web", *, state="running", last_seen_at=None, **values):
    return await Container.objects.acreate(
        host=host,
        name=name,
        engine_id=f"{host.name}/{name}",
        state=state,
        last_seen_at=last_seen_at or timezone.now(),
        **values,
    )


async def record(container, now, *samples):
    """Samples (seconds ago, cores, bytes)."""
    for seconds, cores, size in samples:
        await Usage.objects.acreate(
            container=container,
            at=now - timedelta(seconds=seconds),
            cpu_cores=cores,
            memory_bytes=size,
        )


async def read(now, **options):
    return [build_host(row) for row in await fetch_hosts(at=now, window_hours=1.0, **options)]


async def test_host_comes_with_its_containers_by_name(transaction, now):
    host = await create_host(labels={"zone": "a"}, last_seen_at=now)
    for name in ("web", "db"):
        await create_container(host, name, cpu_reservation=1.0, memory_limit_bytes=GIB)

    (found,) = await read(now)

    assert (found.id, found.name, found.labels) == (host.id, "alpha", {"zone": "a"})
    assert (found.cpus, found.reserved_cpus) == (8.0, 0.5)
    assert (found.memory_bytes, found.reserved_memory_bytes) == (16 * GIB, GIB)
    assert found.last_seen_at == now
    assert [one.name for one in found.containers] == ["db", "web"]
    first, _ = found.containers
    assert first.cpu == Measure(reservation=1.0)
    assert first.memory == Measure(limit=float(GIB))


async def test_percentile_and_newest_sample_are_of_the_window(transaction, now):
    one = await create_container(await create_host())
    await record(one, now, *((5 + second, second / 100, second * 100) for second in range(101)))
    await record(one, now, (3700, 99.0, 99_000_000))  # before the window

    ((container,),) = [host.containers for host in await read(now)]

    assert container.samples == 101
    assert container.cpu.p95 == pytest.approx(0.95)
    assert container.memory.p95 == pytest.approx(9500)
    assert (container.cpu.current, container.memory.current) == (0.0, 0.0)


async def test_percentile_is_interpolated_between_samples(transaction, now):
    one = await create_container(await create_host())
    await record(one, now, (5, 1.0, 100), (10, 2.0, 200))

    ((container,),) = [host.containers for host in await read(now)]

    assert container.cpu.p95 == pytest.approx(1.95)
    assert container.memory.p95 == pytest.approx(195)


async def test_old_sample_is_not_current(transaction, now):
    one = await create_container(await create_host())
    await record(one, now, (61, 1.0, 100))

    ((container,),) = [host.containers for host in await read(now)]

    assert container.cpu.current is None
    assert container.cpu.p95 == 1.0


async def test_sample_of_a_clock_that_runs_ahead_is_current(transaction, now):
    one = await create_container(await create_host())
    await record(one, now, (-120, 1.0, 100))

    ((container,),) = [host.containers for host in await read(now)]

    assert container.cpu.current == 1.0
    assert container.heard_at == now + timedelta(seconds=120)


async def test_container_is_heard_of_when_listed_or_sampled(transaction, now):
    host = await create_host()
    seen_at = now - timedelta(hours=1)
    await create_container(host, "listed", last_seen_at=seen_at)
    sampled = await create_container(host, "sampled", last_seen_at=seen_at)
    await record(sampled, now, (20, 1.0, 100))

    (found,) = await read(now)

    assert [one.heard_at for one in found.containers] == [seen_at, now - timedelta(seconds=20)]


async def test_only_containers_that_hold_resources_are_counted(transaction, now):
    host = await create_host()
    for state in ("created", "running", "paused", "restarting", "exited", "dead", "removed"):
        await create_container(host, state, state=state)

    (found,) = await read(now)

    assert [one.state for one in found.containers] == ["paused", "restarting", "running"]


async def test_host_without_containers_is_there(transaction, now):
    await create_host()

    (found,) = await read(now)

    assert list(found.containers) == []
    assert len(found.containers) == 0


async def test_hosts_are_chosen_by_name_or_id(transaction, now):
    hosts = [await create_host(name) for name in ("alpha", "beta", "gamma")]

    found = await read(now, hosts=["alpha", str(hosts[2].id)])

    assert [host.name for host in found] == ["alpha", "gamma"]
    assert await fetch_known(["alpha", str(hosts[2].id), "delta"]) >= {"alpha", str(hosts[2].id)}
    assert "delta" not in await fetch_known(["delta"])


async def test_hosts_are_chosen_by_every_label(transaction, now):
    await create_host("alpha", labels={"zone": "a", "disk": "ssd"})
    await create_host("beta", labels={"zone": "a"})
    await create_host("gamma", labels={"zone": "100%"})

    assert [host.name for host in await read(now, labels={"zone": "a"})] == ["alpha", "beta"]
    assert [host.name for host in await read(now, labels={"zone": "a", "disk": "ssd"})] == ["alpha"]
    assert [host.name for host in await read(now, labels={"zone": "100%"})] == ["gamma"]


@pytest.mark.parametrize("size", [0, 1, 5])
async def test_reading_is_one_query_whatever_the_size(transaction, now, size):
    for number in range(size):
        host = await create_host(f"host-{number}")
        for name in "abc":
            await record(await create_container(host, name), now, (1, 1.0, 1))

    with assert_num_queries(1):
        assert len(await read(now)) == size

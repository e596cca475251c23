"""An agent's relist: idempotent, late or not, with the same few statements however long it is."""

import asyncio
from datetime import timedelta

import pytest

from app.db.testing import capture_queries
from app.fleet import services
from app.fleet.models import Container, Event, Host, Image
from app.rest.test import APIClient
from tests.fleet.samples import LATER, NOW, container, report

pytestmark = [pytest.mark.asyncio]


async def states() -> dict[str, str]:
    rows = Container.objects.values_list("engine_id", "state")
    return {engine_id: state async for engine_id, state in rows}


@pytest.mark.usefixtures("transaction")
async def test_first_report_registers_host_containers_and_images() -> None:
    image = {"reference": "nginx:1", "digest": "sha256:aa", "size_bytes": 7}
    observed = await services.observe_host(**report(container(), images=(image,)))
    host = await Host.objects.aget(pk=observed.host_id)
    assert (host.name, host.last_seen_at, host.labels) == ("host-a", NOW, {"zone": "a"})
    stored = await Container.objects.select_related("image").aget()
    assert observed.containers == {"c1": stored.pk}
    assert (stored.image.digest, stored.image.size_bytes) == ("sha256:aa", 7)
    assert [one.pk async for one in Image.objects.filter(hosts=host)] == [stored.image_id]


@pytest.mark.usefixtures("transaction")
async def test_same_report_again_answers_the_same_and_leaves_no_event() -> None:
    first = await services.observe_host(**report())
    count = await Event.objects.acount()
    assert await services.observe_host(**report()) == first
    assert await services.observe_host(**report(observed_at=LATER)) == first
    assert await Event.objects.acount() == count


@pytest.mark.usefixtures("transaction")
async def test_container_that_the_list_lacks_is_removed() -> None:
    await services.observe_host(**report(container("a"), container("b")))
    await services.observe_host(**report(container("b"), observed_at=LATER))
    assert await states() == {"a": "removed", "b": "running"}
    event = await Event.objects.alatest("id")
    assert event.kind == "container.state_changed"
    assert (event.data["state_before"], event.data["state"]) == ("running", "removed")
    assert (await Container.objects.aget(engine_id="a")).finished_at == LATER


@pytest.mark.usefixtures("transaction")
async def test_container_that_died_says_so_in_its_event() -> None:
    await services.observe_host(**report())
    died = report(state="exited", exit_code=137, oom_killed=True, observed_at=LATER)
    await services.observe_host(**died)
    event = await Event.objects.aget(kind="container.state_changed")
    assert (event.data["exit_code"], event.data["oom_killed"]) == (137, True)
    assert (await Container.objects.aget()).version == 2


@pytest.mark.usefixtures("transaction")
async def test_late_report_changes_nothing() -> None:
    await services.observe_host(**report(state="exited", observed_at=LATER))
    late = await services.observe_host(**report(container(), container("b"), observed_at=NOW))
    assert await states() == {"c1": "exited"}
    assert list(late.containers) == ["c1"]


@pytest.mark.usefixtures("transaction")
async def test_other_hosts_containers_are_left_alone() -> None:
    await services.observe_host(**report(container("a")))
    await services.observe_host(**report(container("b"), name="host-b"))
    assert await states() == {"a": "running", "b": "running"}


@pytest.mark.usefixtures("transaction")
async def test_container_that_moved_belongs_to_its_new_host() -> None:
    await services.observe_host(**report())
    moved = await services.observe_host(**report(name="host-b"))
    assert (await Container.objects.aget()).host_id == moved.host_id


@pytest.mark.usefixtures("transaction")
async def test_image_that_left_the_host_is_held_no_more() -> None:
    image = {"reference": "redis:8", "digest": "sha256:bb", "size_bytes": 1}
    await services.observe_host(**report(container(), images=(image,)))
    await services.observe_host(**report(container(), observed_at=LATER))
    held = [one.reference async for one in Image.objects.filter(hosts__name="host-a")]
    assert held == ["nginx:1"]


@pytest.mark.usefixtures("transaction")
async def test_fields_that_the_agent_leaves_out_keep_their_values() -> None:
    await services.observe_host(**report())
    sparse = report(observed_at=LATER)
    for name in ("labels", "reserved_cpus"):
        del sparse["host"][name]
    await services.observe_host(**sparse)
    host = await Host.objects.aget()
    assert (host.labels, host.reserved_cpus) == ({"zone": "a"}, 0.5)


@pytest.mark.usefixtures("transaction")
async def test_machine_that_became_smaller_than_its_reserve_is_refused_with_the_remedy(
    agent: APIClient,
) -> None:
    await services.observe_host(**report())  # 1 GiB of 8 is its system's
    body = {
        "host": {"name": "host-a", "cpus": 4, "memory_bytes": 2**29, "engine": "docker"},
        "observed_at": LATER.isoformat(),
        "containers": [],
    }
    refused = await agent.post("/api/v1/hosts/observe/", body)
    assert (refused.status_code, list(refused.json())) == (400, ["host"])
    assert "AGENT_RESERVED_MEMORY_BYTES" in refused.text
    assert (await Host.objects.aget()).memory_bytes == 8 * 2**30


@pytest.mark.usefixtures("transaction")
async def test_statements_do_not_grow_with_the_list() -> None:
    counts = []
    for number in (2, 200):
        with capture_queries() as queries:
            await services.observe_host(
                **report(
                    *(container(f"{number}-{n}") for n in range(number)),
                    name=f"host-{number}",
                )
            )
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.usefixtures("transaction")
async def test_last_seen_of_unchanged_containers_follows_within_its_resolution() -> None:
    await services.observe_host(**report())
    await services.observe_host(**report(observed_at=NOW + timedelta(seconds=29)))
    assert (await Container.objects.aget()).last_seen_at == NOW
    await services.observe_host(**report(observed_at=LATER))
    assert (await Container.objects.aget()).last_seen_at == LATER


@pytest.mark.usefixtures("committed")
async def test_first_reports_at_the_same_moment_make_one_host() -> None:
    answers = await asyncio.gather(
        *(services.observe_host(**report(container("a"), container("b"))) for _ in range(6))
    )
    assert answers == [answers[0]] * 6
    assert await Host.objects.acount() == 1
    assert await Event.objects.filter(kind="container.created").acount() == 2


@pytest.mark.usefixtures("committed")
async def test_hosts_that_share_images_and_a_workload_do_not_wait_crosswise() -> None:
    workload = await services.create_workload(name="web", image="x", replicas=6)
    images = tuple(
        {"reference": f"image:{n}", "digest": f"sha256:{n}", "size_bytes": n} for n in range(8)
    )
    labels = {"stowage.workload": "web"}

    async def observe(number: int, turn: int) -> None:
        # Every other host lists the images backwards.
        own = images if number % 2 else images[::-1]
        one = container(f"c{number}", labels=labels, state="running" if turn % 2 else "paused")
        moment = NOW + timedelta(seconds=turn)
        await services.observe_host(
            **report(one, name=f"host-{number}", images=own, observed_at=moment)
        )

    for turn in range(4):
        await asyncio.gather(
            *(observe(number, turn) for number in range(6)),
            services.update_workload(workload_id=workload.pk, image=f"x:{turn}"),
        )
    assert await Image.objects.filter(reference__startswith="image").acount() == 8
    counts = [image.pk async for image in Image.objects.filter(hosts__name="host-3")]
    assert len(counts) == 9

"""Lists and objects of the fleet, read from rows, are what they are read from instances."""

from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from django.conf import settings
from django.test import override_settings

from app.accounts.models import Team
from app.fleet import services
from app.fleet.models import Container, Host, Workload
from app.rest import lanes
from app.rest.test import APIClient
from tests.fleet.samples import NOW, container, report
from tests.fleet.test_ingest import USAGE, sample

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

LONG = {**settings.STOWAGE, "SHORTCUTS": False}
RESOURCES = ("hosts", "workloads", "containers", "revisions", "usage", "events", "policies")
QUERIES = (
    "", "?page_size=2", "?page_size=2&page=2", "?ordering=-id", "?name=b", "?state=running",
    "?label=zone=a", "?label=", "?label=zone&label=", "?search=b", "?live=true", "?live=",
    "?host={host}", "?workload={workload}", "?fields=id", "?host=0", "?host=x", "?engine=docker",
    "?seen_since=2026-03-01T12:00:00Z", "?page=9",
)  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def ids(transaction: None) -> dict[str, int]:
    team = await Team.objects.acreate(name="Web", slug="web")
    workload = await services.create_workload(
        name="b", image="nginx:1", team=team, cpu_limit=1e-05, labels={"zone": "a", "é": "\u2028"}
    )
    await services.create_workload(name="a", image="x", env={"A": "1"}, memory_limit_bytes=2**50)
    for number, name in enumerate("bac"):
        told = report(container(f"{name}1"), container(f"{name}2", state="exited"), name=name)
        told["host"] |= {"cpus": 4 + number / 3, "reserved_cpus": number / 7}
        await services.observe_host(**told)
    first = await Host.objects.aget(name="b")
    await Container.objects.filter(engine_id="b1").aupdate(
        image=None, workload=workload, cpu_limit=0.25, started_at=NOW + timedelta(microseconds=7)
    )
    return {"host": first.pk, "workload": workload.pk}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the lanes answered."""
    answers: list[Any] = []
    for name in ("list_response", "one"):
        monkeypatch.setattr(lanes.Lane, name, _noting(getattr(lanes.Lane, name), answers))
    return answers


def _noting(answer: Any, answers: list[Any]) -> Any:
    async def note(*arguments: Any) -> Any:
        result = await answer(*arguments)
        answers.append(result)
        return result

    return note


async def both(client: APIClient, address: str) -> Any:
    """The answer, which is the same the long way."""
    short = await client.get(address)
    with override_settings(STOWAGE=LONG):
        long = await client.get(address)
    assert (short.status_code, short.content) == (long.status_code, long.content), address
    assert short.headers.get("ETag") == long.headers.get("ETag")
    assert short.headers.get("Last-Modified") == long.headers.get("Last-Modified")
    return short


@pytest.mark.timeout(20)  # forty requests
@pytest.mark.parametrize("resource", RESOURCES)
async def test_list_is_what_its_instances_are(
    resource: str, ids: dict[str, int], reader: APIClient, served: list[Any]
) -> None:
    for query in QUERIES:
        await both(reader, f"/api/v1/{resource}/{query.format(**ids)}")
    assert len(served) >= 4


@pytest.mark.parametrize("resource", ["hosts", "workloads"])
async def test_object_is_what_its_instance_is(
    resource: str, ids: dict[str, int], reader: APIClient, served: list[Any]
) -> None:
    model: Any = {"hosts": Host, "workloads": Workload}[resource]
    keys = [pk async for pk in model.objects.values_list("pk", flat=True)]
    for pk in keys:
        assert (await both(reader, f"/api/v1/{resource}/{pk}/")).status_code == 200
    assert len(served) == len(keys)
    await both(reader, f"/api/v1/{resource}/0/")


async def test_list_under_another_object_is_its_own(
    ids: dict[str, int], reader: APIClient, served: list[Any]
) -> None:
    for address in (f"hosts/{ids['host']}", f"workloads/{ids['workload']}", "hosts/0"):
        await both(reader, f"/api/v1/{address}/containers/")
    assert not served
    under = await reader.get(f"/api/v1/hosts/{ids['host']}/containers/")
    assert under.json()["count"] == 2
    assert (await reader.get("/api/v1/containers/")).json()["count"] == 6


async def test_samples_by_cursor_are_what_their_instances_are(
    ids: dict[str, int], agent: APIClient, reader: APIClient, served: list[Any]
) -> None:
    keys = [pk async for pk in Container.objects.values_list("pk", flat=True)][:2]
    samples = [sample(pk, n, cpu_cores=n / 7) for pk in keys for n in range(3)]
    assert (await agent.post(USAGE, samples)).json()["stored"] == 6
    for query in ("", f"&container={keys[0]}", f"&host={ids['host']}", "&ordering=at"):
        pages, address = 0, f"{USAGE}?page_size=2{query}"
        while address:
            page = (await both(reader, address)).json()
            pages, address = pages + 1, page["next"]
        assert pages >= 2
        assert page["previous"]
        await both(reader, page["previous"])
    assert len(served) >= 12

"""`?fields=`, `?omit=` and `?expand=` on the fleet's resources: every name, without a hop."""

from typing import Any

import pytest

from app.accounts.models import Team
from app.db.testing import Queries, capture_queries
from app.fleet import serializers, services, views
from app.fleet.models import Workload
from app.rest.fieldsets import expandables_of, names_of
from app.rest.test import APIClient
from tests.fleet.test_thread_hops import ids

__all__ = ["ids"]
pytestmark = pytest.mark.usefixtures("transaction")

RESOURCES: dict[str, Any] = {
    "hosts": serializers.HostSerializer,
    "images": serializers.ImageSerializer,
    "workloads": serializers.WorkloadSerializer,
    "quotas": serializers.QuotaSerializer,
    "revisions": serializers.RevisionSerializer,
    "containers": serializers.ContainerSerializer,
    "events": serializers.EventSerializer,
}


def of_the_fleet(queries: Queries) -> int:
    """But for the position that lists tell, which is asked for every few seconds."""
    fleet = [query["sql"] for query in queries if "fleet_" in query["sql"]]
    return sum("fleet_event_compaction" not in sql for sql in fleet)


@pytest.mark.asyncio
@pytest.mark.parametrize("resource", RESOURCES)
async def test_each_field_alone_is_what_it_is_among_the_others(
    resource: str, ids: dict[str, int], reader: APIClient, hops: list[str]
) -> None:
    url = f"/api/v1/{resource}/"
    (whole,) = (await reader.get(f"{url}?page_size=1")).json()["results"]
    for name in names_of(RESOURCES[resource]):
        (row,) = (await reader.get(f"{url}?page_size=1&fields={name}")).json()["results"]
        assert row == {name: whole[name]}
        one = await reader.get(f"{url}{ids[resource[:-1]]}/?fields={name}")
        assert list(one.json()) == [name]
        (row,) = (await reader.get(f"{url}?page_size=1&omit={name}")).json()["results"]
        assert row == {key: value for key, value in whole.items() if key != name}
    assert not hops


@pytest.mark.asyncio
@pytest.mark.parametrize("resource", RESOURCES)
async def test_each_expansion_is_what_its_own_address_shows(
    resource: str, ids: dict[str, int], reader: APIClient, hops: list[str]
) -> None:
    await Workload.objects.aupdate(team=await Team.objects.aget())
    for name, expandable in expandables_of(RESOURCES[resource]).items():
        url = f"/api/v1/{resource}/?page_size=1&expand={name}"
        with capture_queries() as queries:
            response = await reader.get(url)
        assert of_the_fleet(queries) == (3 if name == "image" else 2)  # the count, the page
        (row,) = response.json()["results"]
        assert list(row[name]) == list(names_of(expandable.serializer_class))
        if name != "team":
            own = await reader.get(f"/api/v1/{name}s/{row[name]['id']}/")
            assert row[name] == own.json()
    assert not hops


@pytest.mark.asyncio
async def test_expansion_reaches_over_two_relations(
    ids: dict[str, int], reader: APIClient, hops: list[str]
) -> None:
    await Workload.objects.aupdate(team=await Team.objects.aget())
    url = f"/api/v1/containers/{ids['container']}/?expand=workload.team&fields=workload.name"
    with capture_queries() as queries:
        response = await reader.get(url)
    assert of_the_fleet(queries) == 1
    assert response.json()["workload"]["team"]["slug"] == "core"
    assert response.json()["workload"]["name"] == "w"
    assert not hops


@pytest.mark.asyncio
async def test_each_shape_has_an_etag_of_its_own(reader: APIClient) -> None:
    host = await services.register_host(name="a", cpus=1, memory_bytes=1)
    tags = set()
    for query in ("", "?fields=id", "?fields=name", "?fields=version"):
        url = f"/api/v1/hosts/{host.pk}/{query}"
        tag = (await reader.get(url))["ETag"]
        assert (await reader.get(url, HTTP_IF_NONE_MATCH=tag)).status_code == 304
        tags.add(tag)
    assert len(tags) == 4


def test_all_of_the_resources_are_here() -> None:
    opted_in = {
        view.serializer_class
        for view in vars(views).values()
        if hasattr(view, "max_expand_depth") and hasattr(view, "serializer_class")
    }
    assert opted_in - {None} <= set(RESOURCES.values())

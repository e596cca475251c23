"""adrf's documented usage runs unchanged on `app.rest`, and enters no thread (adrf enters many).

Where adrf and DRF disagree, DRF's name wins and adrf's stays beside it: actions and hooks have
DRF's names as coroutines, and adrf's (`alist`, `perform_acreate`) work whether they are called,
routed or overridden. Not kept: adrf's synchronous half (a view without a coroutine is async here
too, its plain handler in a thread), and so `sync_dispatch` and the permission and throttle checks
by colour.
"""

import pytest
from adrf.requests import AsyncRequest
from adrf.test import AsyncAPIRequestFactory

from app.fleet.models import Host
from tests.conformance.adrf import usage

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.conformance.adrf.usage")]

HOST = {"name": "a", "cpus": 4, "memory_bytes": 2**30}


@pytest.fixture(autouse=True)
def called():
    usage.called.clear()
    return usage.called


@pytest.mark.hops("the throttle's `wait`, a plain function of the user's, runs in a thread")
async def test_class_based_view_awaits_its_policies(client):
    response = await client.get("/class/")
    assert response.json() == {"message": "class", "user": "ann"}
    assert (await client.get("/class/", {"refuse": 1})).status_code == 403
    throttled = await client.get("/class/", {"throttle": 1})
    assert (throttled.status_code, throttled["Retry-After"]) == (429, "3")


async def test_permission_on_an_object_is_awaited(client, transaction):
    host = await Host.objects.acreate(**HOST | {"name": "hidden"})
    assert (await client.get(f"/async_viewset/{host.pk}/")).status_code == 403


async def test_function_based_view_is_a_coroutine(client):
    client.force_authenticate(usage.User(username="ann", is_superuser=True))
    assert (await client.get("/function/")).json() == {"message": "function"}


async def test_viewset_is_async_and_its_actions_keep_drfs_names(client, transaction):
    assert usage.AsyncViewSet.view_is_async
    assert (await client.get("/viewset/")).json() == {"message": "list"}
    assert (await client.get("/viewset/1234567/")).json() == {"user_pk": None}


async def test_serializer_that_was_validated_in_place_is_read_with_adata(client):
    response = await client.get("/serializer/")
    assert response.json() == {"username": "test", "password": "test", "age": 10}


async def test_generic_view_lists_and_creates(client, transaction):
    created = await client.post("/hosts/", HOST)
    assert created.status_code == 201, created.text
    assert created.json()["loud"] == "A"
    assert [row["name"] for row in (await client.get("/hosts/")).json()["results"]] == ["a"]


@pytest.mark.parametrize("base", ["/async_viewset/", "/named/"])
async def test_hooks_under_adrfs_names_are_called_once_each(client, transaction, called, base):
    pk = (await client.post(base, HOST)).json()["id"]
    assert _taken(called) == ["perform_acreate", "serializer.acreate"]
    assert (await client.get(base)).json()["count"] == 1
    assert _taken(called) == ["afilter_queryset", "apaginate_queryset", "get_apaginated_response"]
    assert (await client.get(f"{base}{pk}/")).json()["name"] == "a"
    assert _taken(called) == ["aget_object", "afilter_queryset"]
    for method in (client.put, client.patch):
        assert (await method(f"{base}{pk}/", HOST | {"name": "b"})).json()["name"] == "b"
        assert _taken(called) == [
            "aget_object",
            "afilter_queryset",
            "perform_aupdate",
            "serializer.aupdate",
        ]
    assert (await client.delete(f"{base}{pk}/")).status_code == 204
    assert _taken(called) == ["aget_object", "afilter_queryset", "perform_adestroy"]


async def test_actions_under_adrfs_names_are_what_a_generic_view_calls(client, transaction, called):
    host = await Host.objects.acreate(**HOST)
    await client.get(f"/noting/{host.pk}/")
    assert _taken(called)[0] == "aretrieve"
    for method in (client.put, client.patch):
        await method(f"/noting/{host.pk}/", HOST)
        assert _taken(called)[0] == "aupdate"
    await client.delete(f"/noting/{host.pk}/")
    assert _taken(called)[0] == "adestroy"
    assert not await Host.objects.aexists()


async def test_actions_under_adrfs_names_are_what_the_router_binds(client, transaction, called):
    pk = (await client.post("/overriding/", HOST)).json()["id"]
    assert _taken(called)[0] == "acreate"
    await client.get("/overriding/")
    assert _taken(called) == ["alist"]
    await client.get(f"/overriding/{pk}/")
    assert _taken(called) == ["aretrieve"]
    for method in (client.put, client.patch):
        await method(f"/overriding/{pk}/", HOST)
        assert _taken(called)[0] == "aupdate"
    await client.delete(f"/overriding/{pk}/")
    assert _taken(called) == ["adestroy"]


async def test_view_is_called_with_a_request_of_adrfs_factory():
    seen = []

    class View(usage.AsyncView):
        async def get(self, request):
            seen.append(request)
            return await super().get(request)

    response = await View.as_view()(AsyncAPIRequestFactory().get("/class/"))
    assert response.data == {"message": "class", "user": "ann"}
    assert isinstance(seen[0], AsyncRequest)


async def test_serializer_saves_with_asave(transaction, called):
    serializer = usage.HostSerializer(data=HOST)
    assert await serializer.ais_valid()
    host = await serializer.asave(cpus=8)
    assert (host.name, host.cpus) == ("a", 8)
    assert (await serializer.adata)["loud"] == "A"
    assert called == ["serializer.acreate"]


async def test_list_of_instances_is_read_with_adata(transaction):
    await Host.objects.acreate(**HOST)
    rows = await usage.HostSerializer(Host.objects.all(), many=True).adata
    assert [row["loud"] for row in rows] == ["A"]


def _taken(called):
    taken = list(called)
    called.clear()
    return taken

"""Clients that ask for objects at the same moment get each its own, from few statements."""

import asyncio

import pytest
import pytest_asyncio
from django.test import override_settings
from django.urls import include, path

from app.db.testing import capture_queries
from app.fleet.models import Host
from app.rest import viewsets
from app.rest.conditional import ConditionalMixin
from app.rest.permissions import AllowAny
from app.rest.routers import SimpleRouter
from app.rest.test import APIClient
from tests.rest.test_models import HostSerializer

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.urls("tests.rest.test_many_at_once"),
    pytest.mark.usefixtures("committed"),
]


class HostViewSet(ConditionalMixin, viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    authentication_classes = []
    permission_classes = [AllowAny]
    etag_fields = ["name"]


router = SimpleRouter()
router.register("hosts", HostViewSet)
urlpatterns = [
    path("by-name/<name>/", HostViewSet.as_view({"get": "retrieve"}, lookup_field="name")),
    path("", include(router.urls)),
]


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def hosts(committed):
    return [
        await Host.objects.acreate(name=f"h{n}", cpus=n, memory_bytes=n, engine="docker")
        for n in range(1, 13)
    ]


async def ask(paths, **headers):
    client = APIClient()
    answers = await asyncio.gather(*(client.get(one, **headers) for one in paths))
    return [(one.status_code, one.content, dict(one.headers)) for one in answers]


async def test_each_gets_what_it_would_get_alone(hosts):
    pks = [*(host.pk for host in hosts), hosts[0].pk, 10**9, "x", hosts[0].pk]
    paths = [f"/hosts/{pk}/" for pk in pks] + ["/by-name/h3/", "/by-name/none/", "/by-name/h4/"]
    alone = [(await ask([one]))[0] for one in paths]
    with capture_queries() as queries:
        together = await ask(paths)
    assert together == alone
    assert sum(status == 200 for status, _, _ in together) == len(hosts) + 4
    missing = 3
    assert len(queries) <= 2 * 2 + missing  # those who find nothing ask again DRF's way
    with override_settings(STOWAGE={"SHORTCUTS": False}):
        assert await ask(paths) == alone


async def test_each_is_told_of_its_own_object_that_it_has_not_changed(hosts):
    paths = [f"/hosts/{host.pk}/" for host in hosts]
    tags = [headers["ETag"] for _, _, headers in await ask(paths)]
    assert len(set(tags)) == len(hosts)
    await Host.objects.filter(pk=hosts[5].pk).aupdate(name="renamed")
    client = APIClient()
    with capture_queries() as queries:
        answers = await asyncio.gather(
            *(client.get(one, HTTP_IF_NONE_MATCH=tag) for one, tag in zip(paths, tags, strict=True))
        )
    assert [one.status_code for one in answers] == [200 if n == 5 else 304 for n in range(12)]
    assert answers[5].json()["name"] == "renamed"
    assert len(queries) <= 3


async def test_who_leaves_takes_no_other_with_them(hosts):
    client = APIClient()
    for turns in range(0, 40, 3):
        tasks = [asyncio.create_task(client.get(f"/hosts/{host.pk}/")) for host in hosts]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for n, (host, answer) in enumerate(zip(hosts, answers, strict=True)):
            if n % 3 or not isinstance(answer, asyncio.CancelledError):
                assert answer.json()["name"] == host.name

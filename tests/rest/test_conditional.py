"""Conditional requests on views: by columns, by bytes, under concurrency, and what 304 spares."""

import asyncio
from datetime import UTC, datetime

import pytest
from django.urls import include, path

from app.db.testing import assert_num_queries
from app.fleet.models import Host
from app.rest import viewsets
from app.rest.conditional import ConditionalMixin
from app.rest.decorators import action
from app.rest.permissions import AllowAny, BasePermission
from app.rest.preconditions import EntityTag
from app.rest.response import Response
from app.rest.routers import DefaultRouter
from app.rest.views import APIView
from tests.rest.test_models import HostSerializer, Open, host, make

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_conditional"),
]


class ByColumns(Open, ConditionalMixin, viewsets.ModelViewSet):
    """Tags by columns; the mixin raises the version and holds the row."""

    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    version_field = "version"
    etag_fields = ["last_seen_at"]
    last_modified_fields = ["updated_at"]

    @action(detail=True, methods=["post"])
    async def drain(self, request, pk=None):
        drained = await self.get_object()
        return Response({"drained": drained.name})


class ByBytes(Open, ConditionalMixin, viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    etag_bodies = True


class Strict(ByColumns):
    if_match_required = True


class OnlyHostA(BasePermission):
    async def has_object_permission(self, request, view, obj):
        return obj.name == "a"


class Guarded(ByColumns):
    permission_classes = [OnlyHostA]


class ByVersion(Open, ConditionalMixin, viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    version_field = "version"


class Tagging(ByVersion):
    def etag(self, obj):
        return EntityTag(f"own-{obj.version}")


class Dating(ByVersion):
    def last_modified(self, obj):
        return datetime(2026, 1, 1, tzinfo=UTC)


class Report(ConditionalMixin, APIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    etag_bodies = True

    async def get(self, request):
        return Response({"hosts": await Host.objects.acount()})


router = DefaultRouter()
for name, viewset in (
    ("columns", ByColumns), ("bytes", ByBytes), ("strict", Strict), ("guarded", Guarded),
    ("version", ByVersion), ("tagging", Tagging), ("dating", Dating),
):  # fmt: skip
    router.register(name, viewset, name)
urlpatterns = [path("", include(router.urls)), path("report/", Report.as_view())]

KINDS = ("columns", "bytes")


@pytest.mark.usefixtures("transaction")
@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_client_has_is_304_without_a_body(client, hops, kind):
    pk = (await make()).pk
    read = await client.get(f"/{kind}/{pk}/")
    for method in (client.get, client.head):
        again = await method(f"/{kind}/{pk}/", HTTP_IF_NONE_MATCH=read["ETag"])
        assert (again.status_code, again.content) == (304, b"")
        # What of the headers of 200 describes the state, and nothing that describes a body.
        assert again["ETag"] == read["ETag"]
        assert again["Vary"] == read["Vary"]
        assert not {"Content-Type", "Content-Length"} & again.headers.keys()
    assert not hops


@pytest.mark.usefixtures("transaction")
async def test_version_alone_tags_an_object_unless_the_view_tells_more(client):
    pk = (await make()).pk
    read = await client.get(f"/version/{pk}/")
    assert (read["ETag"], read.headers.get("Last-Modified")) == ('"1"', None)
    indented = await client.get(f"/version/{pk}/", HTTP_ACCEPT="application/json; indent=4")
    assert indented["ETag"].startswith('"1-')
    assert (await client.get(f"/tagging/{pk}/"))["ETag"] == '"own-1"'
    dated = await client.get(f"/dating/{pk}/")
    assert (dated["ETag"], dated["Last-Modified"]) == ('"1"', "Thu, 01 Jan 2026 00:00:00 GMT")
    changed = await client.patch(f"/version/{pk}/", {"cpus": 2}, format="json")
    assert changed["ETag"] == '"2"'


@pytest.mark.usefixtures("transaction")
async def test_304_by_columns_costs_one_narrow_query(client):
    pk = (await make()).pk
    tag = (await client.get(f"/columns/{pk}/"))["ETag"]
    with assert_num_queries(1) as queries:
        await client.get(f"/columns/{pk}/", HTTP_IF_NONE_MATCH=tag)
    (query,) = queries
    assert "memory_bytes" not in query["sql"]
    changed = await client.get(f"/columns/{pk}/", HTTP_IF_NONE_MATCH='"9"')
    assert (changed.status_code, changed["ETag"]) == (200, tag)


@pytest.mark.usefixtures("transaction")
async def test_object_that_is_not_there_or_not_for_the_caller_is_not_304(client):
    tag = '"1"'
    assert (await client.get("/columns/0/", HTTP_IF_NONE_MATCH="*")).status_code == 404
    assert (await client.get(f"/columns/{9**40}/", HTTP_IF_NONE_MATCH=tag)).status_code == 404
    assert (await client.get("/columns/x/", HTTP_IF_NONE_MATCH=tag)).status_code == 404
    seen, hidden = (await make("a")).pk, (await make("b")).pk
    assert (await client.get(f"/guarded/{seen}/", HTTP_IF_NONE_MATCH=tag)).status_code == 304
    assert (await client.get(f"/guarded/{hidden}/", HTTP_IF_NONE_MATCH=tag)).status_code == 403


@pytest.mark.usefixtures("transaction")
@pytest.mark.parametrize("kind", KINDS)
async def test_writer_changes_what_it_has_read_and_nothing_else(client, hops, kind):
    url = f"/{kind}/{(await make()).pk}/"
    first = (await client.get(url))["ETag"]
    changed = await client.patch(url, {"cpus": 5}, HTTP_IF_MATCH=first)
    assert changed.status_code == 200, changed.text
    assert changed["ETag"] == (await client.get(url))["ETag"] != first
    for refused in (
        await client.patch(url, {"cpus": 6}, HTTP_IF_MATCH=first),
        await client.put(url, host(cpus=6), HTTP_IF_MATCH=first),
        await client.delete(url, HTTP_IF_MATCH=first),
    ):
        assert (refused.status_code, refused["ETag"]) == (412, changed["ETag"])
        assert "Read" in refused.json()["detail"]
    assert (await client.get(url)).json()["cpus"] == 5
    assert (await client.delete(url, HTTP_IF_MATCH=changed["ETag"])).status_code == 204
    assert not hops


@pytest.mark.usefixtures("transaction")
async def test_version_is_raised_by_each_write_and_told_in_412(client):
    created = await client.post("/columns/", host())
    url = f"/columns/{created.json()['id']}/"
    assert created["ETag"] == '"1"'
    assert (await client.patch(url, {"cpus": 5}))["ETag"] == '"2"'
    refused = await client.patch(url, {"cpus": 6}, HTTP_IF_MATCH='"1"')
    assert (refused.status_code, refused.json()["version"]) == (412, 2)


@pytest.mark.usefixtures("transaction")
async def test_extra_action_is_bound_to_the_preconditions_too(client):
    url = f"/columns/{(await make()).pk}/drain/"
    assert (await client.post(url, HTTP_IF_MATCH='"1"')).status_code == 200
    assert (await client.post(url, HTTP_IF_MATCH='"2"')).status_code == 412


@pytest.mark.usefixtures("transaction")
async def test_view_may_ask_for_if_match(client):
    url = f"/strict/{(await make()).pk}/"
    for conditions in ({}, {"HTTP_IF_NONE_MATCH": '"x"'}):
        refused = await client.patch(url, {"cpus": 5}, **conditions)
        assert (refused.status_code, "If-Match" in refused.json()["detail"]) == (428, True)
    assert (await client.patch(url, {"cpus": 5}, HTTP_IF_MATCH='"1"')).status_code == 200


@pytest.mark.usefixtures("transaction")
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
async def test_list_of_tags_that_cannot_be_read_is_named(client, header):
    url = f"/columns/{(await make()).pk}/"
    for method in (client.get, client.delete):
        refused = await method(url, headers={header: "1"})
        assert (refused.status_code, list(refused.json())) == (400, [header])


@pytest.mark.usefixtures("transaction")
async def test_each_media_type_has_its_own_tag_and_a_page_none(client):
    url = f"/columns/{(await make()).pk}/"
    plain = await client.get(url)
    spaced = await client.get(url, HTTP_ACCEPT="application/json; indent=4")
    assert spaced["ETag"] != plain["ETag"]
    again = await client.get(
        url, HTTP_ACCEPT="application/json; indent=4", HTTP_IF_NONE_MATCH=spaced["ETag"]
    )
    assert again.status_code == 304
    page = await client.get(url, HTTP_ACCEPT="text/html", HTTP_IF_NONE_MATCH="*")
    assert (page.status_code, "ETag" in page) == (200, False)


@pytest.mark.usefixtures("transaction")
@pytest.mark.parametrize("url", ["/bytes/", "/report/"])
async def test_list_or_report_has_a_weak_tag_where_the_view_says_so(client, url):
    read = await client.get(url)
    assert read["ETag"].startswith('W/"')
    assert (await client.get(url, HTTP_IF_NONE_MATCH=read["ETag"])).status_code == 304
    await make()
    assert (await client.get(url, HTTP_IF_NONE_MATCH=read["ETag"])).status_code == 200
    assert "ETag" not in await client.get("/columns/")


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("kind", KINDS)
async def test_of_many_writers_of_one_state_one_is_let_through(client, kind):
    url = f"/{kind}/{(await make()).pk}/"
    tag = (await client.get(url))["ETag"]
    answers = await asyncio.gather(
        *(client.patch(url, {"cpus": n}, HTTP_IF_MATCH=tag) for n in range(10, 18))
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [412] * 7, [answer.text for answer in answers]


@pytest.mark.usefixtures("committed")
async def test_no_two_writes_have_one_version(client):
    url = f"/columns/{(await make()).pk}/"
    answers = await asyncio.gather(*(client.patch(url, {"cpus": n}) for n in range(10, 18)))
    assert sorted(answer["ETag"] for answer in answers) == [f'"{n}"' for n in range(2, 10)]

"""Bad input is answered with 4xx that names what is wrong and where. Nothing gives a 500."""

import pytest
from django.test import override_settings
from django.urls import include, path

from app.fleet.models import Host
from app.rest import serializers
from app.rest.filters import KnownOrderingFilter
from app.rest.pagination import (
    CursorPagination,
    SizedLimitOffsetPagination,
    SizedMixin,
)
from app.rest.parsers import JSONParser, NDJSONParser
from app.rest.permissions import AllowAny
from app.rest.response import Response
from app.rest.routers import DefaultRouter
from app.rest.views import APIView
from app.rest.viewsets import ModelViewSet
from tests.rest.test_models import HostSerializer, host, make

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_bad_input"),
    pytest.mark.usefixtures("transaction"),
]


class ByCursor(SizedMixin, CursorPagination):
    ordering = "created_at"
    page_size = 2


class HostViewSet(ModelViewSet):
    authentication_classes = []
    permission_classes = [AllowAny]
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    filterset_fields = {"id": ["exact", "in", "gt"], "name": ["exact"], "created_at": ["gte"]}
    search_fields = ["name"]


class CursorViewSet(HostViewSet):
    pagination_class = ByCursor
    filter_backends = []


class OffsetViewSet(HostViewSet):
    pagination_class = SizedLimitOffsetPagination
    filter_backends = [KnownOrderingFilter]


class Lines(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    parser_classes = [JSONParser, NDJSONParser]

    async def post(self, request):
        return Response([[number, str(value)] for number, value in request.data])


class Anything(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]

    async def post(self, request):
        class AnySerializer(serializers.Serializer):
            number = serializers.FloatField(required=False)
            value = serializers.JSONField(required=False)
            text = serializers.CharField(required=False)
            at = serializers.DateTimeField(required=False)

            class Meta:
                reject_unknown = True

        serializer = AnySerializer(data=request.data)
        await serializer.ais_valid(raise_exception=True)
        return Response(await serializer.adata)


router = DefaultRouter()
router.register("hosts", HostViewSet, "host")
router.register("offset", OffsetViewSet, "offset")
router.register("cursor", CursorViewSet, "cursor")
urlpatterns = [
    path("", include(router.urls)),
    path("lines/", Lines.as_view()),
    path("any/", Anything.as_view()),
]

JSON = "application/json"


async def post(client, body, content_type=JSON, address="/any/"):
    return await client.post(address, body, content_type=content_type)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "line 1 column 2"),
        (b'{"a": 1,\n "b": }', "line 2 column 7"),
        (b"\xff\xfe", "utf-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": NaN}', "not JSON compliant"),
        (b'{"number": ' + b"1" * 5000 + b"}", "parse error"),
        (b"", None),
        (b'"text"', "Expected a dictionary, but got str"),
        (b"[]", "Expected a dictionary, but got list"),
        (b"null", "No data"),
    ],
)
async def test_malformed_json_is_refused_with_its_place(client, body, words):
    response = await post(client, body)
    assert response.status_code == (400 if words else 200)
    assert words is None or words in response.text, response.text


@pytest.mark.parametrize(
    "body",
    [
        b'{"number": 1e999}',
        b'{"number": "nan"}',
        b'{"number": "Infinity"}',
        b'{"number": ' + b"9" * 400 + b"}",
        b'{"value": "\\u0000"}',
        b'{"value": {"\\ud800": 1}}',
        b'{"text": "\\u0000"}',
        b'{"text": "\\ud800"}',
        b'{"text": []}',
        b'{"at": "0001-01-01T00:00:00+23:59"}',
        b'{"at": 1e30}',
        b'{"at": {}}',
    ],
)
async def test_value_that_cannot_be_kept_is_refused_by_its_field(client, body):
    response = await post(client, body)
    assert response.status_code == 400, response.text
    assert set(response.json()) <= {"number", "value", "text", "at"}


async def test_unknown_field_is_named_with_those_that_are_known(client):
    response = await post(client, b'{"tekst": "a", "": 1}')
    assert response.json() == {
        name: ["Unknown field. Known fields: number, value, text, at."] for name in ("tekst", "")
    }


@override_settings(STOWAGE={"REJECT_UNKNOWN_FIELDS": False})
async def test_unknown_field_is_ignored_where_the_project_says_so(client):
    assert (await client.post("/hosts/", host(extra=1))).status_code == 201


async def test_read_only_field_may_be_sent_back(client):
    pk = (await make()).pk
    read = (await client.get(f"/hosts/{pk}/")).json()
    assert (await client.put(f"/hosts/{pk}/", {**read, "name": "b"})).status_code == 200


@pytest.mark.parametrize("content_type", ["text/csv", "application/xml", "nonsense", ";", "a/b/c"])
async def test_media_type_that_nobody_parses_is_415(client, content_type):
    assert (await post(client, b"x", content_type)).status_code == 415


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"--x\r\nContent-Disposition: nonsense\r\n"])
@pytest.mark.parametrize("parameters", ["", "; boundary=", "; boundary=x", "; boundary=\xff"])
async def test_broken_multipart_is_refused(client, body, parameters):
    response = await client.post(
        "/any/", body, content_type="multipart/form-data", headers={"content-type": ""}
    )
    assert response.status_code in (200, 400, 415)
    response = await post(
        client, body, f"multipart/form-data{parameters}".encode().decode("ascii", "ignore")
    )
    assert response.status_code in (200, 400)


@pytest.mark.parametrize(
    "accept", ["image/png", "nonsense", "a/b/c", "text/plain;q=0", "a/b," * 2000]
)
async def test_what_nobody_renders_is_406_and_says_what_there_is(client, accept):
    response = await client.get("/hosts/", headers={"accept": accept})
    assert response.status_code == 406
    assert "application/json" in response.json()["detail"]


@pytest.mark.parametrize("accept", ["a/b;q=x", "*/*;q=1.5", "*/*;q=-1", "*/*;q="])
async def test_accept_that_cannot_be_weighed_is_named(client, accept):
    response = await client.get("/hosts/", headers={"accept": accept})
    assert (response.status_code, list(response.json())) == (400, ["Accept"])


@pytest.mark.parametrize(
    "query",
    [
        "id=99999999999999999999999", "id=-99999999999999999999999", "id=x", "id=1e400",
        "id__in=1,99999999999999999999999", "id__in=,", "id__gt=99999999999999999999999",
        "name=%00", "search=%00", "search=%ff", "created_at__gte=x", "created_at__gte=999999-01-01",
        "ordering=password", "ordering=%00", "page_size=x", "page_size=-1",
        "page_size=99999999999999999999", "page=%00", "format=%00", "%ff=%ff", "&&&===",
    ],
)  # fmt: skip
async def test_query_that_makes_no_sense_is_never_a_fault_of_the_server(client, query):
    response = await client.get(f"/hosts/?{query}")
    assert response.status_code in (200, 400, 404), response.text


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        *((f"cursor/?cursor={text}", 404, ["cursor:", "Follow `next`"])
          for text in ("x", "%00", "cD14", "cD0lMDA%3D", "é", "x" * 3000)),
        ("cursor/?cursor=%ff", 400, ["cursor", "UTF-8"]),
        ("cursor/?page_size=0", 400, ["page_size", "from 1 to 1000"]),
        *((f"hosts/?page={text}", 404, ["page:", "whole number from 1"])
          for text in ("0", "-1", "x", "1.5", "%00", "99", "9" * 5000)),
        *((f"hosts/?page_size={text}", 400, ["page_size", "from 1 to 1000"])
          for text in ("0", "-1", "x", "1.5", "%00", "", "%C2%B2", "1e3", "000")),
        *((f"offset/?limit={text}", 400, ["limit", "from 1 to 1000"])
          for text in ("0", "-1", "x", "%D9%A3", "")),
        *((f"offset/?offset={text}", 400, ["offset", "from 0 to"])
          for text in ("-1", "x", "1.5", "", "%00")),
        *((f"{name}/?ordering={text}", 400, ["ordering", "is nothing to order by", "memory_bytes"])
          for name in ("hosts", "offset")
          for text in ("password", "-x", "name,x", "--name", "%00", "%F0%9F%98%80", "x" * 3000)),
        ("hosts/?search=%ff", 400, ["search", "UTF-8"]),
        ("hosts/?%ff=1", 400, ["\\\\xff", "UTF-8"]),
        ("hosts/?" + "a&" * 1001, 400, ["more than 1000 parameters"]),
    ],
)  # fmt: skip
async def test_parameter_that_makes_no_sense_is_named_with_the_remedy(
    client, address, status, words
):
    for name in "abc":
        await make(name)
    response = await client.get(f"/{address}")
    assert response.status_code == status, response.text
    for word in words:
        assert word in response.text
    page = await client.get(f"/{address}", HTTP_ACCEPT="text/html")
    assert page.status_code == status


@pytest.mark.parametrize(
    "query",
    ["limit=" + "9" * 5000, "limit=2&offset=" + "9" * 5000, "limit=00002&offset=000",
     "ordering=", "ordering=-name,,id,", "page=1"],
)  # fmt: skip
async def test_parameter_that_is_odd_but_right_is_taken(client, query):
    await make("a")
    assert (await client.get(f"/offset/?{query}")).status_code == 200


async def test_cursor_walks_through_all_and_is_stable_under_inserts(client):
    for name in "abcd":
        await make(name)
    first = (await client.get("/cursor/")).json()
    await Host.objects.acreate(
        name="before", cpus=1, memory_bytes=1, created_at="2000-01-01T00:00:00Z"
    )
    second = (await client.get(first["next"])).json()
    assert [one["name"] for one in first["results"] + second["results"]] == list("abcd")
    assert second["next"] is None
    back = (await client.get(second["previous"])).json()
    assert [one["name"] for one in back["results"]] == ["a", "b"]


async def test_ndjson_says_which_line_is_bad_and_reads_the_others(client):
    body = b'{"a": 1}\n\n{"a": }\n"\xff"\n2'
    response = await post(client, body, "application/x-ndjson", "/lines/")
    lines = dict(response.json())
    assert list(lines) == [1, 3, 4, 5]
    assert (lines[1], lines[5]) == ("{'a': 1}", "2")
    assert "column 7" in lines[3]
    assert "utf-8" in lines[4]


@pytest.mark.parametrize("name", ["a" * 254, "", None, 5.5, [], {}, True, "\x00"])
async def test_wrong_name_is_refused(client, name):
    response = await client.post("/hosts/", host(name))
    assert response.status_code in (201, 400)
    assert response.status_code == 400 or isinstance(name, float)


@pytest.mark.parametrize("memory", [-(2**63) - 1, 2**63, 10**40, "1" * 2000, 1e300, "nan"])
async def test_number_out_of_range_is_refused(client, memory):
    response = await client.post("/hosts/", host(memory_bytes=memory))
    assert response.status_code == 400
    assert "memory_bytes" in response.json()

"""Errors as problem details: every path that ends in one, and what none of them ever tells."""

import pytest
from django.test import override_settings
from django.urls import path

from app import db, errors
from app.fleet.models import Host
from app.ops import error_pages
from app.rest import serializers
from app.rest.exceptions import NotAuthenticated, PreconditionFailed, Throttled
from app.rest.permissions import AllowAny, IsAuthenticated
from app.rest.problems import is_asked_for
from app.rest.response import Response
from app.rest.views import APIView

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_problems")]

JSON, PROBLEM = "application/json", "application/problem+json"
ACCEPT = {"HTTP_ACCEPT": f"{JSON}, {PROBLEM}"}


class Inner(serializers.Serializer):
    size = serializers.IntegerField()


class Thing(serializers.Serializer):
    name = serializers.CharField(max_length=3)
    parts = Inner(many=True)


class Open(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]


class Things(Open):
    async def get(self, request):
        return Response({"format": request.accepted_media_type})

    async def post(self, request):
        thing = Thing(data=request.data)
        await thing.ais_valid(raise_exception=True)
        return Response(await thing.adata)


async def of_missing_table():
    await db.fetch("SELECT secret_column FROM secret_table")


async def of_constraint():
    fields = {"name": "a", "cpus": -1, "memory_bytes": 1}
    await Host.objects.acreate(**fields)


async def of_range():
    await Host.objects.acreate(name="x" * 999, cpus=1, memory_bytes=1)


def raising(error):
    async def fail():
        raise error

    return fail


FAULTS = {
    "sql": (of_missing_table, 500),
    "constraint": (of_constraint, 400),
    "range": (of_range, 400),
    "path": (raising(OSError(2, "No such file", "/etc/secret_path")), 500),
    "denied": (raising(errors.Denied("You may not.")), 403),
    "anonymous": (raising(NotAuthenticated()), 403),
    "conflict": (raising(errors.Conflict("Taken.")), 409),
    "missing": (raising(errors.NotFound("There is no such thing.")), 404),
    "outdated": (raising(PreconditionFailed(version=7)), 412),
    "throttled": (raising(Throttled(3)), 429),
    "unavailable": (raising(errors.Unavailable("Later.")), 503),
}


class Faulty(Open):
    async def get(self, request, kind):
        await FAULTS[kind][0]()


class Closed(APIView):
    permission_classes = [IsAuthenticated]


urlpatterns = [
    path("api/things/", Things.as_view()),
    path("api/faulty/<kind>/", Faulty.as_view()),
    path("api/closed/", Closed.as_view()),
]
handler400, handler403 = error_pages.bad_request, error_pages.permission_denied
handler404, handler500 = error_pages.not_found, error_pages.server_error


def check(response, status):
    assert response.status_code == status, response.content
    assert response["Content-Type"].startswith(PROBLEM)
    assert "Accept" in response["Vary"]
    problem = response.json()
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["instance"].startswith("/api/")
    assert problem["title"]
    assert problem["detail"]
    return problem


@pytest.mark.parametrize(
    ("method", "url", "status", "more"),
    [
        ("get", "/api/nothing/", 404, {}),
        ("get", "/api/closed/", 401, {}),
        ("delete", "/api/things/", 405, {}),
        ("get", "/api/things/", 406, {"HTTP_ACCEPT": f"image/png, {PROBLEM}"}),
        ("get", "/api/things/", 400, {"HTTP_ACCEPT": f"{PROBLEM}, */*;q=high"}),
        ("post", "/api/things/", 415, {"data": "x", "content_type": "text/csv"}),
        ("post", "/api/things/", 400, {"data": "{", "content_type": JSON}),
        ("post", "/api/things/", 413, {"data": b"1" * 2**24, "content_type": JSON}),
        ("get", "/api/things/", 400, {"HTTP_HOST": "evil.example"}),
        ("get", "/api/things/?format=none", 404, {}),
    ],
)
async def test_error_of_every_part_is_a_problem(  # noqa: PLR0917 - a row of the table
    client, hops, method, url, status, more
):
    check(await getattr(client, method)(url, **{**ACCEPT, **more}), status)
    assert not hops


@pytest.mark.usefixtures("transaction")
@pytest.mark.hops("Django logs a fault of the server in a thread")
@pytest.mark.parametrize("accept", [JSON, f"{JSON}, {PROBLEM}"])
@pytest.mark.parametrize("kind", list(FAULTS))
async def test_error_tells_nothing_of_sql_paths_or_stacks(client, kind, accept):
    response = await client.get(f"/api/faulty/{kind}/", HTTP_ACCEPT=accept)
    assert response.status_code == FAULTS[kind][1]
    if PROBLEM in accept:
        check(response, FAULTS[kind][1])
    for word in (
        "SELECT",
        "secret",
        "fleet_host",
        "host_cpus",
        "Traceback",
        "/etc",
        ".py",
        "varying",
    ):
        assert word not in response.text
    if response.status_code in {429, 503}:
        assert int(response["Retry-After"]) > 0


async def test_error_of_a_field_points_to_it(client):
    body = {"name": "long name", "parts": [{"size": 1}, {"size": "x"}]}
    problem = check(await client.post("/api/things/", body, **ACCEPT), 400)
    assert problem["detail"] == "The request has 2 errors."
    assert [(one["pointer"], one["code"]) for one in problem["errors"]] == [
        ("#/name", "max_length"),
        ("#/parts/1/size", "invalid"),
    ]


async def test_error_of_a_header_names_it_and_one_of_all_points_to_all(client):
    problem = check(await client.post("/api/things/", [], **ACCEPT), 400)
    assert [one["pointer"] for one in problem["errors"]] == ["#"]


async def test_what_an_error_says_beside_its_detail_is_kept(client):
    problem = check(await client.get("/api/faulty/outdated/", **ACCEPT), 412)
    assert problem["version"] == 7


async def test_who_does_not_ask_gets_drfs_form(client):
    response = await client.get("/api/nothing/")
    assert (response["Content-Type"], list(response.json())) == (JSON, ["detail"])
    assert "Accept" in response["Vary"]


async def test_who_asks_for_problems_alone_gets_what_the_view_has(client):
    response = await client.get("/api/things/", HTTP_ACCEPT=PROBLEM)
    assert (response.status_code, response.json()) == (200, {"format": JSON})


@override_settings(STOWAGE={"PROBLEM_DETAILS": True})
async def test_setting_gives_problems_to_everybody(client):
    check(await client.get("/api/nothing/"), 404)
    check(await client.delete("/api/things/"), 405)


@pytest.mark.urls("app.urls")
@override_settings(STOWAGE={"PROBLEM_DETAILS": True})
async def test_browser_gets_a_page_all_the_same(client):
    page = await client.get("/api/v1/hosts/", HTTP_ACCEPT=f"text/html, {PROBLEM};q=0.5")
    assert (page.status_code, page["Content-Type"]) == (401, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("accept", "is_asked"),
    [
        (PROBLEM, True),
        (f"{JSON}, {PROBLEM};q=0.5", True),
        (f"{JSON},{PROBLEM.upper()}", True),
        (f"{PROBLEM};q=0", False),
        (f"{JSON}, {PROBLEM}; q=0.000", False),
        ("*/*", False),
        (f"{PROBLEM}x", False),
    ],
)
async def test_type_is_asked_for_by_name(accept, is_asked):
    assert is_asked_for(accept) is is_asked

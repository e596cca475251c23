"""The request log: one line a request, and no secret in it."""

import json
import logging
from collections.abc import Iterator

import pytest
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse

from app.ops.middleware import RequestLogMiddleware, readable_route
from app.rest.handlers import ASGIHandler
from app.rest.test import APIClient


@pytest.fixture
def logging_client(settings: object) -> APIClient:
    settings.REQUEST_LOG = True  # type: ignore[attr-defined]
    return APIClient(app=ASGIHandler())


@pytest.fixture
def lines() -> Iterator[list[dict[str, object]]]:
    """The lines as they are written."""
    written: list[dict[str, object]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(json.loads(record.getMessage()))

    logger = logging.getLogger("app.ops.requests")
    handler = Collect()
    logger.addHandler(handler)
    yield written
    logger.removeHandler(handler)


@pytest.mark.asyncio
async def test_a_line_holds_method_template_status_and_duration(
    logging_client: APIClient, transaction: None, lines: list[dict[str, object]]
) -> None:
    await logging_client.get("/api/v1/hosts/17/?token=secret", HTTP_AUTHORIZATION="Bearer secret")
    (line,) = lines
    assert line.pop("duration_ms") > 0  # type: ignore[operator]
    assert line == {"method": "GET", "path": "/api/v1/hosts/<pk>/", "status": 401}


@pytest.mark.asyncio
async def test_what_no_route_answered_is_logged_without_its_path(
    logging_client: APIClient, lines: list[dict[str, object]]
) -> None:
    await logging_client.get("/secret-in-a-path/")
    assert (lines[0]["path"], lines[0]["status"]) == ("(no route)", 404)


@pytest.mark.asyncio
async def test_probes_leave_no_line(
    logging_client: APIClient, lines: list[dict[str, object]]
) -> None:
    await logging_client.get("/healthz")
    assert lines == []


def test_without_the_setting_the_middleware_is_not_there() -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    with pytest.raises(MiddlewareNotUsed):
        RequestLogMiddleware(view)


@pytest.mark.parametrize(
    ("route", "readable"),
    [
        ("", "/"),
        ("api/v1/^hosts/$", "/api/v1/hosts/"),
        ("api/v1/hosts/(?P<pk>[^/.]+)/$", "/api/v1/hosts/<pk>/"),
        (r"^x/(?P<pk>(a|b)+)/y\.(?P<format>[a-z0-9]+)/?$", "/x/<pk>/y.<format>/"),
        ("hosts/<int:host_id>/containers/", "/hosts/<int:host_id>/containers/"),
        ("^api/", "/api/"),
        (r"end\Z", "/end"),
    ],
)
def test_a_route_reads_as_a_path(route: str, readable: str) -> None:
    assert readable_route(route) == readable

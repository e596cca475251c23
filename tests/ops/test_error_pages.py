"""What answers when no view does."""

from typing import Any

import pytest

from app.ops import error_pages
from app.rest.test import APIClient, APIRequestFactory

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
@pytest.mark.parametrize("path", ["/api/", "/api/v1/nothing/", "/api/v2/hosts/", "/api/v1/no/a/b"])
async def test_an_unknown_endpoint_is_404_in_json_and_says_where_to_look(
    client: APIClient, method: str, path: str
) -> None:
    response = await getattr(client, method)(path)
    assert response.status_code == 404
    assert path in response.json()["detail"]
    assert "/api/v1/" in response.json()["detail"]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
async def test_a_missing_slash_leads_to_the_endpoint_with_method_body_and_query(
    client: APIClient, method: str
) -> None:
    response = await getattr(client, method)("/api/v1/hosts?page=2")
    # 308, not Django's 301: with that, clients turn a POST into a GET and drop its body.
    if method == "get":
        assert (response.status_code, response["Location"]) == (308, "/api/v1/hosts/?page=2")
    else:
        assert response.status_code == 308
        assert response["Location"].startswith("/api/v1/hosts/")


async def test_the_root_lists_every_resource_to_anybody(client: APIClient) -> None:
    response = await client.get("/api/v1/")
    assert response.status_code == 200
    addresses = response.json()
    assert {"hosts", "workloads", "usage", "tokens", "me"} <= addresses.keys()
    assert addresses["me"] == "http://testserver/api/v1/me/"


async def test_the_site_leads_to_the_api(client: APIClient) -> None:
    response = await client.get("/")
    assert (response.status_code, response["Location"]) == (302, "/api/v1/")


@pytest.mark.parametrize("path", ["/nothing/", "/apis", "/auth/nothing/"])
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("application/json, text/html;q=0.5", "application/json"),
        ("application/json, application/problem+json", "application/problem+json"),
    ],
)
async def test_path_that_matches_nothing_is_404_in_the_form_asked_for(
    client: APIClient, path: str, accept: str, kind: str
) -> None:
    response = await client.get(path, **({"HTTP_ACCEPT": accept} if accept else {}))
    assert response.status_code == 404
    assert response["Content-Type"].partition(";")[0] == kind
    assert "Accept" in response["Vary"]


async def test_a_host_that_is_not_served_is_400(client: APIClient) -> None:
    response = await client.get("/api/v1/", HTTP_HOST="evil.example")
    assert response.status_code == 400
    assert "Host header" in response.json()["detail"]


@pytest.mark.parametrize(
    ("page", "status"),
    [
        (error_pages.bad_request, 400),
        (error_pages.permission_denied, 403),
        (error_pages.not_found, 404),
        (lambda request, _: error_pages.server_error(request), 500),
        (lambda request, _: error_pages.csrf_failure(request), 403),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/x/", "/x/"])
async def test_pages_are_in_the_form_asked_for_and_tell_nothing_of_the_fault(
    page: Any, status: int, path: str
) -> None:
    factory = APIRequestFactory()
    for accept, kind in (("application/json", "application/json"), ("text/html", "text/html")):
        response = page(factory.get(path, headers={"accept": accept}), Exception("inner detail"))
        assert response.status_code == status
        assert response["Content-Type"].startswith(kind)
        assert b"inner detail" not in response.content


async def test_api_without_browsable_pages_answers_in_json_whatever_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.rest.error_responses._is_browsable", lambda: False)
    request = APIRequestFactory().get("/api/x/", headers={"accept": "text/html"})
    response = error_pages.not_found(request, Exception())
    assert response["Content-Type"] == "application/json"

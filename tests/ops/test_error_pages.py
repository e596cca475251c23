"""What answers when no view does."""

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


async def test_outside_the_api_an_unknown_path_is_a_page(client: APIClient) -> None:
    response = await client.get("/nothing/")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


async def test_a_host_that_is_not_served_is_400(client: APIClient) -> None:
    response = await client.get("/api/v1/", HTTP_HOST="evil.example")
    assert response.status_code == 400
    assert response.json() == {"detail": "The request is malformed."}


@pytest.mark.parametrize(
    ("page", "status"),
    [
        (error_pages.bad_request, 400),
        (error_pages.permission_denied, 403),
        (error_pages.not_found, 404),
    ],
)
async def test_pages_are_json_under_api_and_djangos_elsewhere(page: object, status: int) -> None:
    factory = APIRequestFactory()
    for path, kind in (("/api/v1/x/", "application/json"), ("/x/", "text/html")):
        response = page(factory.get(path), Exception("inner detail"))  # type: ignore[operator]
        assert response.status_code == status
        assert response["Content-Type"].startswith(kind)
        assert b"inner detail" not in response.content


async def test_a_fault_of_the_server_tells_nothing_of_what_it_was() -> None:
    factory = APIRequestFactory()
    for path, kind in (("/api/v1/x/", "application/json"), ("/x/", "text/html")):
        response = error_pages.server_error(factory.get(path))
        assert response.status_code == 500
        assert response["Content-Type"].startswith(kind)

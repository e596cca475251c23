"""/healthz and /readyz, as an orchestrator asks them."""

import pytest

from app import db
from app.ops.draining import Draining, draining
from app.rest.test import APIClient

pytestmark = pytest.mark.asyncio


async def test_health_asks_nothing_of_the_database(client: APIClient) -> None:
    # No fixture of the database is there: a query would fail.
    response = await client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")


async def test_probes_are_answered_whatever_the_host_and_without_tls(
    client: APIClient, transaction: None, settings: object
) -> None:
    settings.SECURE_SSL_REDIRECT = True  # type: ignore[attr-defined]
    for path in ("/healthz", "/readyz"):
        response = await client.get(path, HTTP_HOST="10.1.2.3:8000")
        assert response.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_are_for_reading(client: APIClient, transaction: None, path: str) -> None:
    assert (await client.head(path)).status_code == 200
    response = await client.post(path)
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"


async def test_ready_when_the_database_is_migrated(client: APIClient, transaction: None) -> None:
    response = await client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"ready": True, "obstacles": []}
    assert response["Cache-Control"] == "no-store"


async def test_not_ready_while_a_migration_is_missing(client: APIClient, transaction: None) -> None:
    await db.execute("DELETE FROM django_migrations WHERE app = 'fleet' AND name = '0001_initial'")
    response = await client.get("/readyz")
    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    assert "fleet.0001_initial" in response.json()["obstacles"][0]


async def test_not_ready_while_draining_yet_healthy(
    client: APIClient, transaction: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "is_on", True)
    response = await client.get("/readyz")
    assert response.status_code == 503
    assert "draining" in response.json()["obstacles"][0]
    assert (await client.get("/healthz")).status_code == 200


async def test_draining_once_started_is_never_over() -> None:
    one = Draining()
    one.start()
    one.start()
    assert one.is_on

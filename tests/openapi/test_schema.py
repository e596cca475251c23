"""The API's description: complete, valid, current, and served without a thread or a query."""

import io
import subprocess
import sys

import pytest
import yaml
from django.core.management import call_command
from django.urls import URLPattern, URLResolver, get_resolver

from app.rest.schema_views import documents
from app.rest.test import APIClient
from app.rest.views import APIView
from settings import env
from tests.running import ROOT

SNAPSHOT = ROOT / "docs" / "openapi.yaml"
MADE_ONCE = pytest.mark.blocks("the first request for a schema makes it, in turns, some long")
UNDESCRIBED = {"api-root", "schema", "docs", "redoc"}


@pytest.fixture(scope="module")
def generated() -> str:
    """What `manage.py spectacular` writes; a warning is an error, an invalid schema too."""
    out = io.StringIO()
    call_command("spectacular", fail_on_warn=True, validate=True, stdout=out)
    return out.getvalue()


@pytest.mark.timeout(20)
def test_schema_is_valid_and_made_without_a_warning(generated: str) -> None:
    schema = yaml.safe_load(generated)
    assert schema["openapi"] == "3.1.0"


@pytest.mark.timeout(20)
def test_snapshot_in_the_docs_is_current(generated: str) -> None:
    assert SNAPSHOT.read_text(encoding="utf-8") == generated, "make schema"


def names_of_views(patterns: list[URLPattern | URLResolver]) -> set[str]:
    names = set()
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            names |= names_of_views(pattern.url_patterns)
        elif issubclass(getattr(pattern.callback, "cls", object), APIView):
            names.add(pattern.name or "")
    return names


@pytest.mark.timeout(20)
def test_every_view_is_described(generated: str) -> None:
    paths = yaml.safe_load(generated)["paths"]
    described = {get_resolver().resolve(path.format_map(Ones())).url_name for path in paths}
    assert names_of_views(get_resolver().url_patterns) - described == UNDESCRIBED


class Ones(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "1"


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.timeout(20)
@MADE_ONCE
async def test_schema_is_served_as_json_or_yaml(client: APIClient, hops: list[str]) -> None:
    as_json = await client.get("/api/v1/schema/")
    as_yaml = await client.get("/api/v1/schema/", HTTP_ACCEPT="application/yaml")
    assert as_json["Content-Type"].startswith("application/json")
    assert as_yaml["Content-Type"].startswith("application/yaml")
    assert as_json.json()["paths"] == yaml.safe_load(as_yaml.content)["paths"]
    assert not hops


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.timeout(20)
@MADE_ONCE
async def test_schema_is_made_once(client: APIClient) -> None:
    await documents.get("json")
    assert await documents.get("json") is await documents.get("json")


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("name", ["docs", "redoc"])
async def test_reader_takes_all_from_this_server(
    client: APIClient, hops: list[str], name: str
) -> None:
    page = (await client.get(f"/api/v1/{name}/")).content.decode()
    assert "/static/drf_spectacular_sidecar/" in page
    assert "/api/v1/schema/" in page
    assert "http://" not in page
    assert "https://" not in page
    assert not hops


@pytest.mark.timeout(20)
def test_production_imports_nothing_for_a_schema_that_it_does_not_serve() -> None:
    script = (
        "import sys, django; django.setup(); from django.urls import get_resolver;"
        "get_resolver().url_patterns; print('drf_spectacular' in sys.modules)"
    )
    for is_on in (False, True):
        environment = env.inherited(
            DJANGO_SETTINGS_MODULE="settings.production",
            SECRET_KEY="a-secret-key-for-one-test-" + "0123456789" * 4,
            ALLOWED_HOSTS="api.example",
            OPENAPI=str(is_on),
        )
        command = [sys.executable, "-c", script]
        answer = subprocess.run(
            command, cwd=ROOT, env=environment, check=True, text=True, stdout=subprocess.PIPE
        )
        assert answer.stdout.strip() == str(is_on)

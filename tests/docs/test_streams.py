"""The snippets of docs/streams.md, run as they stand."""

import asyncio
import types

import pytest
from django.urls import path

import asgi
from app.fleet import services
from settings import env
from tests.docs.snippets import snippets
from tests.servers import serving, until

pytestmark = pytest.mark.asyncio


@pytest.fixture
def document(settings):
    module = types.ModuleType("docs_streams")
    code = next(one.text for one in snippets("docs/streams.md") if one.language == "python")
    exec(code, vars(module))
    module.urlpatterns = [path("tides/", module.Tides.as_view())]
    settings.ROOT_URLCONF = module
    return module


async def test_what_is_announced_reaches_who_listens(document, client, hops):
    async with client.stream("GET", "/tides/") as (_, chunks):
        assert await anext(chunks) == b"id: 1\ndata: the tide is low\n\n"
        received = asyncio.ensure_future(anext(chunks))
        await until(lambda: document.hub.channels)
        document.announce("high")
        assert await received == b"data: high\n\n"
    assert not hops


@pytest.mark.timeout(20)  # a process of its own
async def test_curl_follows_the_events_as_the_document_says(committed, client_with):
    (command,) = [one for snippet in snippets("docs/streams.md") for one in snippet.commands]
    reader = await client_with("read")
    token = reader._credentials["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    async with serving(asgi.application) as (_, port):
        curl = await asyncio.create_subprocess_exec(
            "bash", "-c", f"exec {command.replace(':8000', f':{port}')}",
            env=env.inherited(TOKEN=token), stdout=-1, stderr=-3,
        )  # fmt: skip
        assert await curl.stdout.readline() == b"id: 0\n"
        assert await curl.stdout.readline() == b"event: bookmark\n"
        await services.create_workload(name="w", image="x")
        while not (line := await curl.stdout.readline()).startswith(b'data: {"id"'):
            pass
        assert b"workload.created" in line
        curl.terminate()
        await curl.wait()

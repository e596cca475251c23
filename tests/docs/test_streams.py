"""The snippet of docs/streams.md, run as it stands."""

import asyncio
import types

import pytest
from django.urls import path

from tests.docs.snippets import snippets
from tests.servers import until

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

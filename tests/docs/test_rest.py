"""The snippets of docs/rest.md, run as they stand."""

import sys
import types

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.docs.snippets import snippets

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]


@pytest.fixture
def document(settings):
    """The snippets as one module, whose URLs are served."""
    module = types.ModuleType("docs_rest")
    sys.modules[module.__name__] = module
    for snippet in snippets("docs/rest.md"):
        if snippet.language == "python":
            exec(snippet.text, vars(module))
    module.urlpatterns += paths_of(module)
    settings.ROOT_URLCONF = module.__name__
    yield module
    from app.rest.lifespan import lifespan

    lifespan._background.remove(module.keep_counting)
    del sys.modules[module.__name__]


def paths_of(module):
    from django.urls import path

    return [
        path("count/", module.count),
        path("partners/", module.partners),
        path("upload/", module.UploadView.as_view()),
        path("lines/", module.LinesView.as_view()),
    ]


async def add_container():
    from app.fleet.models import Container, Host

    await Container.objects.acreate(host=await Host.objects.aget(name="b"), name="c", engine_id="e")


async def test_snippets_of_the_rest_document_do_what_they_say(document, client, hops):
    await document.test_host_is_created_and_renamed()
    assert (await client.get("/count/")).json() == {"hosts": 1}
    assert (await client.get("/partners/", HTTP_X_KEY="sesame")).json() == {
        "who": "partner",
        "by": "key",
    }
    assert (await client.get("/partners/", HTTP_X_KEY="none")).status_code == 403
    again = {"name": "B", "cpus": 2, "memory_bytes": 2**30}
    response = await client.post("/hosts/", again)
    assert response.json() == {"name": ["A host of this name exists. Choose another."]}
    response = await client.post("/hosts/", {**again, "name": "c", "memory_bytes": 1})
    assert response.json() == {"non_field_errors": ["A core needs at least 1 MiB."]}
    assert (await client.get("/hosts/?search=b")).json()["results"][0]["neighbours"] == 0
    await add_container()
    (row,) = (await client.get("/containers/?fields=name,host.name")).json()["results"]
    assert row == {"name": "c", "host": {"name": "b"}}
    file = SimpleUploadedFile("a.txt", b"content")
    response = await client.post("/upload/", {"file": file}, format="multipart")
    assert response.json() == {"size": 7}
    response = await client.post("/lines/", b"1\nx\n", content_type="application/x-ndjson")
    assert response.json() == {"bad": [2]}
    assert (await client.patch("/all-hosts/", [{"id": 0}])).json()["0"]["id"]
    one = f"/cached/{(await client.get('/hosts/')).json()['results'][0]['id']}/"
    tag = (await client.get(one))["ETag"]
    assert (await client.get(one, HTTP_IF_NONE_MATCH=tag)).status_code == 304
    assert (await client.patch(one, {"cpus": 3}, HTTP_IF_MATCH='"9"')).status_code == 412
    assert not hops

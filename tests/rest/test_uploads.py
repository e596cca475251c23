"""Uploads and NDJSON while they arrive: bounded memory, limits, nothing that blocks."""

import asyncio
import json
import tracemalloc
from pathlib import Path

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.urls import path

import asgi
from app.rest import serializers, uploads
from app.rest.parsers import FileUploadParser, FormParser, MultiPartParser, NDJSONStreamParser
from app.rest.permissions import AllowAny
from app.rest.response import Response
from app.rest.test import APIClient, TestResponse
from app.rest.views import APIView
from tests.conformance.db.models import Specimen

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_uploads")]

LARGE = pytest.mark.hops("the chunks of a large file are written by a thread")
MIB = 2**20


class Open(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = []


class Upload(Open):
    parser_classes = [MultiPartParser, FormParser]

    async def post(self, request):
        files = {
            name: [file.name, file.size, type(file).__name__, len(await uploads.aread(file))]
            for name, file in request.FILES.items()
        }
        return Response({"fields": dict(request.POST), "files": files})


class Limited(Upload):
    class Small(MultiPartParser):
        max_bytes = 4 * MIB

    parser_classes = [Small]


class File(Open):
    parser_classes = [FileUploadParser]

    async def put(self, request, filename=None):
        file = request.data["file"]
        return Response([file.name, len(await uploads.aread(file))])


class Lines(Open):
    parser_classes = [NDJSONStreamParser]
    seen: list = []

    async def post(self, request):
        count, bad = 0, []
        async for number, value in request.data:
            count += 1
            Lines.seen.append(number)
            if isinstance(value, Exception):
                bad.append(number)
        return Response({"count": count, "bad": bad})


class LimitedLines(Lines):
    class Small(NDJSONStreamParser):
        max_bytes = 100
        max_line_bytes = 20

    parser_classes = [Small]


urlpatterns = [
    path("upload/", Upload.as_view()),
    path("limited/", Limited.as_view()),
    path("file/<str:filename>", File.as_view()),
    path("file/", File.as_view()),
    path("lines/", Lines.as_view()),
    path("limited-lines/", LimitedLines.as_view()),
]

BOUNDARY = "limit"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def part(name, content=b"", filename=None):
    file = f'; filename="{filename}"' if filename else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


async def send(url, pieces, content_type=FORM, length=None, method="POST", **headers):
    """Send a body in pieces, as a server hands it on; without a length, in chunks."""
    sent, pieces = [], iter(pieces)
    framing = (b"transfer-encoding", b"chunked")
    if length is not None:
        framing = (b"content-length", str(length).encode())
    more = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    scope = {
        "type": "http", "method": method, "path": url, "query_string": b"", "scheme": "http",
        "headers": [
            (b"host", b"testserver"), (b"content-type", content_type.encode()), framing, *more,
        ],
    }  # fmt: skip
    done = asyncio.Event()

    async def receive():
        await asyncio.sleep(0)
        piece = next(pieces, None)
        if piece is None:
            if not done.is_set():
                done.set()
                return {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.Event().wait()
        return {"type": "http.request", "body": piece, "more_body": True}

    async def keep(message):
        sent.append(message)

    await asgi.application(scope, receive, keep)
    start, *rest = sent
    return TestResponse(start, [message.get("body", b"") for message in rest])


def form_of(size, chunk=64 * 1024):
    """A form with a field and a file of `size` bytes, in pieces."""
    yield part("name", b"value") + part("file", b"", "big.bin").removesuffix(b"\r\n")
    for _ in range(size // chunk):
        yield b"x" * chunk
    yield b"\r\n" + part("after", b"more") + END


async def test_small_form_is_parsed_in_memory(hops):
    client = APIClient()
    file = SimpleUploadedFile("a.txt", b"content")
    response = await client.post("/upload/", {"name": "n", "file": file}, format="multipart")
    assert response.json() == {
        "fields": {"name": ["n"]},
        "files": {"file": ["a.txt", 7, "InMemoryUploadedFile", 7]},
    }
    assert not hops


@LARGE
@pytest.mark.parametrize("has_length", [True, False])
async def test_large_form_goes_to_the_disk_while_it_arrives(has_length):
    size = 8 * MIB
    length = sum(map(len, form_of(size))) if has_length else None
    response = await send("/upload/", form_of(size), length=length)
    assert response.status_code == 200, response.text
    assert response.json() == {
        "fields": {"name": ["value"], "after": ["more"]},
        "files": {"file": ["big.bin", size, "TemporaryUploadedFile", size]},
    }


@LARGE
@pytest.mark.timeout(20)  # 24 MiB over a thread, chunk by chunk
async def test_memory_does_not_grow_with_the_upload(monkeypatch):
    monkeypatch.setattr(uploads, "aread", _nothing)
    tracemalloc.start()
    try:
        response = await send("/upload/", form_of(24 * MIB))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert response.json()["files"]["file"][1] == 24 * MIB
    assert peak < 4 * MIB, peak


async def _nothing(file):
    return b""


@LARGE
async def test_temporary_file_is_gone_after_the_request(monkeypatch):
    names = []
    monkeypatch.setattr(uploads, "aread", _noting(names))
    await send("/upload/", form_of(3 * MIB))
    assert len(names) == 1
    assert not await asyncio.to_thread(Path(names[0]).exists)


def _noting(names):
    async def note(file):
        names.append(file.temporary_file_path())
        return b""

    return note


async def test_upload_over_the_limit_is_refused_before_it_is_read():
    taken = []

    def pieces():
        for piece in form_of(8 * MIB):
            taken.append(piece)
            yield piece

    response = await send("/limited/", pieces(), length=8 * MIB)
    assert (response.status_code, taken) == (413, [])
    assert str(4 * MIB) in response.json()["detail"]


@LARGE
async def test_upload_of_unknown_length_is_refused_at_the_limit():
    taken = []

    def pieces():
        for piece in form_of(8 * MIB):
            taken.append(len(piece))
            yield piece

    response = await send("/limited/", pieces())
    assert response.status_code == 413
    assert sum(taken) < 4.2 * MIB


@LARGE
async def test_fields_count_against_the_limit_of_memory(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    pieces = [part("name", b"x" * 2000), part("file", b"", "a")[:-2], *[b"x" * 65536] * 50, END]
    assert (await send("/upload/", pieces)).status_code == 413


@LARGE
@pytest.mark.parametrize(
    ("pieces", "content_type"),
    [
        ([b"nonsense"] * 10, "multipart/form-data; boundary=\x7f"),
        ([b"x"], "multipart/form-data"),
        ([part("a")] * 2000, FORM),
    ],
)
async def test_broken_form_is_a_400(pieces, content_type):
    response = await send("/upload/", pieces, content_type)
    assert response.status_code == 400, response.text
    assert response.json()["detail"]


@LARGE
async def test_disk_that_is_full_is_a_503_that_says_so(monkeypatch):
    def full(self, raw_data, start):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        "django.core.files.uploadhandler.TemporaryFileUploadHandler.receive_data_chunk", full
    )
    response = await send("/upload/", form_of(3 * MIB))
    assert (response.status_code, response["Retry-After"]) == (503, "60")
    assert "cannot be stored" in response.json()["detail"]


@LARGE
async def test_other_requests_are_served_during_an_upload():
    client = APIClient()
    upload = asyncio.create_task(send("/upload/", form_of(3 * MIB, MIB)))
    answered = 0
    while not upload.done():
        assert (await client.post("/upload/", {"a": "b"}, format="multipart")).status_code == 200
        answered += 1
        await asyncio.sleep(0.001)
    assert upload.result().status_code == 200
    assert answered > 3


@LARGE
async def test_client_that_leaves_during_an_upload_leaves_nothing_behind(monkeypatch):
    kept, is_made = [], asyncio.Event()
    loop, original = asyncio.get_running_loop(), TemporaryUploadedFile.__init__

    def init(self, *args, **kwargs):
        original(self, *args, **kwargs)
        kept.append(self.temporary_file_path())
        loop.call_soon_threadsafe(is_made.set)

    monkeypatch.setattr(TemporaryUploadedFile, "__init__", init)
    task = asyncio.create_task(send("/upload/", _endless()))
    await is_made.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    for _ in range(100):
        if not await asyncio.to_thread(Path(kept[0]).exists):
            return
        await asyncio.sleep(0.01)
    pytest.fail("the temporary file is still there")


def _endless():
    yield part("file", b"", "a")[:-2]
    while True:
        yield b"x" * 1000


@LARGE
async def test_file_is_the_body(hops):
    client = APIClient()
    response = await client.put("/file/a.bin", b"content", content_type="image/png")
    assert response.json() == ["a.bin", 7]
    assert not hops
    pieces = [b"x" * MIB] * 4
    named = {"content_disposition": "attachment; filename=b.bin"}
    response = await send("/file/", pieces, "image/png", 4 * MIB, "PUT", **named)
    assert response.json() == ["b.bin", 4 * MIB]
    nameless = await send("/file/", pieces, "image/png", 4 * MIB, "PUT")
    assert "Content-Disposition" in nameless.json()["detail"]


# NDJSON


async def test_lines_are_read_while_they_arrive(hops):
    Lines.seen = []
    progress = []

    def pieces():
        yield b'{"a": 1}\n{"a"'
        for _ in range(3):
            progress.append(list(Lines.seen))
            yield b': 2}\n\nnot json\n{"a"'
        yield b": 3}"

    response = await send("/lines/", pieces(), "application/x-ndjson")
    assert response.json() == {"count": 8, "bad": [4, 7, 10]}
    assert progress == [[1], [1, 2, 4], [1, 2, 4, 5, 7]], "taken before the next piece was sent"
    assert not hops


async def test_memory_does_not_grow_with_the_lines():
    line = json.dumps({"container": 1, "cpu": 0.5}).encode() + b"\n"
    Lines.seen = []

    class Forgetful(list):
        def append(self, item):
            pass

    Lines.seen = Forgetful()
    tracemalloc.start()
    try:
        response = await send("/lines/", (line * 500 for _ in range(20)), "application/x-ndjson")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert response.json() == {"count": 10_000, "bad": []}
    assert peak < MIB / 4, peak


async def test_line_that_is_too_long_is_refused_by_number():
    pieces = [b"1\n", b"2" * 19 + b"\n", b"3" * 15, b"3" * 15]
    response = await send("/limited-lines/", pieces, "application/x-ndjson")
    message = "Line 3 is longer than 20 bytes. Split it."
    assert (response.status_code, response.json()) == (400, {"detail": message})


async def test_lines_over_the_limit_are_refused():
    response = await send("/limited-lines/", [b"12345\n"] * 100, "application/x-ndjson")
    assert response.status_code == 413


async def test_small_body_of_lines_is_read_too():
    client = APIClient()
    response = await client.post("/lines/", b"1\n2\n", content_type="application/x-ndjson")
    assert response.json() == {"count": 2, "bad": []}


# Storages


class FileSerializer(serializers.ModelSerializer):
    class Meta:
        model = Specimen
        fields = ["file"]


@pytest.fixture
def storage(tmp_path, monkeypatch):
    storage = FileSystemStorage(location=tmp_path, base_url="/media/")
    monkeypatch.setattr(Specimen._meta.get_field("file"), "storage", storage)
    return storage


@pytest.mark.hops("a storage writes in a thread")
@pytest.mark.usefixtures("transaction")
async def test_file_is_saved_by_a_thread_and_named_by_its_storage(storage, tmp_path):
    for expected in ("a.txt", "a_"):
        serializer = FileSerializer(data={"file": SimpleUploadedFile("a.txt", b"content")})
        assert await serializer.ais_valid(), serializer.errors
        saved = await serializer.asave()
        assert saved.file.name.startswith(expected)
        assert (await serializer.adata)["file"] == f"/media/{saved.file.name}"
        stored = await Specimen.objects.aget(pk=saved.pk)
        assert (await asyncio.to_thread((tmp_path / stored.file.name).read_bytes)) == b"content"


@pytest.mark.hops("a storage writes in a thread")
@pytest.mark.usefixtures("transaction")
async def test_file_is_replaced_by_an_update(storage):
    made = await Specimen.objects.acreate(file="old.txt")
    data = {"file": SimpleUploadedFile("new.txt", b"content")}
    serializer = FileSerializer(made, data=data)
    assert await serializer.ais_valid(), serializer.errors
    await serializer.asave()
    assert (await Specimen.objects.aget(pk=made.pk)).file.name == "new.txt"


@pytest.mark.usefixtures("transaction")
async def test_async_storage_is_awaited(storage, monkeypatch, hops):
    saved = {}

    async def asave(name, content, max_length=None):
        saved[name] = await uploads.aread(content)
        return f"kept-{name}"

    monkeypatch.setattr(storage, "asave", asave, raising=False)
    serializer = FileSerializer(data={"file": SimpleUploadedFile("a.txt", b"content")})
    assert await serializer.ais_valid(), serializer.errors
    made = await serializer.asave()
    assert (made.file.name, saved) == ("kept-a.txt", {"a.txt": b"content"})
    assert not hops

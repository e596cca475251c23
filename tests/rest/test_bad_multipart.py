"""Every way to break a multipart body: 400 that names the field or the part, and nothing is lost.

Each body is sent in one piece, which is parsed in memory, and byte by byte, parsed as it arrives.
"""

import pytest
from django.urls import path

from app.rest import parsers, uploads
from app.rest.permissions import AllowAny
from app.rest.response import Response
from app.rest.views import APIView
from tests.raw import ask, with_length

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_bad_multipart"),
    pytest.mark.hops("what is parsed as it arrives is written in a thread"),
]


class Data(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    parser_classes = [parsers.MultiPartParser]

    async def post(self, request):
        files = {}
        for key, one in request.FILES.items():
            files[key] = [one.name, (await uploads.aread(one)).decode("latin1")]
        return Response({"fields": dict(request.POST.lists()), "files": files})


urlpatterns = [path("data/", Data.as_view())]

TYPE = b"multipart/form-data; boundary=x"


def part(head: bytes, content: bytes = b"1") -> bytes:
    return b"--x\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


def field(name: bytes, content: bytes = b"1") -> bytes:
    return part(b'Content-Disposition: form-data; name="' + name + b'"', content)


def file(name: bytes, filename: bytes, content: bytes = b"1") -> bytes:
    head = b'Content-Disposition: form-data; name="' + name + b'"; filename="' + filename + b'"'
    return part(head, content)


END = b"--x--\r\n"


async def send(body: bytes, content_type: bytes = TYPE):
    """The same answer, however it is sent."""
    headers = [(b"content-type", content_type)]
    at_once = await ask("POST", "/data/", with_length(body, *headers), [body])
    pieces = [body[at : at + 1] for at in range(len(body))] if len(body) < 2000 else [body]
    headers.append((b"transfer-encoding", b"chunked"))
    in_pieces = await ask("POST", "/data/", headers, pieces)
    assert in_pieces.status == at_once.status, (at_once.body, in_pieces.body)
    assert in_pieces.body == at_once.body
    return at_once


@pytest.mark.parametrize(
    ("body", "fields", "files"),
    [
        (field(b"a") + END, {"a": ["1"]}, {}),
        (field(b"a", b"") + field(b"a", b"\r\n--\r\n-x\r\n") + END,
         {"a": ["", "\r\n--\r\n-x\r\n"]}, {}),
        (b"preamble\r\n" + field(b"a") + b"--x--\r\nepilogue --x", {"a": ["1"]}, {}),
        (field(b"a") + b"--x--", {"a": ["1"]}, {}),
        (field("é".encode(), "ü€\ufffd".encode()) + END, {"é": ["ü€\ufffd"]}, {}),
        (file(b"f", "é.txt".encode(), b"abc") + END, {}, {"f": ["é.txt", "abc"]}),
        (file(b"f", b"", b"abc") + END, {"f": ["abc"]}, {}),
        (file(b"f", b"../../etc/a\x00b", b"abc") + END, {}, {"f": ["ab", "abc"]}),
        (b"--x--\r\n", {}, {}),
        (b"--x \t\r\n" + field(b"a")[5:] + END, {"a": ["1"]}, {}),
    ],
)  # fmt: skip
async def test_body_that_is_whole_is_read(body, fields, files):
    answer = await send(body)
    assert (answer.status, answer.json()) == (200, {"fields": fields, "files": files})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (field(b"a"), ["ends without its last line", "--x--"]),
        (b"nothing of the kind", ["ends without"]),
        (b"--x", ["ends without"]),
        (b"--x\r\n", ["ends without"]),
        (b"--x\r\nContent-Disposition: form-data", ["ends without"]),
        (file(b"f", b"a", b"abc"), ["ends without"]),
        (file(b"f", b"a", b"abc").replace(b"--x", b"--y") + b"--y--\r\n", ["another"]),
        (field(b"a").replace(b"\r\n", b"\n") + b"--x--\n", ["line"]),
        (part(b"Content-Type: text/plain") + END, ["Part 1", "no name"]),
        (field(b"a") + b"--x\r\n\r\nabc\r\n" + END, ["Part 2", "no name"]),
        (part(b"Content-Disposition: form-data") + END, ["Part 1", "no name"]),
        (field(b" ") + END, ["no name"]),
        (part(b'Content-Disposition: form-data; name="\xff"') + END, ["Part 1", "no UTF-8"]),
        (file(b"f", b"\xff.txt") + END, ["Part 1", "no UTF-8"]),
        (part(b"Content-Disposition: form-data; name*=klingon''a") + END, ["can't be read"]),
        (part(b"X: " + b"y" * 5000) + END, ["1024 bytes of headers"]),
        (field(b"a", b"b--xc") + END, ["Part 1", "inside a line"]),
        (b"--xy\r\n" + END, ["boundary"]),
        (b"".join(field(b"f%d" % n) for n in range(1001)) + END, ["1000 fields"]),
        (b"".join(file(b"f%d" % n, b"a") for n in range(101)) + END, ["100 files"]),
        (part(b"Content-Disposition: form-data; name=f; filename=a\r\n"
              b"Content-Transfer-Encoding: base64", b"abcde") + END, ["base64"]),
    ],
)  # fmt: skip
async def test_body_that_is_broken_is_refused_with_its_place(body, words):
    answer = await send(body)
    assert answer.status == 400, answer.body
    for word in words:
        assert word in answer.json()["detail"]


@pytest.mark.parametrize(
    "text", [b"\xff", b"a\xc3", "é".encode("latin1"), b"\xed\xa0\x80", b"x" * 100 + b"\x80"]
)
async def test_text_that_is_no_utf_8_names_its_field(text):
    answer = await send(field(b"a") + field(b"b", text) + field(b"c") + END)
    assert (answer.status, list(answer.json())) == (400, ["b"])
    assert "UTF-8" in answer.text


async def test_file_may_hold_any_bytes():
    content = bytes(range(256)) + b"\r\n-\r\n--\r\n--y\r\n\r\n"
    answer = await send(file(b"f", b"a.bin", content) + END)
    assert answer.json()["files"]["f"][1].encode("latin1") == content


@pytest.mark.parametrize(
    "parameters",
    [b"", b"; boundary=", b"; boundary= ", b'; boundary=""', b"; boundary=\xff",
     b"; boundary=" + b"y" * 300, b"; boundary*=klingon''x", b"; Boundary", b";" * 50],
)  # fmt: skip
async def test_boundary_that_is_none_is_refused(parameters):
    answer = await send(field(b"a") + END, b"multipart/form-data" + parameters)
    assert answer.status in (400, 415), answer.body
    assert "boundary" in answer.text or list(answer.json()) == ["Content-Type"]


async def test_text_beyond_what_memory_takes_is_413(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    body = field(b"a", b"y" * 1500) + END
    headers = [(b"content-type", TYPE), (b"transfer-encoding", b"chunked")]
    assert (await ask("POST", "/data/", headers, [body])).status == 413

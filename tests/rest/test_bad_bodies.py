"""What the headers of a body say, and every way to break a body, for every parser."""

import gzip
import zlib

import pytest
from django.http import JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from app.rest import parsers
from app.rest.permissions import AllowAny
from app.rest.response import Response
from app.rest.views import APIView
from tests.raw import ask, with_length

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_bad_bodies")]


class Open(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]


class Data(Open):
    parser_classes = [parsers.JSONParser, parsers.FormParser, parsers.MultiPartParser]

    async def post(self, request):
        names = [one.name for one in request.FILES.values()]
        return Response({"data": request.data, "files": names} if names else request.data)


class File(Open):
    parser_classes = [parsers.FileUploadParser]

    async def post(self, request):
        return Response({"name": request.FILES["file"].name})


class Lines(Open):
    parser_classes = [parsers.NDJSONParser]

    async def post(self, request):
        return Response([[number, str(value)] for number, value in request.data])


class Records(Open):
    parser_classes = [parsers.NDJSONStreamParser]

    async def post(self, request):
        return Response([[number, str(value)] async for number, value in request.data])


@csrf_exempt
async def plain(request):
    return JsonResponse(request.POST)


urlpatterns = [
    path("data/", Data.as_view()),
    path("file/", File.as_view()),
    path("lines/", Lines.as_view()),
    path("records/", Records.as_view()),
    path("plain/", plain),
]
JSON, FORM = b"application/json", b"application/x-www-form-urlencoded"
PARTS = b"multipart/form-data; boundary=x"
NDJSON = b"application/x-ndjson"
PARSERS = [
    ("/data/", JSON, b"{}"),
    ("/data/", FORM, b"a=1"),
    ("/data/", PARTS, b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'),
    ("/file/", b"application/octet-stream", b"abc"),
    ("/lines/", NDJSON, b"{}\n"),
    ("/records/", NDJSON, b"{}\n"),
    ("/plain/", FORM, b"a=1"),
]
DISPOSITION = (b"content-disposition", b"attachment; filename=a.txt")


async def send(address, content_type, body, *headers, chunked=False):
    """In one piece of known length, or in pieces that tell no length."""
    headers = ((b"content-type", content_type), DISPOSITION, *headers)
    if chunked:
        pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
        return await ask("POST", address, [*headers, (b"transfer-encoding", b"chunked")], pieces)
    return await ask("POST", address, with_length(body, *headers), [body])


@pytest.mark.hops("a file of unknown length is written in a thread")
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("address", "content_type", "body"), PARSERS)
async def test_body_that_is_whole_is_taken(address, content_type, body, chunked):
    answer = await send(address, content_type, body, chunked=chunked)
    assert answer.status == 200, answer.body
    identity = (b"content-encoding", b"identity")
    assert (await send(address, content_type, body, identity, chunked=chunked)).status == 200


BOMB = zlib.compress(b" " * 2**20)
CODINGS = [
    (b"gzip", gzip.compress),
    (b"deflate", zlib.compress),
    (b"br", bytes),
    (b"zstd", bytes),
    (b"gzip, identity", bytes),
    (b"x" * 5000, lambda body: BOMB),
    (b"\xff\x00", bytes),
]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("coding", "encode"), CODINGS)
@pytest.mark.parametrize(("address", "content_type", "body"), PARSERS)
async def test_coded_body_is_415_and_names_the_header(  # noqa: PLR0917 - a row of the table
    address, content_type, body, coding, encode, chunked
):
    header = (b"content-encoding", coding)
    answer = await send(address, content_type, encode(body), header, chunked=chunked)
    assert answer.status == 415, answer.body
    assert list(answer.json()) == ["Content-Encoding"]
    assert "without Content-Encoding" in answer.text
    assert answer["Accept-Encoding"] == "identity"
    assert len(answer.body) < 300


@pytest.mark.parametrize(
    "charset",
    ["klingon", "zlib", "bz2", "hex", "rot13", "idna", "unicode_escape", "\xff", "x" * 999],
)
@pytest.mark.parametrize(("address", "content_type", "body"), PARSERS)
async def test_charset_that_is_none_is_415_and_names_the_header(
    address, content_type, body, charset
):
    kind = content_type + b"; charset=" + charset.encode("latin1")
    answer = await send(f"{address}", kind, body)
    assert answer.status == 415, answer.body
    assert list(answer.json()) == ["Content-Type"]
    assert "Send UTF-8" in answer.text
    assert (await ask("GET", address, [(b"content-type", kind)], query=b"a=%20")).status < 500


@pytest.mark.parametrize(
    ("charset", "codec"),
    [("UTF-8", "utf-8"), ("latin1", "latin1"), ("ISO-8859-1", "latin1"), ("UTF-16", "utf-16"),
     ("windows-1252", "cp1252"), ("us-ascii", "ascii")],
)  # fmt: skip
async def test_charset_of_text_is_read(charset, codec):
    text = "a" if codec == "ascii" else "é"
    kind = JSON + b"; charset=" + charset.encode()
    answer = await send("/data/", kind, f'{{"a": "{text}"}}'.encode(codec))
    assert (answer.status, answer.json()) == (200, {"a": text})


@pytest.mark.parametrize("address", ["/lines/", "/records/"])
async def test_ndjson_of_another_charset_is_415(address):
    answer = await send(address, NDJSON + b"; charset=utf-16", "{}".encode("utf-16"))
    assert (answer.status, list(answer.json())) == (415, ["Content-Type"])


@pytest.mark.parametrize(
    "parameters", [b"; boundary*=klingon''x", b"; a*=zlib''%00", b"; charset*=x'y", b"; a*0*=\xff"]
)
@pytest.mark.parametrize("kind", [JSON, PARTS, FORM])
async def test_content_type_that_cannot_be_read_is_no_fault_of_the_server(kind, parameters):
    answer = await send("/data/", kind + parameters, b"{}")
    assert answer.status in (200, 400, 415), answer.body
    assert (await ask("GET", "/data/", [(b"content-type", kind + parameters)])).status == 405


@pytest.mark.parametrize(
    ("length", "status"),
    [(b"9" * 5000, 413), (b"9" * 19, 413), (b"9" * 12, 413), (b"abc", 400), (b"-1", 400),
     (b"+2", 400), (b"1_0", 400), (b"2,2", 400), (b"\xb2", 400), (b"2.0", 400), (b"0x2", 400)],
)  # fmt: skip
@pytest.mark.parametrize(("address", "content_type"), [("/data/", JSON), ("/plain/", FORM)])
async def test_content_length_that_is_none_is_refused(address, content_type, length, status):
    headers = [(b"content-type", content_type), (b"content-length", length)]
    answer = await ask("POST", address, headers, [b"{}"])
    assert answer.status == status, answer.body
    assert status == 413 or list(answer.json()) == ["Content-Length"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a": 1, "a": 2}', ['key "a"', "line 1 column 10", "once"]),
        (b'{"b": [{"a": 1,\n"a": 2}]}', ['key "a"', "line 2 column 1"]),
        (b"\xef\xbb\xbf{}", ["byte order mark"]),
        ('{"a": 1}'.encode("utf-16"), ["utf-8"]),
        (b'{"a": "\xff"}', ["utf-8"]),
        (b'{"a": "\xed\xa0\x80"}', ["utf-8"]),
        (b'{"a": Infinity}', ["not JSON compliant"]),
        (b'{"a": -NaN}', ["line 1"]),
        (b'{"a": ' + b"1" * 5000 + b"}", ["parse error"]),
        (b"[" * 3000 + b"]" * 3000, ["nested too deeply"]),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, ["nested too deeply"]),
        (b'{"a": "\x00"}', ["control character"]),
        (b'{"a": 01}', ["line 1"]),
        (b"{'a': 1}", ["line 1"]),
        (b'{"a": 1,}', ["line 1"]),
        (b'{"a": 1} {}', ["Extra data"]),
        (b" ", ["line 1"]),
        (b"\x1f\x8b\x08\x00", ["utf-8"]),
    ],
)
async def test_json_that_is_none_says_why_and_where(body, words):
    for chunked in (False, True):
        answer = await send("/data/", JSON, body, chunked=chunked)
        assert answer.status == 400, answer.body
        assert answer.json()["detail"].startswith("JSON parse error")
        for word in words:
            assert word in answer.json()["detail"]


@pytest.mark.parametrize("address", ["/lines/", "/records/"])
async def test_ndjson_says_it_of_the_line(address):
    body = b'{"a": 1, "a": 2}\n\xef\xbb\xbf{}\n{"b": 1}\n[NaN]\n' + b"[" * 3000 + b"\n\xff\n"
    said = dict((await send(address, NDJSON, body)).json())
    assert 'key "a"' in said[1]
    assert "byte order mark" in said[2]
    assert said[3] == "{'b': 1}"
    assert "compliant" in said[4]
    assert "deeply" in said[5]
    assert "utf-8" in said[6]


@pytest.mark.parametrize(
    ("body", "field"),
    [(b"a=1&b=\xff", "b"), (b"a=%ff", "a"), (b"%ff=1", "\\xff"), (b"a=1&a=%C3", "a"),
     (b"\xff", "\\xff"), (b"a=%ed%a0%80", "a")],
)  # fmt: skip
async def test_form_whose_text_is_no_utf_8_names_the_field(body, field):
    answer = await send("/data/", FORM, body)
    assert (answer.status, list(answer.json())) == (400, [field])
    assert "UTF-8" in answer.text


@pytest.mark.parametrize("address", ["/data/", "/plain/"])
async def test_form_of_too_many_fields_is_400_and_says_how_many(address):
    answer = await send(address, FORM, b"&".join(b"f%d=1" % n for n in range(1001)))
    assert answer.status == 400
    assert "1000 fields" in answer.json()["detail"]


async def test_oddest_form_is_read():
    for body in (b"&&&", b"===", b"%", b"%zz=%", b"a=%00", b";", b"+", b"a[b]=1"):
        assert (await send("/data/", FORM, body)).status == 200


async def test_file_without_a_name_is_400_and_names_the_header():
    body = with_length(b"abc", (b"content-type", b"text/plain"))
    for disposition in (b"", b"attachment", b"filename=", b"a; filename*=klingon''x", b"\xff;\xff"):
        answer = await ask(
            "POST", "/file/", [*body, (b"content-disposition", disposition)], [b"abc"]
        )
        assert answer.status == 400, (disposition, answer.body)
        assert "Content-Disposition" in answer.text

"""Every header, cookie and parameter with what nobody should send, at every kind of endpoint."""

import pytest
import pytest_asyncio

from app.fleet import services
from tests.raw import ask

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.usefixtures("transaction"),
    pytest.mark.timeout(60),  # hundreds of requests
]

JUNK = [
    b"", b" ", b"\xff\xfe", b"\x00", b"a\x00b", b"\xc3\xa9", b"\xed\xa0\x80", b'"', b'"a',
    b",", b",,,",
    b";", b"=", b"*", b"a" * 20_000, b"a," * 5000, b"-1", b"9" * 5000, b"1e999", b"NaN", b"%00",
    b"%ff", b"../..", b"W/", b'W/"a", *', b"bytes=9-1", b"bytes=a-b",
    b"Thu, 99 Foo 0000 99:99:99 GMT",
    b"a/b;c*=klingon''d", b"text/html;q=x", b"*/*;q=-1", b"a" * 300 + b"\xff", b"{}", b"\\",
]  # fmt: skip
# Those that lead to a refusal before the others are looked at have a request each.
ALONE = [
    b"accept", b"authorization", b"cookie", b"if-match", b"if-none-match", b"if-unmodified-since",
    b"idempotency-key", b"content-type", b"content-encoding", b"content-length", b"host",
]  # fmt: skip
TOGETHER = [
    b"accept-language", b"accept-encoding", b"accept-charset", b"range", b"if-range", b"origin",
    b"if-modified-since", b"last-event-id", b"x-http-method-override", b"x-requested-with", b"dnt",
    b"referer", b"user-agent", b"expect", b"te", b"upgrade", b"connection", b"x-forwarded-for",
    b"x-forwarded-proto", b"x-forwarded-host", b"content-disposition", b"prefer", b"x-csrftoken",
    b"cache-control", b"forwarded", b"x-real-ip", b"date", b"via", b"sec-fetch-mode", b"trailer",
]  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def host(transaction):
    return await services.register_host(name="a", cpus=4, memory_bytes=10**9)


@pytest.fixture
def token(writer):
    return (b"authorization", writer._credentials["HTTP_AUTHORIZATION"].encode())


async def send(token, method, path, *headers, body=b""):
    usual = [token, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    given = {name for name, _ in headers}
    sent = [*(pair for pair in usual if pair[0] not in given), *headers]
    answer = await ask(method, path, sent, [body])
    assert answer.status < 500, (method, path, headers[0], answer.body)
    if answer.status >= 400:
        assert answer.json(), (method, path, headers[0])
    return answer


@pytest.mark.parametrize("name", ALONE)
async def test_header_of_anything_is_never_a_fault(host, token, name):
    address = f"/api/v1/hosts/{host.pk}/"
    for value in JUNK[::2] if name != b"authorization" else JUNK:
        await send(token, "PATCH", address, (name, value), body=b'{"labels": {}}')
        await send(token, "GET", "/nothing/", (name, value))


async def test_all_other_headers_of_anything_are_never_a_fault(host, token):
    for value in JUNK[::2]:
        headers = [(name, value) for name in TOGETHER]
        for path in ("/api/v1/hosts/", f"/api/v1/hosts/{host.pk}/", "/auth/login/"):
            await send(token, "GET", path, *headers)


COOKIES = (b"sessionid=%b", b"csrftoken=%b", b"%b=%b", b"sessionid=%b; sessionid=%b", b"a=1; %b")


@pytest.mark.parametrize("cookie", COOKIES)
async def test_cookie_of_anything_is_never_a_fault(host, cookie):
    for value in JUNK[::3]:
        text = cookie.replace(b"%b", value)
        answer = await ask("GET", "/api/v1/me/", [(b"cookie", text)])
        assert answer.status == 401, (text[:50], answer.body)


@pytest.mark.parametrize(
    ("name", "value", "status", "words"),
    [
        (b"accept", b"a/b;q=x", 400, ["Accept", "q=0.5"]),
        (b"accept", b"image/png", 406, ["application/json"]),
        (b"authorization", b"Bearer", 401, ["Authorization header holds no token"]),
        (b"authorization", b"Bearer \xff\xfe", 401, ["stw_<prefix>_<secret>"]),
        (b"authorization", b"Bearer a b", 401, ["more than a scheme and one token"]),
        (b"authorization", b"Bearer stw_\x00_\x00", 401, ["token"]),
        (b"authorization", b"Basic \xff", 401, ["credentials"]),
        (b"if-match", b'"a', 400, ["If-Match"]),
        (b"if-none-match", b"a\xff", 400, ["If-None-Match"]),
        (b"idempotency-key", b"", 400, ["Idempotency-Key"]),
        (b"idempotency-key", b"a" * 256, 400, ["Idempotency-Key", "255"]),
        (b"idempotency-key", b"\xc3\xa9", 400, ["Idempotency-Key", "ASCII"]),
        (b"content-encoding", b"gzip", 415, ["Content-Encoding"]),
        (b"content-type", b"application/json; charset=klingon", 415, ["Content-Type", "UTF-8"]),
        (b"content-type", b"text/csv", 415, ["text/csv"]),
        (b"content-length", b"-1", 400, ["Content-Length"]),
        (b"host", b"evil.example", 400, ["Host header"]),
        (b"host", b"a b\xff", 400, ["Host header"]),
    ],
)
async def test_header_is_refused_by_its_name(host, token, name, value, status, words):  # noqa: PLR0917
    address = f"/api/v1/hosts/{host.pk}/"
    answer = await send(token, "PATCH", address, (name, value), body=b'{"labels": {}}')
    assert answer.status == status, answer.body
    for word in words:
        assert word in answer.text


@pytest.mark.parametrize("value", [b"x", b"-1", b"\xff", b"9" * 5000, b"\x00"])
async def test_last_event_id_that_is_none_names_the_header(token, value):
    headers = ((b"last-event-id", value), (b"accept", b"text/event-stream"))
    answer = await send(token, "GET", "/api/v1/events/", *headers)
    assert answer.status == 400, answer.body
    assert "Last-Event-ID" in answer.text


@pytest.mark.parametrize("name", [b"range", b"if-range", b"if-modified-since", b"accept-language"])
async def test_what_the_rfc_lets_be_ignored_is_ignored(host, token, name):
    for value in JUNK[::4]:
        answer = await send(token, "GET", f"/api/v1/hosts/{host.pk}/", (name, value))
        assert answer.status == 200

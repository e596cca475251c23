"""The ASGI handler: bodies, streams, clients that leave, plain views, middleware, lifespan."""

import asyncio
import logging

import pytest
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import get_script_prefix, path, reverse

from app.rest.handlers import ASGIHandler
from app.rest.lifespan import Lifespan
from app.rest.permissions import AllowAny, IsAuthenticated
from app.rest.response import Response
from app.rest.test import APIClient
from app.rest.views import APIView

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_handlers")]

left = asyncio.Event()


class Open(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]


class Echo(Open):
    async def get(self, request):
        return Response({"prefix": get_script_prefix(), "echo": reverse("echo")})

    async def post(self, request):
        return Response(request.data)


class Locked(Open):
    permission_classes = [IsAuthenticated]

    async def post(self, request):
        return Response(request.data)


class Slow(Open):
    async def get(self, request):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            left.set()
            raise
        return Response({})


class Upload(Open):
    """Takes a body of any size, never holding more than a chunk."""

    async def post(self, request):
        size = 0
        async for chunk in request._request.body_source.chunks():
            size += len(chunk)
        return Response({"size": size})

    async def call_handler(self, request, *args, **kwargs):
        return await self.post(request)


class Ticks(Open):
    async def get(self, request):
        async def ticks():
            try:
                for number in range(1000):
                    yield f"{number}\n"
                    await asyncio.sleep(0.01)
            finally:
                left.set()

        return StreamingHttpResponse(ticks(), content_type="text/plain")


def plain(request):
    return JsonResponse({"method": request.method, "body": request.body.decode(), **request.POST})


async def native(request):
    return HttpResponse(f"{request.method} {request.body.decode()}")


async def failing(request):
    raise RuntimeError("secret detail")


urlpatterns = [
    path("echo/", Echo.as_view(), name="echo"),
    path("locked/", Locked.as_view()),
    path("slow/", Slow.as_view()),
    path("upload/", Upload.as_view()),
    path("ticks/", Ticks.as_view()),
    path("plain/", plain),
    path("native/", native),
    path("failing/", failing),
]


def scope_of(method="GET", address="/echo/", headers=()):
    return {
        "type": "http", "method": method, "path": address, "query_string": b"",
        "scheme": "http", "server": ("testserver", 80), "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"testserver"), *headers],
    }  # fmt: skip


class Server:
    """The server's side of ASGI: gives `chunks` one by one, counts them, keeps what is sent."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.taken = 0
        self.sent = []
        self.gone = asyncio.Event()

    async def receive(self):
        if self.chunks:
            self.taken += 1
            body = self.chunks.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self.chunks)}
        if not self.taken:
            self.taken += 1
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100)
async def test_body_over_the_limit_is_refused_before_it_is_read(client):
    server = Server(b"x" * 200)
    length = [(b"content-length", b"200"), (b"content-type", b"application/json")]
    await ASGIHandler()(scope_of("POST", headers=length), server.receive, server.send)
    assert server.status == 413
    assert server.taken == 0
    assert b"larger than 100 bytes" in server.sent[1]["body"]


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100)
async def test_body_without_a_length_is_refused_when_it_passes_the_limit():
    server = Server(*[b"x" * 60] * 10)
    headers = [(b"transfer-encoding", b"chunked"), (b"content-type", b"application/json")]
    await ASGIHandler()(scope_of("POST", headers=headers), server.receive, server.send)
    assert server.status == 413
    assert server.taken == 2


async def test_body_in_chunks_without_a_length_is_parsed():
    server = Server(b'{"a":', b" 1}")
    headers = [(b"transfer-encoding", b"chunked"), (b"content-type", b"application/json")]
    await ASGIHandler()(scope_of("POST", headers=headers), server.receive, server.send)
    assert server.status == 200
    assert server.sent[1]["body"] == b'{"a":1}'


async def test_body_of_a_refused_request_is_never_read():
    server = Server(b'{"a": 1}')
    headers = [(b"content-length", b"8"), (b"content-type", b"application/json")]
    await ASGIHandler()(scope_of("POST", "/locked/", headers), server.receive, server.send)
    assert server.status == 403
    assert server.taken == 0


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100)
async def test_view_may_take_a_body_of_any_size_chunk_by_chunk():
    server = Server(*[b"x" * 60] * 10)
    await ASGIHandler()(scope_of("POST", "/upload/"), server.receive, server.send)
    assert server.sent[1]["body"] == b'{"size":600}'


async def test_client_that_leaves_cancels_its_request():
    left.clear()
    server = Server()
    serving = asyncio.create_task(
        ASGIHandler()(scope_of(address="/slow/"), server.receive, server.send)
    )
    await asyncio.sleep(0.05)
    server.gone.set()
    await asyncio.wait_for(serving, 1)
    assert left.is_set()
    assert server.sent == []


async def test_stream_arrives_as_it_is_made_and_stops_when_its_reader_leaves(client):
    left.clear()
    async with client.stream("GET", "/ticks/") as (start, chunks):
        assert start["status"] == 200
        assert [await anext(chunks) for _ in range(3)] == [b"0\n", b"1\n", b"2\n"]
        assert not left.is_set()
    assert left.is_set()


@pytest.mark.hops("the view is a plain function")
async def test_synchronous_django_view_runs_in_a_thread_and_finds_its_body(client):
    response = await client.post(
        "/plain/", b"a=1", content_type="application/x-www-form-urlencoded"
    )
    assert response.json() == {"method": "POST", "body": "a=1", "a": ["1"]}


async def test_asynchronous_django_view_finds_its_body_without_a_hop(client, hops):
    response = await client.post("/native/", b"text", content_type="text/plain")
    assert response.text == "POST text"
    assert not hops


@pytest.mark.hops("a fault of the server is logged in a thread")
async def test_fault_of_the_server_is_500_and_tells_nothing(client, caplog):
    with caplog.at_level(logging.ERROR):
        response = await client.get("/failing/")
    assert response.status_code == 500
    assert b"secret" not in response.content
    assert "secret detail" in caplog.text


async def test_script_prefix_of_the_server_is_kept():
    server = Server()
    await ASGIHandler()(
        {**scope_of(address="/mounted/echo/"), "root_path": "/mounted"}, server.receive, server.send
    )
    assert server.sent[1]["body"] == b'{"prefix":"/mounted/","echo":"/mounted/echo/"}'


async def test_django_middleware_does_its_work_without_a_hop(client, hops):
    response = await client.get("/echo/")
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Length"] == str(len(response.content))
    redirect = await client.get("/echo")
    assert (redirect.status_code, redirect["Location"]) == (301, "/echo/")
    assert not hops


class Doubling:
    """Asynchronous middleware that Django does not know."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response):
        from asgiref.sync import markcoroutinefunction

        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request):
        response = await self.get_response(request)
        response["X-Doubled"] = response["X-Frame-Options"] * 2
        return response


def stamping(get_response):
    """Synchronous middleware."""

    def middleware(request):
        response = get_response(request)
        response["X-Stamped"] = request.body.decode() or "empty"
        return response

    return middleware


XFRAME = "django.middleware.clickjacking.XFrameOptionsMiddleware"


@override_settings(MIDDLEWARE=["tests.rest.test_handlers.Doubling", XFRAME])
async def test_asynchronous_middleware_of_ones_own_stands_between_the_others(hops):
    response = await APIClient(app=ASGIHandler()).get("/echo/")
    assert response["X-Doubled"] == "DENYDENY"
    assert not hops


@override_settings(MIDDLEWARE=["tests.rest.test_handlers.stamping", XFRAME])
@pytest.mark.hops("the middleware is a plain function")
async def test_synchronous_middleware_works_through_a_thread():
    response = await APIClient(app=ASGIHandler()).post("/echo/", {"a": 1})
    assert response["X-Stamped"] == '{"a":1}'
    assert response["X-Frame-Options"] == "DENY"


async def run_lifespan(lifespan):
    sent, script = [], ["startup", "shutdown"]

    async def receive():
        return {"type": f"lifespan.{script.pop(0)}"}

    async def send(message):
        sent.append(message["type"])
        await asyncio.sleep(0)

    await ASGIHandler(lifespan)({"type": "lifespan"}, receive, send)
    return sent


async def test_lifespan_starts_in_order_and_stops_in_reverse():
    lifespan, seen = Lifespan(), []

    def note(word):
        async def hook():
            seen.append(word)

        return hook

    lifespan.on_startup(note("open"))
    lifespan.on_startup(note("warm"))
    lifespan.on_shutdown(note("close"))
    lifespan.on_shutdown(note("cool"))

    async def work():
        seen.append("work")
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("worked")

    lifespan.background(work)
    sent = await run_lifespan(lifespan)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert seen == ["open", "warm", "work", "worked", "cool", "close"]


async def test_startup_that_fails_is_reported(caplog):
    lifespan = Lifespan()

    async def fail():
        raise RuntimeError("no database")

    lifespan.on_startup(fail)
    assert await run_lifespan(lifespan) == ["lifespan.startup.failed"]


async def test_background_work_that_fails_is_started_again(monkeypatch, caplog):
    monkeypatch.setattr("app.rest.lifespan.RESTART_SECONDS", 0)
    lifespan, runs = Lifespan(), []
    again = asyncio.Event()

    async def work():
        runs.append(1)
        if len(runs) == 1:
            raise RuntimeError("once")
        again.set()

    lifespan.background(work)
    await lifespan.start()
    await asyncio.wait_for(again.wait(), 1)
    await lifespan.stop()
    assert len(runs) == 2

"""Server-sent events: the format, and streams of them over real connections."""

import asyncio
import gc
import socket

import pytest
from django.urls import path

from app.rest import sse, streams
from app.rest.exceptions import ValidationError
from app.rest.handlers import ASGIHandler
from app.rest.permissions import AllowAny
from app.rest.request import Request
from app.rest.shedding import Counts, Shedding
from app.rest.sse import ServerSentEvent
from app.rest.streams import Channel, EventStream, Hub, Stream
from app.rest.test import APIRequestFactory
from app.rest.views import APIView
from tests.servers import RawClient, serving, until

pytestmark = [pytest.mark.urls("tests.rest.test_sse")]

hub = Hub()
ended = asyncio.Event()


class Open(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]


class Counted(Open):
    async def get(self, request):
        async def numbers():
            try:
                for number in range(int(request.query_params.get("until", 10**6))):
                    yield ServerSentEvent(str(number), id=str(number))
                    await asyncio.sleep(0.01)
            finally:
                ended.set()

        return EventStream(numbers())


class Silent(Open):
    async def get(self, request):
        async def nothing():
            await asyncio.sleep(60)
            yield ServerSentEvent("late")

        return EventStream(nothing(), heartbeat_seconds=0.02)


class Shared(Open):
    async def get(self, request):
        async def published():
            yield ServerSentEvent("hello")
            with hub.channel() as chunks:
                async for chunk in chunks:
                    yield chunk

        return EventStream(published(), heartbeat_seconds=None)


class Rows(Open):
    async def get(self, request):
        async def rows():
            yield b"first\n"
            await asyncio.sleep(0.01)
            if "fail" in request.query_params:
                raise LookupError("in the middle")
            while "endless" in request.query_params:
                yield b"x" * 65536
            yield b"last\n"

        return Stream(rows(), content_type="text/plain")


urlpatterns = [
    path("counted/", Counted.as_view()),
    path("silent/", Silent.as_view()),
    path("shared/", Shared.as_view()),
    path("rows/", Rows.as_view()),
]


class TestFormat:
    @pytest.mark.parametrize(
        ("event", "encoded"),
        [
            (ServerSentEvent("a"), b"data: a\n\n"),
            (ServerSentEvent("a\nb\r\nc\rd"), b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
            (ServerSentEvent("a\u2028b\x0bc"), "data: a\u2028b\x0bc\n\n".encode()),
            (ServerSentEvent(""), b"data: \n\n"),
            (ServerSentEvent("a", id=""), b"id: \ndata: a\n\n"),
            (ServerSentEvent(retry_ms=100), b"retry: 100\n\n"),
            (ServerSentEvent(": a", name="n", id="1"), b"id: 1\nevent: n\ndata: : a\n\n"),
        ],
    )
    def test_event_is_written_as_the_standard_has_it(self, event, encoded):
        assert event.encode() == encoded

    @pytest.mark.parametrize("wrong", [{"id": "a\nb"}, {"id": "a\0"}, {"name": "a\rdata: b"}])
    def test_field_with_no_room_for_a_value_refuses_it(self, wrong):
        with pytest.raises(ValueError, match="one line"):
            ServerSentEvent("x", **wrong).encode()

    def test_message_is_the_same_event_from_bytes(self):
        assert sse.message(b'{"a": 1}', 7) == ServerSentEvent('{"a": 1}', id="7").encode()

    @pytest.mark.parametrize("text", ["x", "-1", "1.5", "9" * 19, "9" * 50])
    def test_last_event_id_that_is_no_position_is_refused(self, text):
        request = Request(APIRequestFactory().get("/", headers={"Last-Event-ID": text}))
        with pytest.raises(ValidationError) as refused:
            sse.last_position(request)
        assert "Last-Event-ID" in refused.value.detail

    @pytest.mark.parametrize(("text", "position"), [("", None), (" 7 ", 7), ("0", 0)])
    def test_last_event_id_is_a_position(self, text, position):
        request = Request(APIRequestFactory().get("/", headers={"Last-Event-ID": text}))
        assert sse.last_position(request) == position


@pytest.mark.asyncio
class TestChannel:
    async def test_what_is_put_in_comes_out_in_order_and_together(self):
        channel = Channel()
        for chunk in (b"a", b"b", b"c"):
            channel.put(chunk)
        assert await anext(channel) == b"abc"
        waiting = asyncio.create_task(anext(channel))
        await asyncio.sleep(0)
        channel.put(b"d")
        assert await waiting == b"d"

    async def test_channel_that_overflows_cancels_its_task_and_keeps_nothing(self):
        async def slow():
            channel = Channel(limit=100)
            for _ in range(1000):
                channel.put(b"x" * 30)
            assert not channel._chunks
            await asyncio.sleep(60)

        task = asyncio.create_task(slow())
        with pytest.raises(asyncio.CancelledError, match="too slowly"):
            await task

    async def test_hub_beats_only_where_it_was_silent(self):
        quiet = Hub(heartbeat_seconds=0.05)
        with quiet.channel() as channel:
            quiet.publish(b"news")
            assert await anext(channel) == b"news"
            assert await anext(channel) == sse.HEARTBEAT
        assert quiet._timer is None


@pytest.mark.asyncio
class TestStreams:
    async def test_events_come_as_they_are_made_with_the_headers_that_proxies_need(self, client):
        async with client.stream("GET", "/counted/") as (start, chunks):
            headers = {name.decode().lower(): value for name, value in start["headers"]}
            assert headers["content-type"].startswith(b"text/event-stream")
            assert headers["cache-control"] == b"no-cache"
            assert headers["x-accel-buffering"] == b"no"
            assert b"content-length" not in headers
            assert await anext(chunks) == b"id: 0\ndata: 0\n\n"
            assert await anext(chunks) == b"id: 1\ndata: 1\n\n"

    async def test_stream_of_a_client_that_leaves_ends(self, client):
        ended.clear()
        async with serving(ASGIHandler()) as (_, port):
            reader = await RawClient.get(port, "/counted/")
            assert (await reader.event())["id"] == "0"
            await reader.leave()
            await asyncio.wait_for(ended.wait(), 2)

    async def test_stream_that_ends_by_itself_ends_properly(self, client):
        async with serving(ASGIHandler()) as (_, port):
            reader = await RawClient.get(port, "/counted/?until=2")
            assert await reader.body() == b"id: 0\ndata: 0\n\nid: 1\ndata: 1\n\n"
            await reader.leave()

    async def test_silent_stream_sends_comments(self, client):
        async with client.stream("GET", "/silent/") as (_, chunks):
            assert [await anext(chunks) for _ in range(3)] == [sse.HEARTBEAT] * 3

    async def test_head_of_a_stream_is_answered_at_once(self, client):
        response = await client.head("/counted/")
        assert (response.status_code, response.content) == (200, b"")

    @pytest.mark.packages  # timing of a real socket: run apart, by make test-adversity
    async def test_nothing_of_the_request_is_left_while_events_are_sent(self, client):
        async with client.stream("GET", "/shared/") as (_, chunks):
            await anext(chunks)
            gc.collect()
            kinds = (Shared, EventStream, Request)
            assert [type(o) for o in gc.get_objects() if issubclass(type(o), kinds)] == []

    async def test_error_in_the_middle_cuts_the_answer_off(self, client, caplog):
        async with serving(ASGIHandler()) as (_, port):
            reader = await RawClient.get(port, "/rows/?fail")
            assert await reader.chunk() == b"first\n"
            with pytest.raises(asyncio.IncompleteReadError):
                await reader.chunk()
            await reader.leave()
        assert "in the middle" in caplog.text

    async def test_stream_is_sent_away_after_its_time(self, client, settings):
        settings.STREAM_SECONDS = 0.05
        async with serving(ASGIHandler()) as (_, port):
            reader = await RawClient.get(port, "/shared/")
            assert (await reader.event())["data"] == "hello"
            last = await reader.event()
            assert last["event"] == "reconnect"
            assert int(last["retry"]) > 0
            assert await reader.chunk() is None
            await reader.leave()

    async def test_draining_server_sends_its_clients_away_and_stops(self, client, monkeypatch):
        monkeypatch.setattr(streams.registry, "is_stopping", False)
        async with serving(ASGIHandler()) as (server, port):
            readers = [await RawClient.get(port, "/shared/") for _ in range(5)]
            for reader in readers:
                await reader.event()
            assert len(streams.registry.open) == 5
            streams.send_all_away()
            server.should_exit = True
            for reader in readers:
                assert (await reader.event())["event"] == "reconnect"
                assert await reader.chunk() is None
                await reader.leave()
        assert not streams.registry.open

    async def test_stream_that_begins_while_the_server_stops_is_sent_away(
        self, client, monkeypatch
    ):
        monkeypatch.setattr(streams.registry, "is_stopping", True)
        async with client.stream("GET", "/shared/") as (_, chunks):
            seen = [chunk async for chunk in chunks]
        assert b"event: reconnect" in seen[-1]


@pytest.mark.asyncio
@pytest.mark.packages  # timing of a real socket: run apart, by make test-adversity
class TestSlowReaders:
    async def test_client_that_stops_reading_is_cut_off_while_others_go_on(self, client, caplog):
        """Its buffers fill up, then its channel: it costs no more than that."""
        async with serving(Shedding(ASGIHandler(), limit=10, counts=Counts())) as (
            _,
            port,
        ):  # as asgi.py has it
            slow = await stalled(port, "/shared/")
            quick = await RawClient.get(port, "/shared/")
            await quick.event()
            await until(lambda: len(hub.channels) == 2)
            chunk = ServerSentEvent("x" * 60_000).encode()
            for _ in range(1000):
                hub.publish(chunk)
                assert await quick.event()
                if len(hub.channels) < 2:
                    break
            assert len(hub.channels) == 1
            await until(lambda: len(streams.registry.open) == 1)
            with slow, pytest.raises(ConnectionError):
                await drained(slow)
            await quick.leave()
        assert caplog.text == ""

    async def test_client_that_takes_nothing_is_cut_off_after_a_while(
        self, client, monkeypatch, caplog
    ):
        monkeypatch.setattr(streams, "STALL_SECONDS", 0.2)
        async with serving(ASGIHandler()) as (server, port):
            slow = await stalled(port, "/rows/?endless")
            await until(lambda: server.server_state.tasks)
            await until(lambda: not server.server_state.tasks)
            with slow, pytest.raises(ConnectionError):
                await drained(slow)
        assert caplog.text == ""


async def stalled(port, address):
    """A connection that asks, and reads nothing."""
    loop = asyncio.get_running_loop()
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await loop.sock_connect(raw, ("127.0.0.1", port))
    await loop.sock_sendall(raw, f"GET {address} HTTP/1.1\r\nHost: testserver\r\n\r\n".encode())
    return raw


async def drained(raw):
    while await asyncio.get_running_loop().sock_recv(raw, 65536):
        pass
    raise ConnectionResetError

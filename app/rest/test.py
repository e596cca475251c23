"""DRF's test client and request factory, async, over the real ASGI application.

    client = APIClient()
    response = await client.post("/api/v1/hosts/", {"name": "a"})
    assert response.status_code == 201, response.json()

The application runs in the caller's own task, so that it sees the caller's context (a test's
transaction, say). `force_authenticate`, `credentials`, `login`, `logout` are DRF's.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from typing import Any

from adrf.test import AsyncAPIClient, AsyncAPIRequestFactory
from django.conf import settings
from django.http import HttpResponse
from django.test.testcases import (
    LiveServerTestCase,
    SimpleTestCase,
    TestCase,
    TransactionTestCase,
)
from django.utils.module_loading import import_string
from rest_framework.test import URLPatternsTestCase, force_authenticate

__all__ = [
    "APIClient",
    "APILiveServerTestCase",
    "APIRequestFactory",
    "APISimpleTestCase",
    "APITestCase",
    "APITransactionTestCase",
    "RequestsClient",
    "URLPatternsTestCase",
    "force_authenticate",
]


class APIRequestFactory(AsyncAPIRequestFactory):
    """DRF's request factory, making ASGI requests."""

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        scope: dict[str, Any] = super()._base_scope(**request)
        # A later header replaces an earlier one: Django's and adrf's both name the content type.
        scope["headers"] = list(dict(scope["headers"]).items())
        return scope


class TestResponse(HttpResponse):
    """What the application sent: `status_code`, `headers`, `content`, `json()`, DRF's `data`."""

    __test__ = False

    def __init__(self, start: dict[str, Any], chunks: list[bytes]) -> None:
        super().__init__(b"".join(chunks), status=start["status"])
        self.chunks = chunks
        del self["Content-Type"]
        for raw_name, raw_value in start.get("headers", []):
            name, value = raw_name.decode("latin1"), raw_value.decode("latin1")
            if name.lower() == "set-cookie":
                self.cookies.load(value)
            else:
                self[name] = f"{self[name]}, {value}" if name in self else value

    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def text(self) -> str:
        return self.content.decode(self.charset or "utf-8")

    @property
    def data(self) -> Any:
        return self.json() if self.content else None


class APIClient(AsyncAPIClient):
    """DRF's APIClient; every request is awaited."""

    cookies: SimpleCookie
    _credentials: dict[str, str]

    def __init__(self, enforce_csrf_checks: bool = False, app: Any = None, **defaults: Any) -> None:
        super().__init__(**defaults)
        self.enforce_csrf_checks = enforce_csrf_checks
        self.app = app
        self._forced: tuple[Any, Any] | None = None

    def force_authenticate(self, user: Any = None, token: Any = None) -> None:
        """Every later request is made as `user`, whatever the view's authentication classes."""
        self._forced = None if user is None and token is None else (user, token)

    async def login(self, **credentials: Any) -> bool:
        """Log in as a browser would be: a session, and its cookie."""
        return bool(await self.alogin(**credentials))

    async def force_login(self, user: Any, backend: str | None = None) -> None:
        await self.aforce_login(user, backend)

    async def logout(self) -> None:
        self._credentials = {}
        self._forced = None
        await self.alogout()

    async def request(self, **request: Any) -> TestResponse:
        """Run the application once and return all it sent."""
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope, body = self._scope_of(request)
        await self._app()(scope, _receiver(body, asyncio.Event()), send)
        return self._response_of(sent)

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, **kwargs: Any
    ) -> AsyncIterator[tuple[dict[str, Any], AsyncIterator[bytes]]]:
        """`async with client.stream("GET", path) as (start, chunks)`: leaving it is the client
        leaving.
        """
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=1)
        left = asyncio.Event()
        scope, body = self._scope_of(await self._capture(method, path, **kwargs))
        task = asyncio.create_task(self._app()(scope, _receiver(body, left), queue.put))
        try:
            start = await queue.get()
            yield start, _chunks(queue)
        finally:
            left.set()
            while not task.done():
                while not queue.empty():
                    queue.get_nowait()
                await asyncio.wait([task], timeout=0.01)
            await task

    async def _capture(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        captured: dict[str, Any] = {}
        probe = _Probe(captured, **self.defaults)
        probe.cookies = self.cookies
        await getattr(probe, method.lower())(path, **kwargs)
        return captured

    def _app(self) -> Any:
        return self.app or import_string(settings.ASGI_APPLICATION)

    def _scope_of(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        payload = request.pop("_body_file", None)
        scope = self._base_scope(**request)
        query = scope.get("query_string", "")
        scope["query_string"] = query.encode() if isinstance(query, str) else query
        extra = {**self._credentials}
        # A later header replaces an earlier one: Django's factory may name the content type twice.
        headers = {_header(name): value for name, value in scope["headers"] if value}
        headers |= {
            _header(name.encode()): str(value).encode("latin1") for name, value in extra.items()
        }
        scope["headers"] = list(headers.items())
        if self._forced is not None:
            scope["force_authenticate"] = self._forced
        scope["enforce_csrf_checks"] = self.enforce_csrf_checks
        return scope, b"" if payload is None else payload.read()

    def _response_of(self, sent: list[dict[str, Any]]) -> TestResponse:
        start, *rest = sent
        response = TestResponse(start, [message.get("body", b"") for message in rest])
        if response.cookies:
            self.cookies.update(response.cookies)
        return response


class _Probe(AsyncAPIClient):
    """Notes the request that it would make."""

    def __init__(self, captured: dict[str, Any], **defaults: Any) -> None:
        super().__init__(**defaults)
        self.captured = captured

    async def request(self, **request: Any) -> None:
        self.captured.update(request)


def _header(name: bytes) -> bytes:
    """`HTTP_AUTHORIZATION`, as DRF's tests write it, and `Authorization` alike."""
    return name.lower().replace(b"_", b"-").removeprefix(b"http-")


def _receiver(body: bytes, left: asyncio.Event) -> Any:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    return receive


async def _chunks(queue: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[bytes]:
    while True:
        message = await queue.get()
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return


def RequestsClient(app: Any = None, **options: Any) -> Any:  # noqa: N802 - DRF's name, a class there
    """An `httpx.AsyncClient` that speaks to the application: whole addresses, cookies, redirects.

    async with RequestsClient() as client:
        response = await client.get("http://testserver/hosts/")
    """
    import httpx  # of the tests' dependencies

    transport = httpx.ASGITransport(app or import_string(settings.ASGI_APPLICATION))
    return httpx.AsyncClient(**{"transport": transport, "base_url": "http://testserver", **options})


class APISimpleTestCase(SimpleTestCase):
    async_client_class = APIClient


class APITestCase(TestCase):
    async_client_class = APIClient


class APITransactionTestCase(TransactionTestCase):
    async_client_class = APIClient


class APILiveServerTestCase(LiveServerTestCase):
    async_client_class = APIClient

"""The ASGI handler: Django's request cycle with no thread entered on Django's account.

Theory of operation. Django's handler enters a thread several times for each request: for signals,
for each middleware, for rendering, for closing the response. Here everything that is known to wait
for nothing runs in place, and the body is read when somebody asks for it.

- A request has its own thread context, made lazily by asgiref: no thread exists unless something
  asks for one (a synchronous view, an unknown middleware, Django's own async ORM). What ran in that
  thread is cleaned up in it.
- An async view of `app.rest` reads its own body (`Request.aload`). Before any other view, and
  before unknown middleware, the body is read for it, within the same limit.
- A client that leaves cancels its request (`departures`).
- A request of HEAD is served as a GET, and the head alone is sent, whatever the server would do.
- An answer that says no more than its status (a 405 of Django's) gets a body in the form asked for.
- What Django sets and resets around every request (the URL prefix, the URLconf, caches) is passed
  over where nothing has been set in the request's context. `docs/performance.md` has what each of
  these cost.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, iscoroutinefunction, sync_to_async
from django.conf import settings
from django.core import signals
from django.core.cache import caches, close_caches
from django.core.exceptions import (
    BadRequest,
    MiddlewareNotUsed,
    PermissionDenied,
    RequestAborted,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.core.handlers import base
from django.core.handlers.asgi import ASGIHandler as DjangoASGIHandler
from django.core.handlers.exception import response_for_exception
from django.db import close_old_connections, connections, reset_queries
from django.dispatch import Signal
from django.http import FileResponse, Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.urls import get_script_prefix as current_script_prefix
from django.urls import set_script_prefix, set_urlconf
from django.urls.base import _prefixes, _urlconfs  # type: ignore[attr-defined]
from django.utils.log import log_response
from django.utils.module_loading import import_string

from app.rest import departures, error_responses
from app.rest import lifespan as lifespans
from app.rest.asgi_requests import ASGIRequest, script_prefix
from app.rest.bodies import Body, Receive, Send
from app.rest.exceptions import APIException
from app.rest.middleware import Detour, Stages, is_native, runs_in_place
from app.rest.query_strings import check_query
from app.rest.request import Empty, Request
from app.rest.response import LISTS, Response
from app.rest.routes import resolve_path
from app.rest.shortcuts import setting
from app.rest.streams import Sending, Stream
from app.rest.views import APIView

logger = logging.getLogger("django.request")

# Receivers of Django's. The first two look after the connections of the thread they run in: passed
# over on the loop, whose connections are not theirs to close. `_close` does what the others do.
_DJANGO_RECEIVERS = {reset_queries, close_old_connections, close_caches, base.reset_urlconf}
_executors: Any = SyncToAsync.context_to_thread_executor
_LONG_QUERY = 1000  # it may hold too many parameters
# Exceptions whose response is computed; any other is a fault of the server and logged in a thread.
_COMPUTED_ERRORS = (Http404, PermissionDenied, SuspiciousOperation, BadRequest)


class ASGIHandler(DjangoASGIHandler):
    """Django's handler, with lifespan, a limited body and zero hops for async views."""

    request_class = ASGIRequest

    def __init__(self, lifespan: lifespans.Lifespan | None = None) -> None:
        self.lifespan = lifespans.lifespan if lifespan is None else lifespan
        self.reads_body_early = False
        self._known_receivers: dict[Signal, tuple[list[Any], bool]] = {}
        self._atomic_requests = any(one["ATOMIC_REQUESTS"] for one in connections.settings.values())
        super().__init__()

    # Loading

    def load_middleware(self, is_async: bool = True) -> None:
        """Django's, with each row of known middleware made into one `Stages`."""
        self._view_middleware: list[Any] = []
        self._beyond_csrf: list[Any] = []
        """Without Django's, which lets pass what is exempt."""
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        handler: Any = self._get_response_async
        row: list[Any] = []
        for path in reversed(settings.MIDDLEWARE):
            middleware = import_string(path)
            try:
                if runs_in_place(middleware):
                    instance = middleware(handler)
                    row.insert(0, instance)
                else:
                    self.reads_body_early |= not is_native(middleware)
                    handler, row = self._guard(row, handler), []
                    instance = self._adapt(middleware, handler)
                    guarded = self._guard([], instance)
                    if hasattr(instance, "concerns"):
                        guarded = Detour(instance.concerns, guarded, handler)
                    handler = guarded
            except MiddlewareNotUsed as exc:
                logger.debug("MiddlewareNotUsed(%r): %s", path, exc)
                continue
            self._collect_hooks(instance, in_place=runs_in_place(middleware))
        self._middleware_chain = self._guard(row, handler)
        self._way_to = lru_cache(maxsize=4096)(self._find_way)

    def _guard(self, row: list[Any], handler: Any) -> Any:
        if not row and isinstance(handler, Stages | Detour):
            return handler  # it makes responses of exceptions by itself
        return Stages(row, handler, self.respond_to_exception)

    def _adapt(self, middleware: Any, handler: Any) -> Any:
        if getattr(middleware, "async_capable", False):
            return middleware(handler)
        adapted = self.adapt_method_mode(False, handler, True)
        return self.adapt_method_mode(True, middleware(adapted), False)

    def _collect_hooks(self, instance: Any, *, in_place: bool) -> None:
        for name, hooks in (
            ("process_view", self._view_middleware),
            ("process_template_response", self._template_response_middleware),
            ("process_exception", self._exception_middleware),
        ):
            hook = getattr(instance, name, None)
            if hook is None:
                continue
            if name == "process_view":
                adapted: Any = hook if in_place else self.adapt_method_mode(True, hook)
                self._view_middleware.insert(0, (adapted, in_place))
                if type(instance) is not CsrfViewMiddleware:
                    self._beyond_csrf.insert(0, (adapted, in_place))
            else:
                adapted = _awaitable(hook) if in_place else self.adapt_method_mode(True, hook)
                hooks.append(adapted)

    # Serving

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})  # 403: none is spoken here
        else:
            raise ValueError(f"This application speaks HTTP, not {scope['type']}.")

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            phase = message["type"].removeprefix("lifespan.")
            try:
                await (self.lifespan.start() if phase == "startup" else self.lifespan.stop())
            except Exception as exc:
                logger.exception("%s failed.", phase.capitalize())
                await send({"type": f"lifespan.{phase}.failed", "message": str(exc)})
                return
            await send({"type": f"lifespan.{phase}.complete"})
            if phase == "shutdown":
                return

    async def _serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body = Body(scope, receive, setting("DATA_UPLOAD_MAX_MEMORY_SIZE"))
        threads = ThreadSensitiveContext()
        token = SyncToAsync.thread_sensitive_context.set(threads)
        departure = departures.begin(body)
        try:
            sending = await self._respond(scope, body, send)
            if sending is not None:
                await sending.run(send)
        except RequestAborted:
            pass
        except asyncio.CancelledError:
            if not departure.client_left:
                raise
        finally:
            departures.end(departure)
            SyncToAsync.thread_sensitive_context.reset(token)
            if _executors.data:
                executor = _executors.pop(threads, None)
                if executor is not None:
                    executor.shutdown(wait=False)

    async def _respond(self, scope: dict[str, Any], body: Body, send: Send) -> Sending | None:
        """Send the answer; of a `Stream` the head alone: the rest is returned, and is all that is
        left of the request.
        """
        prefix = script_prefix(scope)
        if prefix or (is_set(_prefixes) and current_script_prefix() != "/"):
            set_script_prefix(prefix)
        if not self._knows_all(signals.request_started):  # it can't have a thread yet
            await signals.request_started.asend(sender=self.__class__, scope=scope)
        request, refused = self.create_request(scope, body)  # type: ignore[arg-type]
        response: Any = refused if request is None else await self.get_response_async(request)
        response._handler_class = self.__class__
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        try:
            if isinstance(response, Stream):
                return await self._begin_stream(response, scope, send)
            if scope["method"] == "HEAD":
                await self._send_head(response, send)
            else:
                await self.send_response(response, send)
        finally:
            if self._close(response):
                await signals.request_finished.asend(sender=self.__class__)
        if "renderer_context" in response.__dict__:
            undo_circles(response)
        return None

    async def _begin_stream(
        self, response: Stream, scope: dict[str, Any], send: Send
    ) -> Sending | None:
        sending = response.detach()
        if scope["method"] == "HEAD":
            await sending.close()
            await self._send_head(response, send)
            return None

        async def send_head(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                await send(message)

        await self.send_response(response, send_head)
        return sending

    async def _send_head(self, response: Any, send: Send) -> None:
        """What a GET would be answered with, without its body. A stream is not begun."""
        headers = [
            *((name.encode("ascii"), value.encode("latin1")) for name, value in response.items()),
            *((b"Set-Cookie", one.OutputString().encode()) for one in response.cookies.values()),
        ]
        status = response.status_code
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _close(self, response: Any) -> bool:
        """`response.close()`, and what request_finished does; whether it is yet to be sent."""
        if "_resource_closers" in response.__dict__:
            closers, response._resource_closers = response._resource_closers, []
            for close in closers:
                close()
        response.closed = True
        if self._has_strangers(signals.request_finished):
            return True
        if is_set(_urlconfs):
            set_urlconf(None)
        if is_set(caches._connections):  # type: ignore[attr-defined]
            caches.close_all()
        return False

    def _has_strangers(self, signal: Signal) -> bool:
        """Whether a signal must be sent as Django does: it has receivers that are not Django's own,
        or this request has a thread, whose connections they look after.
        """
        return not self._knows_all(signal) or _has_thread()

    def _knows_all(self, signal: Signal) -> bool:
        known = self._known_receivers.get(signal)
        if known is None or known[0] != signal.receivers:
            known = self._look_at_receivers(signal)
        return known[1]

    def _look_at_receivers(self, signal: Signal) -> tuple[list[Any], bool]:
        """Those of the signal, and whether all are Django's own. Kept until there are others."""
        plain, awaited = signal._live_receivers(self.__class__)
        known = not awaited and all(one in _DJANGO_RECEIVERS for one in plain)
        self._known_receivers[signal] = list(signal.receivers), known
        return self._known_receivers[signal]

    # Responding

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        if is_set(_urlconfs):
            set_urlconf(setting("ROOT_URLCONF"))
        if self.reads_body_early:
            await _read_body(request)
        response: Any = await self._middleware_chain(request)
        if type(response) is not Response or "_files" in request.__dict__:
            response._resource_closers.append(request.close)
        if response.status_code == 304:
            # It would be that of the 200 (RFC 9110, 8.6); CommonMiddleware writes 0.
            response.headers.pop("Content-Length", None)
        elif response.status_code >= 400:
            if not response.streaming and not response.content:
                response = error_responses.filled(request, response)
            log_response(
                "%s: %s", response.reason_phrase, request.path, response=response, request=request
            )
        return response

    def resolve_request(self, request: HttpRequest) -> Any:
        """Django's, remembering what plain paths lead to."""
        match = None if hasattr(request, "urlconf") else resolve_path(request.path_info)
        if match is None:
            return super().resolve_request(request)
        request.resolver_match = match
        return match

    async def send_response(self, response: Any, send: Send) -> None:
        """Django's, where there is one chunk to send, with less ado."""
        if type(response) is Response and "cookies" not in response.__dict__:
            container = response._container
            content = container[0] if len(container) == 1 else response.content
        else:
            content = None if response.streaming or response.cookies else response.content
        if content is None or len(content) > self.chunk_size:
            await super().send_response(response, send)
            return
        status, given = response.status_code, response.headers._store.values()
        at_once = getattr(getattr(send, "__self__", None), "answer_at_once", None)
        if at_once is not None and at_once(status, given, content):  # `app.ops.cycles`
            return
        headers = [_encoded.get(pair) or _encode(pair) for pair in given]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content, "more_body": False})

    async def _get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Resolve the view, pass it through view middleware, call it, render what it returns."""
        query = request.META["QUERY_STRING"]
        if "%" in query or len(query) > _LONG_QUERY:
            check_query(query)
        match = self.resolve_request(request)
        callback, args, kwargs = match.func, match.args, match.kwargs
        is_ours, hooks, view = self._way_to(callback)
        if not is_ours:
            await _read_body(request)
        response: Any = None
        for hook, in_place in hooks:
            call: Any = hook(request, callback, args, kwargs)
            response = call if in_place else await call
            if response:
                break
        if response is None:
            try:
                response = await view(request, *args, **kwargs)
            except Exception as exc:  # noqa: BLE001 - raised on where nobody makes an answer of it
                response = await self._process_exception(request, exc)
        if is_ours and type(response) is Response and not self._template_response_middleware:
            try:
                return response.render()
            except Exception as exc:  # noqa: BLE001
                return await self._process_exception(request, exc)
        self.check_response(response, callback)
        if callable(getattr(response, "render", None)):
            response = await self._render(request, response)
        return response

    def _find_way(self, callback: Any) -> tuple[bool, list[Any], Any]:
        """Whether a view reads its own body, the middleware that sees it first, and what to await.
        Asked once for each.
        """
        is_exempt = getattr(callback, "csrf_exempt", False)
        hooks = self._beyond_csrf if is_exempt else self._view_middleware
        return reads_its_body(callback), hooks, self._awaitable_view(callback)

    def _awaitable_view(self, callback: Any) -> Any:
        view: Any = self.make_view_atomic(callback) if self._atomic_requests else callback
        if is_coroutine_function(view):
            return view
        return sync_to_async(view, thread_sensitive=True)

    async def _render(self, request: HttpRequest, response: Any) -> Any:
        for hook in self._template_response_middleware:
            response = await hook(request, response)
            self.check_response(response, hook, name="process_template_response")
        try:
            computes = hasattr(response, "accepted_renderer") or response.is_rendered
            if computes and not is_coroutine_function(type(response).render):
                return response.render()
            if iscoroutinefunction(response.render):
                return await response.render()
            return await sync_to_async(response.render, thread_sensitive=True)()
        except Exception as exc:  # noqa: BLE001
            return await self._process_exception(request, exc)

    async def _process_exception(self, request: HttpRequest, exc: Exception) -> Any:
        """What the first of the middleware makes of it that makes anything; else raises it on."""
        for hook in self._exception_middleware:
            response = await hook(request, exc)
            if response:
                return response
        raise exc

    async def respond_to_exception(self, request: HttpRequest, exc: Exception) -> HttpResponseBase:
        """Django's response for an exception that no view answered."""
        if isinstance(exc, APIException | RequestDataTooBig | TooManyFieldsSent | TooManyFilesSent):
            return error_responses.exception_response(request, exc)
        if isinstance(exc, RequestAborted):
            raise exc
        if isinstance(exc, _COMPUTED_ERRORS):
            return response_for_exception(request, exc)
        return await sync_to_async(response_for_exception, thread_sensitive=False)(request, exc)


_MOST_HEADERS, _LONGEST_HEADER = 1024, 256
_encoded: dict[tuple[str, str], tuple[bytes, bytes]] = {}
_OF_ONE_REQUEST = frozenset({"RateLimit", "ETag", "Last-Modified", "Location", "Content-Length"})


def _encode(pair: tuple[str, str]) -> tuple[bytes, bytes]:
    """A header as it is sent; kept, for most are those of the next answer too."""
    name, value = pair
    encoded = name.encode("ascii"), value.encode("latin1")
    if name not in _OF_ONE_REQUEST and len(value) <= _LONGEST_HEADER:
        if len(_encoded) >= _MOST_HEADERS:
            _encoded.clear()
        _encoded[pair] = encoded
    return encoded


def reads_its_body(view: Any) -> bool:
    """Whether it is a view of `app.rest`; one of DRF's or adrf's own reads a body that is there."""
    cls = getattr(view, "cls", None)
    return isinstance(cls, type) and issubclass(cls, APIView)


@lru_cache(maxsize=4096)
def is_coroutine_function(function: Any) -> bool:
    return bool(iscoroutinefunction(function))


def is_set(local: Any) -> bool:
    """Whether anything is set in this context in one of asgiref's Locals. Asked in asgiref's own
    words, it takes 3 microseconds to say no.
    """
    storage = local._storage._data.get(None)
    return storage is not None and bool(storage.data)


def undo_circles(response: Any) -> None:
    """A view, its request and its response hold each other by way of their contexts, a view holds
    its own methods, and the serializer of a list and its child hold each other. Undone once the
    answer is sent, they are freed at once; else each request would leave fifty objects to the
    garbage collector, which takes a twentieth of its time, and a list all its items.
    """
    context = response.__dict__.pop("renderer_context")
    if type(context) is not dict:
        return
    view, request = context.get("view"), context.get("request")
    if view is not None:
        attributes = view.__dict__
        attributes.pop("response", None)
        attributes.pop("head", None)  # where there is a `get`, Django's View puts it here
        for made in attributes.pop(LISTS, ()):
            made.child.parent = None
            made.child.__dict__.pop("fields", None)  # which hold it, and it the list
        for method in attributes.get("action_map") or ():
            attributes.pop(method, None)
    if type(request) is Request:
        given = request.__dict__
        body = getattr(request._request, "body_source", None)
        if request._data is Empty and body is not None and body.length:
            return  # whoever goes on with it may yet parse its body
        given.pop("_view", None)
        if "parser_context" in given:
            for name in ("view", "request"):
                given["parser_context"].pop(name, None)


async def _read_body(request: HttpRequest) -> None:
    read = getattr(request, "abody", None)
    if read is not None:
        await read()


def _awaitable(hook: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def run(*args: Any) -> Any:
        return hook(*args)

    return run


def _has_thread() -> bool:
    # A request that has a thread is rare; to look for it among none takes a microsecond.
    return bool(_executors.data) and SyncToAsync.thread_sensitive_context.get(None) in _executors

"""DRF's APIView with a dispatch that is async all the way: no thread is entered on DRF's account.

The life of a request is DRF's: initialize_request, initial (negotiation, version, authentication,
permissions, throttles), the handler, handle_exception, finalize_response. Hooks that may wait are
coroutines under DRF's names; those that only compute (get_*, finalize_response) stay plain.
"""

from typing import Any

from adrf.views import APIView as AdrfAPIView
from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views import View
from rest_framework import exceptions, status
from rest_framework.compat import split_header_value
from rest_framework.metadata import SimpleMetadata as DRFSimpleMetadata
from rest_framework.negotiation import DefaultContentNegotiation as DRFContentNegotiation
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView as DRFAPIView
from rest_framework.views import get_view_description, get_view_name, set_rollback

from app.rest import pipelines, problems, shortcuts
from app.rest.asgi_requests import ASGIRequest
from app.rest.bridges import bridge_hooks, in_thread
from app.rest.colours import Colour, call, call_function, colour_of
from app.rest.exceptions import exception_handler
from app.rest.metadata import SimpleMetadata
from app.rest.negotiation import DefaultContentNegotiation
from app.rest.permissions import permits, permits_object
from app.rest.request import Request
from app.rest.response import Response as SlimResponse
from app.rest.throttling import SimpleRateThrottle

__all__ = [
    "APIView",
    "exception_handler",
    "get_view_description",
    "get_view_name",
    "set_rollback",
]

# Hooks that dispatch awaits. A subclass that overrides one with a plain function gets it run in a
# thread (`bridges`).
_HOOKS = (
    "initial",
    "perform_authentication",
    "check_permissions",
    "check_object_permissions",
    "check_throttles",
    "handle_exception",
)


_allow: dict[tuple[type, tuple[str, ...]], str] = {}


def _allow_of(view: Any) -> str:
    """`view.allowed_methods` as the header says it: known from the class and the actions bound,
    unless `as_view(http_method_names=[...])` named them.
    """
    cls = type(view)
    actions = tuple(getattr(view, "action_map", ()))
    if (
        "http_method_names" in view.__dict__
        or cls.__init__ is not View.__init__
        or cls.allowed_methods is not DRFAPIView.allowed_methods
    ):
        return ", ".join(view.allowed_methods)
    known = _allow.get((cls, actions))
    if known is None:
        known = _allow[cls, actions] = ", ".join(view.allowed_methods)
    return known


if api_settings.DEFAULT_METADATA_CLASS is DRFSimpleMetadata:
    _metadata_class: Any = SimpleMetadata
else:
    _metadata_class = api_settings.DEFAULT_METADATA_CLASS
if api_settings.DEFAULT_CONTENT_NEGOTIATION_CLASS is DRFContentNegotiation:
    _negotiation_class: Any = DefaultContentNegotiation
else:
    _negotiation_class = api_settings.DEFAULT_CONTENT_NEGOTIATION_CLASS


class APIView(AdrfAPIView):
    """DRF's APIView; every handler and hook that may wait is a coroutine."""

    view_is_async = True
    metadata_class = _metadata_class
    content_negotiation_class = _negotiation_class
    awaited_hooks: tuple[str, ...] = _HOOKS

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """DRF's, exempt from CSRF checks by its mark alone: Django's decorator would put a
        coroutine around it.
        """
        exempt = super().as_view(**initkwargs)
        view = getattr(exempt, "__wrapped__", exempt)
        if getattr(view, "cls", None) is not cls:
            return exempt
        view.csrf_exempt = True
        return view

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bridge_hooks(cls, cls.awaited_hooks)
        dispatch = cls.__dict__.get("dispatch")
        if dispatch is not None and not iscoroutinefunction(dispatch):
            cls.dispatch = in_thread(dispatch)  # type: ignore[method-assign]

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        if type(request) is ASGIRequest and pipelines.is_usual(self):
            return pipelines.make_request(self, request)
        return Request(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=self.get_content_negotiator(),
            parser_context=self.get_parser_context(request),
        )

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if type(request) is ASGIRequest and shortcuts.are_on():
            return await pipelines.dispatch(self, pipelines.ways_of(self), request, args, kwargs)
        self.args = args
        self.kwargs = kwargs
        if isinstance(request, ASGIRequest) and not pipelines.ways_of(self).initializes:
            await pipelines.read_small_body(request)
        self.request: Any = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        try:
            await self.initial(self.request, *args, **kwargs)
            response = await self.call_handler(self.request, *args, **kwargs)
        except Exception as exc:  # noqa: BLE001 - handle_exception raises what it does not know
            response = await self.handle_exception(exc)
        self.response = self.finalize_response(self.request, response, *args, **kwargs)
        await self.prepare_response(self.response)
        return self.response

    async_dispatch = dispatch

    @property
    def default_response_headers(self) -> dict[str, str]:
        headers = {"Allow": _allow_of(self)}
        if len(self.renderer_classes) > 1:
            headers["Vary"] = "Accept"
        return headers

    def finalize_response(
        self, request: Any, response: Any, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """DRF's. Headers that are plain are set without ado."""
        if getattr(response, "status_code", 0) >= 400:
            response = problems.negotiated(request, response)
        if not (type(response) is SlimResponse and hasattr(request, "accepted_renderer")):
            finished: HttpResponseBase = super().finalize_response(
                request, response, *args, **kwargs
            )
            return finished
        response.accepted_renderer = request.accepted_renderer
        response.accepted_media_type = request.accepted_media_type
        response.renderer_context = self.get_renderer_context()
        headers = self.headers
        if "Vary" in headers:
            patch_vary_headers(response, list(split_header_value(headers.pop("Vary"))))
        store = response.headers._store
        for name, value in headers.items():
            if type(value) is str and value.isascii() and "\n" not in value and "\r" not in value:
                store[name.lower()] = (name, value)
            else:
                response[name] = value
        return response

    async def call_handler(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Read the body, then call the method's handler in its colour."""
        method = request.method.lower()
        handler = self.http_method_not_allowed
        if method in self.http_method_names:
            handler = getattr(self, method, handler)
        if method not in ("get", "head", "options"):
            await request.aload()
        response: HttpResponseBase = await call_function(handler, request, *args, **kwargs)
        return response

    async def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        """Everything that must hold before the handler runs."""
        if type(request) is Request and pipelines.is_usual(self):
            await pipelines.begin(self, request, args, kwargs)
            return
        self.format_kwarg = self.get_format_suffix(**kwargs)
        negotiated = self.perform_content_negotiation(request)
        request.accepted_renderer, request.accepted_media_type = negotiated
        request.version, request.versioning_scheme = self.determine_version(
            request, *args, **kwargs
        )
        await self.perform_authentication(request)
        await self.check_permissions(request)
        await self.check_throttles(request)

    async def perform_authentication(self, request: Any) -> None:
        await request.aauthenticate()

    async def check_permissions(self, request: Any) -> None:
        for permission in self.get_permissions():
            if not await permits(permission, request, self):
                self._refuse(request, permission)

    async def check_object_permissions(self, request: Any, obj: Any) -> None:
        for permission in self.get_permissions():
            if not await permits_object(permission, request, self, obj):
                self._refuse(request, permission)

    def _refuse(self, request: Any, permission: Any) -> None:
        self.permission_denied(
            request,
            message=getattr(permission, "message", None),
            code=getattr(permission, "code", None),
        )

    async def check_throttles(self, request: Any) -> None:
        throttles = self.get_throttles()
        if throttles:
            await self._pass_throttles(request, throttles)

    async def _pass_throttles(self, request: Any, throttles: list[Any]) -> None:
        """Ask every throttle, so that each counts the request; refuse with the longest wait."""
        refused, limits = [], []
        for throttle in throttles:
            ask = type(throttle).allow_request
            if ask is SimpleRateThrottle.allow_request:
                allowed = throttle.allow_at_once(request, self)
                if allowed is None:
                    allowed = await throttle.allow_by_store()
            elif colour_of(type(throttle), "allow_request") is Colour.AWAITED:
                allowed = await throttle.allow_request(request, self)
            else:
                allowed = await call(throttle, "allow_request", request, self)
            if not allowed:
                refused.append(await call(throttle, "wait"))
            tell = getattr(throttle, "rate_limit", None)
            limit = None if tell is None else tell()
            if limit is not None:
                limits.append(limit)
        if len(limits) == 1:
            self.headers["RateLimit-Policy"], self.headers["RateLimit"] = limits[0]
        elif limits:
            self.headers["RateLimit-Policy"] = ", ".join(policy for policy, _ in limits)
            self.headers["RateLimit"] = ", ".join(left for _, left in limits)
        if refused:
            waits = (wait for wait in refused if wait is not None)
            self.throttled(request, max(waits, default=None))

    def get_permissions(self) -> list[Any]:
        return [permission() for permission in self.permission_classes]

    async def handle_exception(self, exc: Exception) -> Response:
        """Answer with what the exception handler (sync or async) makes of `exc`, or raise it on."""
        if isinstance(exc, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
            header = self.get_authenticate_header(self.request)
            if header:
                exc.auth_header = header
            else:
                exc.status_code = status.HTTP_403_FORBIDDEN
        handler = self.get_exception_handler()
        response = await call_function(handler, exc, self.get_exception_handler_context())
        if response is None:
            self.raise_uncaught_exception(exc)
        response.exception = True
        return response

    async def prepare_response(self, response: HttpResponseBase) -> None:
        """Let the renderer do what must be awaited, so that rendering only computes."""
        renderer: Any = getattr(response, "accepted_renderer", None)
        if hasattr(renderer, "prepare") and isinstance(response, Response):
            await renderer.prepare(response.data, response.accepted_media_type, {
                **response.renderer_context, "response": response,
            })  # fmt: skip

    async def options(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if self.metadata_class is None:
            self.http_method_not_allowed(request, *args, **kwargs)
        data = await call(self.metadata_class(), "determine_metadata", request, self)
        return Response(data, status=status.HTTP_200_OK)

    @classmethod
    def threaded_components(cls) -> list[str]:
        """The components of this view that cost a hop on each request, for `manage.py check`."""
        groups = (
            (cls.authentication_classes, "authenticate"),
            (cls.throttle_classes, "allow_request"),
        )
        return [
            f"{component.__module__}.{component.__qualname__}.{name}"
            for components, name in groups
            for component in components
            if isinstance(component, type) and colour_of(component, name) is Colour.THREAD
        ]


bridge_hooks(APIView, _HOOKS)
#: What `pipelines` does in one go, as it is here: a class that has anything else is asked.
USUAL = pipelines.look(APIView)

"""DRF's Request, authenticated and read without blocking.

The view awaits `aauthenticate()` and `aload()` before its handler runs, so that `request.user`,
`request.auth` and `request.data` are plain attributes by then, as DRF users expect.
"""

from collections.abc import Callable
from typing import Any

from adrf.requests import AsyncRequest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from rest_framework import exceptions
from rest_framework.parsers import DataAndFiles
from rest_framework.request import (
    Empty,
    ForcedAuthentication,
    clone_request,
    is_form_media_type,
    override_method,
)

from app.loops import running_loop
from app.rest.asgi_requests import ASGIRequest
from app.rest.callers import RECOGNIZED, take_caller
from app.rest.colours import Colour, call, colour_of, computes
from app.rest.shortcuts import setting

__all__ = ["Empty", "Request", "clone_request", "override_method"]

computes(ForcedAuthentication)


class _OfDjangos:
    """An attribute of Django's request, found without a detour through `__getattr__`. It may be
    set on DRF's, as `clone_request` does.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, request: Any, owner: Any = None) -> Any:
        return self if request is None else getattr(request._request, self.name)


class _OfItsView:
    """What a request has of its view (`_view`, while it is answered), taken for whoever looks."""

    def __init__(self, name: str, take: Callable[[Any, Any], Any]) -> None:
        self.name = name
        self.take = take

    def __get__(self, request: Any, owner: Any = None) -> Any:
        if request is None:
            return self
        attributes = request.__dict__
        value = attributes[self.name] = self.take(request, attributes.get("_view"))
        return value


class _OfCaller:
    """`_user` and `_auth` of a caller who was recognized (`callers`), made for whoever looks."""

    def __init__(self, name: str, place: int) -> None:
        self.name = name
        self.place = place

    def __get__(self, request: Any, owner: Any = None) -> Any:
        if request is None:
            return self
        attributes = request.__dict__
        pair = take_caller(request._request) if RECOGNIZED in attributes else None
        if pair is None:
            raise AttributeError(self.name)
        value = attributes[self.name] = pair[self.place]
        return value


def _parsers_of(request: Any, view: Any) -> Any:
    return () if view is None else view.get_parsers()


def _negotiator_of(request: Any, view: Any) -> Any:
    return request._default_negotiator() if view is None else view.get_content_negotiator()


def _context_of(request: Any, view: Any) -> dict[str, Any]:
    """DRF's `get_parser_context`, with what its Request adds."""
    context = {"request": request, "encoding": request._request.encoding or _charset()}
    if view is None:
        return context
    own = {"view": view, "args": getattr(view, "args", ()), "kwargs": getattr(view, "kwargs", {})}
    return {**own, **context}


def _charset() -> Any:
    return setting("DEFAULT_CHARSET")


class Request(AsyncRequest):
    """Adds the awaitables `aauthenticate()`, `auser()`, `abody()`, `aload()` to DRF's request."""

    method: Any = _OfDjangos("method")
    META: Any = _OfDjangos("META")
    GET: Any = _OfDjangos("GET")
    # What its constructor sets on each request, for one that `pipelines` makes.
    _user: Any = _OfCaller("_user", 0)
    _auth: Any = _OfCaller("_auth", 1)
    _data: Any = Empty
    _files: Any = Empty
    _full_data: Any = Empty
    _content_type: Any = Empty
    _stream: Any = Empty
    parsers: Any = _OfItsView("parsers", _parsers_of)
    negotiator: Any = _OfItsView("negotiator", _negotiator_of)
    parser_context: Any = _OfItsView("parser_context", _context_of)

    def __init__(
        self,
        request: Any,
        parsers: Any = None,
        authenticators: Any = None,
        negotiator: Any = None,
        parser_context: Any = None,
    ) -> None:
        if negotiator is None or not isinstance(request, ASGIRequest):
            super().__init__(request, parsers, authenticators, negotiator, parser_context)
            return
        self._request = request
        self.parsers = parsers or ()
        self.authenticators = authenticators or ()
        self.negotiator = negotiator
        self._data = self._files = self._full_data = self._content_type = self._stream = Empty
        self.parser_context = {} if parser_context is None else parser_context
        self.parser_context["request"] = self
        self.parser_context["encoding"] = request.encoding or _charset()
        if "_force_auth_user" in request.__dict__:
            self.force_authentication()

    def force_authentication(self) -> None:
        """As whom the test client says."""
        given = vars(self._request)
        user, token = given.get("_force_auth_user"), given.get("_force_auth_token")
        if user is not None or token is not None:
            self.authenticators = (ForcedAuthentication(user, token),)

    @property
    def user(self) -> Any:
        """Who makes the request, once it was authenticated."""
        try:
            return self.__dict__["_user"]
        except KeyError:
            return self._user if RECOGNIZED in self.__dict__ else AsyncRequest.user.fget(self)

    @user.setter
    def user(self, value: Any) -> None:
        take_caller(self._request)
        self.__dict__["_user"] = value
        self._request.user = value

    @property
    def auth(self) -> Any:
        """The credential of the request, once it was authenticated."""
        try:
            return self.__dict__["_auth"]
        except KeyError:
            return self._auth if RECOGNIZED in self.__dict__ else AsyncRequest.auth.fget(self)

    @auth.setter
    def auth(self, value: Any) -> None:
        take_caller(self._request)
        self.__dict__["_auth"] = value
        self._request.auth = value

    async def aauthenticate(self) -> None:
        """Ask each authenticator in turn; sets `user` and `auth`. May raise an APIException."""
        attributes = self.__dict__
        if "_user" in attributes or RECOGNIZED in attributes:
            return
        for authenticator in self.authenticators:
            try:
                if colour_of(type(authenticator), "authenticate") is Colour.AWAITED:
                    pair = await authenticator.authenticate(self)
                else:
                    pair = await call(authenticator, "authenticate", self)
            except exceptions.APIException:
                self._not_authenticated()
                raise
            if pair is not None:
                attributes["_authenticator"] = authenticator
                attributes["_user"], attributes["_auth"] = pair
                self._request.user, self._request.auth = pair
                return
        self._not_authenticated()

    async def auser(self) -> Any:
        """The user, authenticating first if nobody has yet."""
        await self.aauthenticate()
        return self._user

    async def abody(self) -> bytes:
        """The whole body. Raises RequestTooLarge over `DATA_UPLOAD_MAX_MEMORY_SIZE`."""
        read = getattr(self._request, "abody", None)
        return self._request.body if read is None else await read()

    async def aload(self) -> None:
        """Read the body, so that `request.data` has only to parse it. A parser with `aparse` takes
        the body as it arrives, and `request.data` is what it made of that.
        """
        if self._data is not Empty:
            return
        check = getattr(self._request, "check_body", None)
        if check is not None:
            check()
        parser = self._streaming_parser()
        if parser is not None:
            await self._aparse(parser)
            return
        read = getattr(self._request, "abody", None)
        if read is not None:
            await read()

    def _load_data_and_files(self) -> None:
        """DRF's. Plain code in a thread may ask before the body was read: it is read now."""
        if running_loop() is None and hasattr(self._request, "body_source"):
            async_to_sync(self.aload)()
        if self._full_data is Empty:
            super()._load_data_and_files()

    def _streaming_parser(self) -> Any:
        """The parser, if it wants to read this body by itself."""
        body = getattr(self._request, "body_source", None)
        if body is None or not body.length or not body.is_untouched:
            return None
        if not any(hasattr(parser, "aparse") for parser in self.parsers):
            return None
        parser = self.negotiator.select_parser(self, self.parsers)
        return parser if hasattr(parser, "aparse") and parser.streams(body) else None

    async def _aparse(self, parser: Any) -> None:
        """DRF's `_load_data_and_files`, awaited."""
        request: Any = self._request
        nothing: Any = QueryDict(encoding=request.encoding)
        files: Any = MultiValueDict()
        self._data, self._files, self._full_data = nothing, files, nothing
        parsed = await parser.aparse(request.body_source, self.content_type, self.parser_context)
        request._read_started = True
        if not isinstance(parsed, DataAndFiles):
            self._data = self._full_data = parsed
            return
        self._data, self._files = parsed.data, parsed.files
        self._full_data = self._data.copy()
        self._full_data.update(self._files)
        files.update(parsed.files)
        is_form = is_form_media_type(self.content_type)
        # Django closes the files with the request.
        request._post, request._files = (self._data if is_form else nothing), files

    def _authenticate(self) -> None:
        for authenticator in self.authenticators:
            if colour_of(type(authenticator), "authenticate") is not Colour.IN_PLACE:
                raise SynchronousOnlyOperation(
                    "request.user was read before the request was authenticated. "
                    "Write `await request.auser()`."
                )
        super()._authenticate()

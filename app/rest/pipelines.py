"""The usual way of a request into a view, in one coroutine.

What stands in `APIView.dispatch` and in `initial` (negotiate, authenticate, permit, throttle) is
two dozen methods, for any of which a view may have its own. For those of which a view class has
none of its own (`Ways`), `dispatch` and `begin` do what these methods do, in their order, one after
the other. What a view chooses (its `get_permissions()` and the like, its authenticators,
permissions, throttles and renderers) is asked as ever.
"""

import re
from operator import attrgetter
from typing import Any
from urllib.parse import unquote_plus

from django.http.response import HttpResponseBase
from rest_framework.views import APIView as DRFAPIView
from rest_framework.viewsets import ViewSetMixin as DRFViewSetMixin

from app.rest import callers, shortcuts
from app.rest.asgi_requests import ASGIRequest
from app.rest.colours import Colour, call_function, colour_of, colour_of_bound
from app.rest.negotiation import DefaultContentNegotiation
from app.rest.permissions import permits
from app.rest.request import Request
from app.rest.shortcuts import setting

_MARK = "_usual_ways"
_STEPS = (
    "perform_authentication", "check_permissions", "check_throttles", "get_parser_context",
    "get_format_suffix", "perform_content_negotiation", "determine_version",
    "get_content_negotiator", "get_parsers",
)  # fmt: skip
#: What a class, or its base, has under each name that matters here.
look: Any = attrgetter(*_STEPS, "initialize_request", "initial", "call_handler", "prepare_response")


_ONLY_WRITES = "_only_writes"


def only_writes(call_handler: Any) -> Any:
    """Mark a `call_handler` that for GET, HEAD and OPTIONS does no more than `super()`'s."""
    setattr(call_handler, _ONLY_WRITES, True)
    return call_handler


class Ways:
    """What a view class does in the library's way: `initializes` (with steps of its own, perhaps),
    `makes_request`, `begins` (all that must hold before its handler), `handles` (finds its handler
    and calls it). `prepares`: whether it has more to do to an answer than the library. `found`: by
    what that was found out.
    """

    __slots__ = (
        "begins", "found", "handles", "handles_reads", "has_actions", "initializes", "is_usual",
        "makes_request", "prepares",
    )  # fmt: skip

    def __init__(self, cls: Any, found: tuple[Any, ...]) -> None:
        from app.rest.views import USUAL, APIView

        self.found = found
        *steps, make, initial, handle, prepare = found
        *usual_steps, usual_make, usual_initial, usual_handle, usual_prepare = USUAL
        above = cls.__mro__[: cls.__mro__.index(APIView)]
        makers = [one for one in above if "initialize_request" in one.__dict__]
        self.is_usual = steps == usual_steps
        self.has_actions = makers == [DRFViewSetMixin] and make is _make_with_action
        makes = APIView.initialize_request is usual_make and (self.has_actions or not makers)
        self.initializes = bool(makes)
        self.makes_request = self.is_usual and makes
        self.begins = self.is_usual and initial is usual_initial
        self.handles = handle is usual_handle
        self.handles_reads = APIView.call_handler is usual_handle and all(
            getattr(one.__dict__["call_handler"], _ONLY_WRITES, False)
            for one in above
            if "call_handler" in one.__dict__
        )
        self.prepares = prepare is not usual_prepare


_make_with_action = DRFViewSetMixin.initialize_request


def ways_of(view: Any) -> Ways:
    """Found out once for each class, and again when it or a base of it was patched."""
    cls = type(view)
    found = look(cls)
    known: Ways | None = cls.__dict__.get(_MARK)
    if known is None or known.found != found:
        known = Ways(cls, found)
        setattr(cls, _MARK, known)
    return known


def is_usual(view: Any) -> bool:
    """Whether a view takes every step as the library does."""
    return ways_of(view).is_usual and shortcuts.are_on()


def make_request(view: Any, request: ASGIRequest) -> Request:
    """`view.initialize_request(request)`, but for the action of a viewset."""
    made: Request = _new(Request)
    made.__dict__ = {
        "_request": request,
        "META": request.META,
        "_view": view,
        "authenticators": view.get_authenticators(),
    }
    if "_force_auth_user" in request.__dict__:
        made.force_authentication()
    return made


_new = object.__new__
WITHOUT_BODY = ("get", "head", "options")


async def dispatch(  # noqa: C901, PLR0912 - a step each
    view: Any, ways: Ways, request: ASGIRequest, args: Any, kwargs: Any
) -> HttpResponseBase:
    """`view.dispatch(request, *args, **kwargs)`."""
    view.args = args
    view.kwargs = kwargs
    if ways.makes_request:
        view.request = made = make_request(view, request)
        if ways.has_actions:
            method = request.method.lower()
            view.action = "metadata" if method == "options" else view.action_map.get(method)
    else:
        if not ways.initializes:
            await read_small_body(request)
        view.request = made = view.initialize_request(request, *args, **kwargs)
    view.headers = view.default_response_headers
    try:
        if ways.begins:
            await begin(view, made, args, kwargs)
        else:
            await view.initial(made, *args, **kwargs)
        name = made._request.method.lower()
        if ways.handles or (ways.handles_reads and name in WITHOUT_BODY):
            handler = view.http_method_not_allowed
            if name in view.http_method_names:
                handler = getattr(view, name, handler)
            if name not in WITHOUT_BODY:
                await made.aload()
            if colour_of_bound(handler) is Colour.AWAITED:
                response = await handler(made, *args, **kwargs)
            else:
                response = await call_function(handler, made, *args, **kwargs)
        else:
            response = await view.call_handler(made, *args, **kwargs)
    except Exception as exc:  # noqa: BLE001 - handle_exception raises what it does not know
        response = await view.handle_exception(exc)
    view.response = response = view.finalize_response(made, response, *args, **kwargs)
    if ways.prepares or hasattr(getattr(response, "accepted_renderer", None), "prepare"):
        await view.prepare_response(response)
    return response


async def read_small_body(request: ASGIRequest) -> None:
    """Before an `initialize_request` of a view's own, which is plain and may look at the data, as
    that of nested routers does. What is too large for memory it can't look at.
    """
    source = request.body_source
    is_form = (request.content_type or "").startswith("multipart/")
    limit = setting("FILE_UPLOAD_MAX_MEMORY_SIZE") if is_form else source.limit
    if source.length > 0 and (limit is None or source.length <= limit):
        await request.abody()


async def begin(view: Any, request: Request, args: Any, kwargs: Any) -> None:
    """`await view.initial(request, *args, **kwargs)`. Raises what refuses the request."""
    attributes = request.__dict__
    suffix = view.settings.FORMAT_SUFFIX_KWARG
    view.format_kwarg = kwargs.get(suffix) if suffix else None
    renderer, media_type = _negotiate(view, request)
    attributes["accepted_renderer"], attributes["accepted_media_type"] = renderer, media_type
    if view.versioning_class is None:
        attributes["version"] = attributes["versioning_scheme"] = None
    else:
        request.version, request.versioning_scheme = view.determine_version(
            request, *args, **kwargs
        )
    authenticators = request.authenticators
    if not (authenticators and callers.recognize(request, authenticators[0])):
        await request.aauthenticate()
    for permission in view.get_permissions():
        caller = callers.caller_of(request)
        if caller is not None:
            judge = callers.twin_of(type(permission).has_permission)
            if judge is not None and judge(permission, caller, request, view):
                continue
        if colour_of(type(permission), "has_permission") is Colour.AWAITED:
            permitted = await permission.has_permission(request, view)
        else:
            permitted = await permits(permission, request, view)
        if not permitted:
            view._refuse(request, permission)
    throttles = view.get_throttles()
    if throttles:
        await view._pass_throttles(request, throttles)


def _negotiate(view: Any, request: Request) -> tuple[Any, str]:
    """`view.perform_content_negotiation(request)`. Remembered for each Accept and the classes to
    choose from, where the library's own class negotiates and the query names no format.
    """
    meta = request._request.META
    is_usual = (
        view.content_negotiation_class is DefaultContentNegotiation
        and type(view).get_renderers is DRFAPIView.get_renderers
        and (not meta["QUERY_STRING"] or _names_no_format(meta["QUERY_STRING"], view))
    )
    if is_usual:
        question = (meta.get("HTTP_ACCEPT"), view.format_kwarg, *view.renderer_classes)
        answer = _answers.get(question)
        if answer is not None:
            chosen, media_type = answer
            return chosen(), media_type
        renderer, media_type = view.perform_content_negotiation(request)
        made_by_classes = all(isinstance(one, type) for one in view.renderer_classes)
        if made_by_classes and len(question[0] or "") <= _LONGEST:
            if len(_answers) >= _MOST:
                _answers.clear()
            _answers[question] = type(renderer), media_type
        return renderer, media_type
    negotiated: tuple[Any, str] = view.perform_content_negotiation(request)
    return negotiated


def _names_no_format(query: str, view: Any) -> bool:
    parameter = view.content_negotiation_class.settings.URL_FORMAT_OVERRIDE
    if not parameter:
        return True
    # A cursor ends with %3D: no letter of a name.
    is_encoded = "%" in query and (not parameter.isalpha() or _ENCODED_LETTER.search(query))
    return parameter not in (unquote_plus(query) if is_encoded else query)


_ENCODED_LETTER = re.compile("%(?:[4-7c-f])", re.IGNORECASE)
_LONGEST, _MOST = 256, 1024
_answers: dict[tuple[Any, ...], tuple[Any, str]] = {}

__all__ = ["begin", "dispatch", "is_usual", "make_request", "ways_of"]

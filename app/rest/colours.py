"""One colour: whether a component is awaited, called in place, or run in a thread.

Rules. The answer belongs to the class, never to the request, and is found once per class and
function:

- a coroutine function is awaited;
- a synchronous one that only computes is called in place: this project's, DRF's and django-filter's
  own (all but the few in `_ASKS_DATABASE`), and any that `@computes` marks;
- any other synchronous one runs in a thread, and `manage.py check` names it.
"""

import enum
import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from app.rest.bridges import in_thread

T = TypeVar("T")

logger = logging.getLogger("app.rest.colours")

_MARK = "_only_computes"
_KNOWN_PACKAGES = ("rest_framework.", "django_filters.", "adrf.", "app.rest.", "builtins")
_NOT_KNOWN = ("rest_framework.authtoken.",)  # its views and serializers ask the database
_ASKS_DATABASE = {
    ("rest_framework.authentication", "BasicAuthentication.authenticate"),
    ("rest_framework.authentication", "SessionAuthentication.authenticate"),
    ("rest_framework.authentication", "TokenAuthentication.authenticate"),
    ("rest_framework.authentication", "RemoteUserAuthentication.authenticate"),
    ("rest_framework.permissions", "DjangoModelPermissions.has_permission"),
    ("rest_framework.permissions", "DjangoObjectPermissions.has_object_permission"),
    ("rest_framework.throttling", "SimpleRateThrottle.allow_request"),
    ("rest_framework.throttling", "ScopedRateThrottle.allow_request"),
    ("rest_framework.metadata", "SimpleMetadata.determine_metadata"),
    ("rest_framework.pagination", "PageNumberPagination.paginate_queryset"),
    ("rest_framework.pagination", "LimitOffsetPagination.paginate_queryset"),
    ("rest_framework.pagination", "CursorPagination.paginate_queryset"),
}


class Colour(enum.Enum):
    AWAITED = "awaited"
    IN_PLACE = "in place"
    THREAD = "thread"


def computes(target: T) -> T:
    """Mark a function, or a class for its methods, as never waiting: it is called in place."""
    setattr(target, _MARK, True)
    return target


def colour_of_function(function: Callable[..., Any], owner: type | None = None) -> Colour:
    """The colour of one function; `owner` is the class it was looked up on."""
    if iscoroutinefunction(function):
        return Colour.AWAITED
    if getattr(function, _MARK, False) or _is_marked(owner):
        return Colour.IN_PLACE
    module = getattr(function, "__module__", None) or ""
    if (module, getattr(function, "__qualname__", "")) in _ASKS_DATABASE:
        return Colour.THREAD
    known = f"{module}.".startswith(_KNOWN_PACKAGES) and not module.startswith(_NOT_KNOWN)
    return Colour.IN_PLACE if known else Colour.THREAD


def _is_marked(owner: type | None) -> bool:
    # Only the class itself vouches for its methods: a subclass may do anything.
    return owner is not None and _MARK in vars(owner)


def colour_of(owner: Any, name: str) -> Colour:
    """The colour of a method, by its class and its name; worked out once, and again if it is
    patched.
    """
    return _colour_of_plain(getattr(owner, name), owner)


async def call(component: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    """Call `component.name(...)` in its colour."""
    colour = colour_of(type(component), name)
    method = getattr(component, name)
    if colour is Colour.AWAITED:
        return await method(*args, **kwargs)
    if colour is Colour.IN_PLACE:
        return method(*args, **kwargs)
    return await in_thread(method)(*args, **kwargs)


async def call_function(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a plain function in its colour."""
    colour = colour_of_bound(function)
    if colour is Colour.AWAITED:
        return await function(*args, **kwargs)
    if colour is Colour.IN_PLACE:
        return function(*args, **kwargs)
    return await in_thread(function)(*args, **kwargs)


_turned_out_to_wait: set[Any] = set()


async def call_computing(function: Callable[..., Any], *args: Any) -> Any:
    """Call a hook of a serializer, which should only compute, in place.

    One that turns out to ask the database is run in a thread instead, from then on, and a warning
    names it. A hook that only reads may be run twice without harm; that happens once.
    """
    key = getattr(function, "__func__", function), type(getattr(function, "__self__", None))
    if key not in _turned_out_to_wait:
        try:
            return function(*args)
        except SynchronousOnlyOperation:
            _turned_out_to_wait.add(key)
            logger.warning(
                "%s.%s asks the database, and so runs in a thread. Make it `async def`, or load "
                "what it reads beforehand.",
                key[1].__qualname__,
                getattr(function, "__name__", function),
            )
    return await sync_to_async(function)(*args)


def colour_of_bound(function: Callable[..., Any]) -> Colour:
    owner: Any = getattr(function, "__self__", None)
    plain = getattr(function, "__func__", function)
    kind: Any = None if owner is None else type(owner)
    return _colour_of_plain(plain, kind)


@lru_cache(maxsize=4096)
def _colour_of_plain(function: Callable[..., Any], owner: Any) -> Colour:
    return colour_of_function(function, owner)

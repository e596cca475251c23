"""DRF's decorators. `@api_view` takes a coroutine (or a plain function, which runs in a thread)."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from rest_framework import decorators
from rest_framework.decorators import (
    MethodMapper,
    authentication_classes,
    content_negotiation_class,
    metadata_class,
    parser_classes,
    permission_classes,
    renderer_classes,
    schema,
    throttle_classes,
    throttle_scope,
    versioning_class,
)

from app.rest.views import APIView

Function = TypeVar("Function", bound=Callable[..., Any])

__all__ = [
    "MethodMapper",
    "action",
    "api_view",
    "authentication_classes",
    "content_negotiation_class",
    "metadata_class",
    "parser_classes",
    "permission_classes",
    "renderer_classes",
    "schema",
    "throttle_classes",
    "throttle_scope",
    "versioning_class",
]

_POLICIES = (
    "renderer_classes",
    "parser_classes",
    "authentication_classes",
    "throttle_classes",
    "permission_classes",
    "content_negotiation_class",
    "metadata_class",
    "versioning_class",
    "schema",
)


def action(**options: Any) -> Callable[[Function], Function]:
    """Mark a method of a viewset as one that routers give a URL of its own; DRF's options."""
    mark: Callable[[Function], Function] = decorators.action(**options)
    return mark


def api_view(http_method_names: Sequence[str] | None = None) -> Callable[..., Any]:
    """Turn a function into an APIView that answers the methods named (GET when none is)."""
    names = ["GET"] if http_method_names is None else http_method_names

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        assert not callable(names), "@api_view missing list of allowed HTTP methods"
        assert isinstance(names, list | tuple), (
            f"@api_view expected a list of strings, received {type(names).__name__}"
        )
        attributes: dict[str, Any] = {
            policy: getattr(function, policy, getattr(APIView, policy)) for policy in _POLICIES
        }
        handler = _handler(function)
        attributes |= {name.lower(): handler for name in names}
        attributes |= {
            "__doc__": function.__doc__,
            "__module__": function.__module__,
            "http_method_names": [name.lower() for name in {*names, "options"}],
            "throttle_scope": getattr(function, "throttle_scope", None),
        }
        view_class: Any = type(function.__name__, (APIView,), attributes)
        view: Callable[..., Any] = view_class.as_view()
        return view

    return decorate


def _handler(function: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(function):

        async def handle(self: Any, *args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return handle

    def handle_in_thread(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    # `app.rest` vouches for its own functions; this one does whatever `function` does.
    handle_in_thread.__module__ = function.__module__
    return handle_in_thread

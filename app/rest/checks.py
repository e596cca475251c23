"""`manage.py check`: which views pay for a thread on each request, and on whose account."""

from collections.abc import Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core import checks
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.mixins import CreateModelMixin, UpdateModelMixin
from rest_framework.permissions import OperandHolder, SingleOperandHolder

from app.rest.bridges import runs_in_thread
from app.rest.colours import Colour, colour_of, colour_of_function
from app.rest.views import APIView

_COMPONENTS = (
    ("authentication_classes", "authenticate"),
    ("permission_classes", "has_permission"),
    ("permission_classes", "has_object_permission"),
    ("throttle_classes", "allow_request"),
    ("filter_backends", "filter_queryset"),
    ("pagination_class", "paginate_queryset"),
    ("metadata_class", "determine_metadata"),
)
_WRITING = (CreateModelMixin, UpdateModelMixin)
_HINT = (
    "Make it `async def`. If it only computes, decorate it with `app.rest.colours.computes`, "
    "and it is called in place."
)


def check_threads(app_configs: Any = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """A warning for each synchronous component or handler of unknown colour, and its view."""
    return [
        checks.Warning(
            f"{culprit} is a plain function: each request that uses it enters a thread.",
            hint=_HINT,
            obj=f"{view.__module__}.{view.__qualname__}",
            id="app.rest.W001",
        )
        for view, actions in sorted(_views().items(), key=lambda pair: pair[0].__qualname__)
        for culprit in dict.fromkeys(_culprits(view, actions))
    ]


def _views() -> dict[type, set[str]]:
    """Each APIView that has a URL, with the names of the handlers that URLs reach."""
    found: dict[type, set[str]] = {}
    for pattern in _patterns(get_resolver().url_patterns):
        view = getattr(pattern.callback, "cls", None)
        if isinstance(view, type) and issubclass(view, APIView):
            actions = getattr(pattern.callback, "actions", None) or {}
            names = actions.values() or view.http_method_names
            found.setdefault(view, set()).update(names)
    return found


def _patterns(patterns: Any) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns)
        else:
            yield pattern


def _culprits(view: Any, actions: set[str]) -> Iterator[str]:
    for attribute, method in _COMPONENTS:
        for component in _classes(getattr(view, attribute, None)):
            function = getattr(component, method, None)
            if function is not None and colour_of(component, method) is Colour.THREAD:
                yield _name(function)
    for name in (*view.awaited_hooks, "dispatch"):
        hook = getattr(view, name, None)
        if runs_in_thread(hook):
            yield _name(hook)
    for action in sorted(actions):
        handler = getattr(view, action, None)
        if handler is not None and colour_of_function(handler, view) is Colour.THREAD:
            yield _name(handler)
    serializer = getattr(view, "serializer_class", None)
    if issubclass(view, _WRITING) and serializer is not None and not hasattr(serializer, "asave"):
        yield f"{serializer.__module__}.{serializer.__qualname__}.save"
    handler = view.settings.EXCEPTION_HANDLER
    if not iscoroutinefunction(handler) and colour_of_function(handler) is Colour.THREAD:
        yield _name(handler)


def _classes(value: Any) -> Iterator[type]:
    """The classes in a policy attribute, operands of composed permissions included."""
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, OperandHolder):
            yield from _classes([item.op1_class, item.op2_class])
        elif isinstance(item, SingleOperandHolder):
            yield from _classes([item.op1_class])
        elif isinstance(item, type):
            yield item


def _name(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"

"""Runs coroutines of `app.rest` to their end where a synchronous test starts them.

DRF's tests call `view(request)`, `serializer.is_valid()`, `paginator.paginate_queryset(...)`. Every
coroutine function of `app.rest` is wrapped: called where a loop runs it gives its coroutine, as
ever; called where none runs it is driven to its end on a loop in another thread. Django's ORM,
synchronous inside, finds its way back to the thread of the test and so sees its transaction.

A serializer's synchronous methods are mapped to their awaitable twins, so that those are judged.
"""

import asyncio
from collections.abc import Callable
from functools import WRAPPER_ASSIGNMENTS, wraps
from importlib import import_module
from inspect import iscoroutinefunction
from pkgutil import walk_packages
from typing import Any

from asgiref.sync import async_to_sync, markcoroutinefunction
from django.core.cache.backends.locmem import LocMemCache

counts = {"async dispatches": 0, "async serializer calls": 0}


def is_on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def drive(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    async def run() -> Any:
        return await function(*args, **kwargs)

    return async_to_sync(run)()


def driven(function: Callable[..., Any], counter: str | None = None) -> Callable[..., Any]:
    """`function`, which runs to its end at once where no loop runs."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if counter:
            counts[counter] += 1
        if is_on_loop():
            return function(*args, **kwargs)
        return drive(function, *args, **kwargs)

    return markcoroutinefunction(call)


def install() -> None:
    import app.rest
    from app.rest import request, serializers, throttling, views, viewsets
    from app.rest.authtoken import views as token_views

    for info in walk_packages(app.rest.__path__, "app.rest."):
        module = import_module(info.name)
        for name, value in list(vars(module).items()):
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if isinstance(value, type):
                _drive_methods(value)
            elif name == "get_object_or_404":
                setattr(module, name, driven(value))
    views.APIView.dispatch = views.APIView.async_dispatch = driven(
        views.APIView.dispatch.__wrapped__, "async dispatches"
    )
    _drive_views(views.APIView)
    _drive_views(viewsets.ViewSetMixin)
    token_views.obtain_auth_token = token_views.ObtainAuthToken.as_view()  # made on import
    _drive_serializers(serializers)
    _drive_authentication(request.Request)
    _clear_with_cache(throttling.store)


def _drive_methods(cls: type) -> None:
    for name, value in list(vars(cls).items()):
        if iscoroutinefunction(value) and not name.startswith("__"):
            setattr(cls, name, driven(value))


def _drive_views(cls: Any) -> None:
    """`as_view()` gives a plain function: Django's synchronous handler calls it as it is."""
    as_view = next(vars(base)["as_view"] for base in cls.__mro__ if "as_view" in vars(base))

    def as_driven_view(owner: type, *args: Any, **kwargs: Any) -> Any:
        view = as_view.__func__(owner, *args, **kwargs)

        def call(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs) if is_on_loop() else drive(view, *args, **kwargs)

        for name in WRAPPER_ASSIGNMENTS:
            setattr(call, name, getattr(view, name))
        vars(call).update({k: v for k, v in vars(view).items() if "coroutine" not in k})
        return call

    cls.as_view = type(as_view)(as_driven_view)


def _drive_serializers(serializers: Any) -> None:
    base = serializers.BaseSerializer
    is_valid, save = base.is_valid, base.save

    def is_valid_driven(self: Any, *, raise_exception: bool = False) -> bool:
        if is_on_loop():
            return is_valid(self, raise_exception=raise_exception)
        counts["async serializer calls"] += 1
        return drive(self.ais_valid, raise_exception=raise_exception)

    def save_driven(self: Any, **kwargs: Any) -> Any:
        if is_on_loop():
            return save(self, **kwargs)
        counts["async serializer calls"] += 1
        return drive(self.asave, **kwargs)

    base.is_valid, base.save = is_valid_driven, save_driven
    for cls in (base, serializers.Serializer, serializers.ListSerializer):
        cls.data = _driven_data(cls)
    serializers.ListSerializer.is_valid = is_valid_driven
    serializers.ListSerializer.save = save_driven


def _driven_data(cls: Any) -> property:
    data = cls.data

    async def read(self: Any) -> Any:
        return await self.adata

    def data_driven(self: Any) -> Any:
        if is_on_loop():
            return data.fget(self)
        counts["async serializer calls"] += 1
        return drive(read, self)

    return property(data_driven)


def _clear_with_cache(store: Any) -> None:
    """A test that clears the cache clears what the throttles counted: here, their store."""
    clear = LocMemCache.clear

    def clear_both(cache: Any) -> None:
        clear(cache)
        store.clear()

    LocMemCache.clear = clear_both


def _drive_authentication(request_class: Any) -> None:
    authenticate = request_class._authenticate

    def authenticate_driven(self: Any) -> None:
        if is_on_loop():
            authenticate(self)
        else:
            drive(self.aauthenticate)

    request_class._authenticate = authenticate_driven

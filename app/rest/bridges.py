"""Coroutines that plain code may call, too.

What waits is a coroutine under DRF's name. A project that moves over overrides it with the plain
function that it has, and a plain function runs in a thread. What that calls by `super()` is to have
happened when the call returns: a coroutine that nobody awaits would be no check of a permission at
all, and true besides. So the library's coroutines are `bridged`: on the event loop they are what
they were; in a thread, which has none, they run to their end.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isawaitable
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async

from app.loops import running_loop

__all__ = ["bridge_hooks", "bridged", "in_thread", "runs_in_thread"]

Function = TypeVar("Function", bound=Callable[..., Any])

_BRIDGED, _IN_THREAD = "_is_bridged", "_runs_in_thread"
_LIBRARIES = ("rest_framework.", "adrf.", "app.rest.")


def bridged(function: Function) -> Function:
    """A coroutine function that runs to its end where it is called in a thread."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        coroutine = function(*args, **kwargs)
        if running_loop() is None:
            return async_to_sync(_result_of)(coroutine)
        return coroutine

    setattr(call, _BRIDGED, True)
    marked: Any = markcoroutinefunction(call)
    return marked


async def _result_of(coroutine: Awaitable[Any]) -> Any:
    return await coroutine


def in_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function as a coroutine function. It may give something to await, as one does that
    returns what `super()` gave it.
    """

    @wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        result = await sync_to_async(function)(*args, **kwargs)
        return await result if isawaitable(result) else result

    setattr(run, _IN_THREAD, True)
    return bridged(run)


def runs_in_thread(function: Any) -> bool:
    """Whether `in_thread` made it."""
    return bool(getattr(function, _IN_THREAD, False))


def bridge_hooks(cls: Any, names: tuple[str, ...]) -> None:
    """Have these methods of a class awaited in any colour, and called in any colour by `super()`,
    whether the class has them or a mixin of it.
    """
    for name in names:
        definers = [base for base in cls.__mro__ if name in base.__dict__]
        for base in definers:
            function = base.__dict__[name]
            if iscoroutinefunction(function) and not hasattr(function, _BRIDGED):
                setattr(base, name, bridged(function))
        function = definers[0].__dict__[name] if definers else None
        if callable(function) and not (iscoroutinefunction(function) or _is_librarys(function)):
            setattr(cls, name, in_thread(function))


def _is_librarys(function: Any) -> bool:
    return f"{getattr(function, '__module__', '')}.".startswith(_LIBRARIES)

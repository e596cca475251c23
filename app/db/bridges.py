"""Running Django's synchronous ORM code on the event loop, without a thread.

Theory of operation. Django's compiler, populators, deletion collector, related managers and
prefetching are synchronous and call `cursor.execute()` deep down. `run()` calls such a function in
a greenlet: a second stack in the same thread. When that code needs the server, the cursor calls
`wait(awaitable)`, which switches back to the coroutine that called `run()`; it awaits, and switches
in again with the result. To asyncio this is an ordinary coroutine: it is cancelled, timed out and
traced like any other.

Rules:
- `wait()` is only called inside `run()`. Outside, synchronous access to the database from the loop
  is refused by `refuse_on_loop()`.
- The greenlet shares the task's context (contextvars), so what either side sets, both see.
- An exception of the awaitable, cancellation included, is raised inside the greenlet, at the
  `wait()`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from greenlet import getcurrent, greenlet

P = ParamSpec("P")
R = TypeVar("R")


class Bridge(greenlet):
    """The stack of one synchronous function that is being driven by a coroutine."""


async def run(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function` here and now; whatever it passes to `wait()` is awaited by this coroutine."""
    driver = getcurrent()
    bridge = Bridge(function, driver)
    bridge.gr_context = driver.gr_context
    result = bridge.switch(*args, **kwargs)
    while not bridge.dead:
        try:
            value = await result
        except BaseException as error:  # noqa: BLE001 - raised again, on the other stack
            result = bridge.throw(error)
        else:
            result = bridge.switch(value)
    return result  # type: ignore[no-any-return]


def wait(awaitable: Awaitable[R]) -> R:
    """Inside `run()`: the result of `awaitable`, while the event loop goes on."""
    bridge = getcurrent()
    assert isinstance(bridge, Bridge)
    assert bridge.parent is not None
    return bridge.parent.switch(awaitable)  # type: ignore[no-any-return]


def is_bridged() -> bool:
    """True inside `run()`, where waiting does not block."""
    return isinstance(getcurrent(), Bridge)


def is_on_loop() -> bool:
    """True where a synchronous query would block the event loop."""
    return asyncio._get_running_loop() is not None and not isinstance(getcurrent(), Bridge)


def refuse_on_loop(what: str, remedy: str) -> None:
    """Raise SynchronousOnlyOperation, naming the remedy, when the caller would block the loop."""
    if is_on_loop():
        raise SynchronousOnlyOperation(f"{what} would block the event loop. {remedy}")


__all__ = ["Bridge", "is_bridged", "is_on_loop", "refuse_on_loop", "run", "wait"]

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
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from greenlet import GreenletExit, getcurrent, greenlet

from app.loops import running_loop

P = ParamSpec("P")
R = TypeVar("R")


#: Work on rows or values after which `Stretch` lets other tasks run.
STRETCH_SECONDS = 0.002


class Bridge(greenlet):
    """The stack of one synchronous function that is being driven by a coroutine."""


class Outcome:
    """How the function ended: what it returned, or what it raised."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any, error: BaseException | None) -> None:
        self.value = value
        self.error = error


class _Idle(threading.local):
    """Stacks of this thread that wait for a function. A new one costs CPython a memory mapping."""

    def __init__(self) -> None:
        self.bridges: list[Bridge] = []


_idle = _Idle()
IDLE_BRIDGES = 32


def _serve() -> None:
    """The body of a bridge: run one function after another. It is begun without one, for what it is
    begun with it holds as long as it lives.
    """
    bridge = getcurrent()
    outcome: Any = None
    while True:
        assert bridge.parent is not None
        function, args, kwargs = bridge.parent.switch(outcome)
        outcome = None
        try:
            outcome = Outcome(function(*args, **kwargs), None)
        except GreenletExit:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again by run()
            outcome = Outcome(None, error)
        function = args = kwargs = None


async def run(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function` here and now; whatever it passes to `wait()` is awaited by this coroutine."""
    driver = getcurrent()
    if _idle.bridges:
        bridge = _idle.bridges.pop()
        bridge.parent = driver
    else:
        bridge = Bridge(_serve, driver)
        bridge.switch()
    bridge.gr_context = driver.gr_context
    result = bridge.switch((function, args, kwargs))
    while type(result) is not Outcome:
        try:
            value = await result
        except BaseException as error:  # noqa: BLE001 - raised again, on the other stack
            result = bridge.throw(error)
        else:
            result = bridge.switch(value)
    bridge.gr_context = None
    if len(_idle.bridges) < IDLE_BRIDGES:
        _idle.bridges.append(bridge)
    else:
        bridge.throw()  # ends it: its own stack holds it
    returned, raised = result.value, result.error
    # The stack still holds it where it waits for its next function, which no garbage collection
    # can see: an error, whose traceback leads back to that stack, would never be freed.
    result.value = result.error = None
    if raised is not None:
        try:
            raise raised
        finally:
            del raised
    return returned  # type: ignore[no-any-return]


def wait(awaitable: Awaitable[R]) -> R:
    """Inside `run()`: the result of `awaitable`, while the event loop goes on."""
    bridge = getcurrent()
    assert isinstance(bridge, Bridge)
    assert bridge.parent is not None
    return bridge.parent.switch(awaitable)  # type: ignore[no-any-return]


class Stretch:
    """Long work inside `run()`: `pause()`, called at each step of it, gives the loop a turn
    whenever `STRETCH_SECONDS` have passed. Elsewhere there is no loop to give one to.
    """

    __slots__ = ("until",)

    def __init__(self) -> None:
        self.until = time.perf_counter() + STRETCH_SECONDS

    def pause(self) -> None:
        if time.perf_counter() > self.until:
            if is_bridged():
                wait(asyncio.sleep(0))
            self.until = time.perf_counter() + STRETCH_SECONDS


def is_bridged() -> bool:
    """True inside `run()`, where waiting does not block."""
    return isinstance(getcurrent(), Bridge)


def is_on_loop() -> bool:
    """True where a synchronous query would block the event loop."""
    return running_loop() is not None and not isinstance(getcurrent(), Bridge)


def refuse_on_loop(what: str, remedy: str) -> None:
    """Raise SynchronousOnlyOperation, naming the remedy, when the caller would block the loop."""
    if is_on_loop():
        raise SynchronousOnlyOperation(f"{what} would block the event loop. {remedy}")


__all__ = ["Bridge", "Stretch", "is_bridged", "is_on_loop", "refuse_on_loop", "run", "wait"]

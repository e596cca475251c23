"""Which event loop runs here, asked often.

Before Python 3.12 asyncio asks the operating system for the process's number each time, in case it
has forked since: a call of the system, of which a request that lists rows made five. Here the loop
that was found last is kept with its thread, and is the answer while it runs; a fork forgets it.
"""

import asyncio
import os
from asyncio import AbstractEventLoop, _get_running_loop
from threading import get_ident
from typing import Any

__all__ = ["current_task", "running_loop"]


class _Found:
    """The loop that was found last, and in which thread."""

    __slots__ = ("loop", "thread")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.thread = -1
        self.loop: Any = None


_found = _Found()
os.register_at_fork(after_in_child=_found.forget)


def running_loop() -> AbstractEventLoop | None:
    """The loop that runs in this thread, if any."""
    # A thread's number may be another's by now; its loop does not run then.
    loop: AbstractEventLoop | None = _found.loop
    if loop is not None and _found.thread == get_ident() and loop.is_running():
        return loop
    loop = _get_running_loop()
    if loop is not None:
        _found.thread, _found.loop = get_ident(), loop
    return loop


def current_task() -> "asyncio.Task[Any] | None":
    """The task that runs here. Raises RuntimeError where no loop does."""
    return asyncio.current_task(running_loop())

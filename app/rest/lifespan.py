"""What runs with the server: opened at start-up, closed at shutdown, and tasks in between.

    lifespan.on_startup(db.open)            awaited in order before the first request
    lifespan.on_shutdown(db.close)          awaited in reverse order after the last
    lifespan.background(keep_partitions)    a task per worker, cancelled and awaited before shutdown

An app registers from its `AppConfig.ready`. A background coroutine that fails is logged and
restarted after a pause; one that returns is done.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

logger = logging.getLogger("app.rest.lifespan")

RESTART_SECONDS = 5.0

Hook = Callable[[], Awaitable[Any]]


class Lifespan:
    """A registry of hooks, and the state of one run of them."""

    def __init__(self) -> None:
        self._startup: list[Hook] = []
        self._shutdown: list[Hook] = []
        self._background: list[Hook] = []
        self._tasks: list[asyncio.Task[None]] = []

    def on_startup(self, hook: Hook) -> Hook:
        _add(self._startup, hook)
        return hook

    def on_shutdown(self, hook: Hook) -> Hook:
        _add(self._shutdown, hook)
        return hook

    def background(self, factory: Hook) -> Hook:
        _add(self._background, factory)
        return factory

    async def start(self) -> None:
        """Await each start-up hook, then start the background tasks. Raises what a hook raises."""
        for hook in self._startup:
            await hook()
        self._tasks = [asyncio.create_task(_keep_running(hook)) for hook in self._background]

    async def stop(self) -> None:
        """Cancel and await the tasks, then await each shutdown hook, even when one fails."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        failures = []
        for hook in reversed(self._shutdown):
            try:
                await hook()
            except Exception as error:
                logger.exception("Shutting down: %s failed.", _name(hook))
                failures.append(error)
        if failures:
            raise failures[0]


def _add(hooks: list[Hook], hook: Hook) -> None:
    # `AppConfig.ready` may run more than once in tests; a hook is one hook all the same.
    if hook not in hooks:
        hooks.append(hook)


async def _keep_running(factory: Hook) -> None:
    while True:
        try:
            await factory()
        except Exception:
            logger.exception("%s failed; starting it again.", _name(factory))
            await asyncio.sleep(RESTART_SECONDS)
        else:
            return


def _name(hook: Hook) -> str:
    return getattr(hook, "__qualname__", repr(hook))


lifespan = Lifespan()
on_startup = lifespan.on_startup
on_shutdown = lifespan.on_shutdown
background = lifespan.background

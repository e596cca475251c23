"""Guards on every test: what an async server must never do fails the test that did it.

    blocking        a call that blocks (files, sockets, sleep, locks) made on the loop by `app`
    stalls          the loop held by one step for longer than `STALL_SECONDS`
    hops            a thread entered on account of a request
    leaked tasks    a task that the test started and nobody ended
    leaked links    a database connection that was taken and not given back

A test that must do one of them says so and why: `@pytest.mark.blocks("...")`,
`@pytest.mark.hops("...")`, `@pytest.mark.leaks("...")`. Each guard is a context manager that raises
GuardError when it is left; the fixtures in `tests/conftest.py` put them around each test.
"""

import asyncio
import asyncio.events
import concurrent.futures
import functools
import gc
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import blockbuster.blockbuster
from asgiref.sync import SyncToAsync

from app import db
from app.rest.handlers import ASGIHandler

STALL_SECONDS = 0.5

_in_request: ContextVar[bool] = ContextVar("in_request", default=False)


class GuardError(AssertionError):
    """A test did what a guard forbids; the message says what and where."""


# Files read the first time they are needed, or when a connection is opened. `any` call is meant.
_ONCE = [
    ("django/template/loaders/filesystem.py", {"get_contents"}),
    ("logging/__init__.py", {"emit"}),  # to standard error, which pytest keeps in a file
    ("django/template/utils.py", {"get_app_template_dirs"}),
    ("django/views/csrf.py", {"csrf_failure"}),
    ("pkgutil.py", {"_iter_file_finder_modules"}),  # template tag libraries
    ("zoneinfo/_tzpath.py", {"find_tzfile"}),
    ("zoneinfo/_common.py", {"load_data", "load_tzdata"}),
    # Markdown and Pygments look their extensions up.
    ("importlib/metadata/__init__.py", {"mtime", "lookup", "children", "read_text"}),
    ("asyncpg/connect_utils.py", {"_connect"}),
]
# Hops that are meant: what computes for a third of a second must leave the loop.
_DELIBERATE = ("app/accounts/passwords.py",)


class _Blocking(blockbuster.BlockingError):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        _blocked.append(f"{args[0]} at {_caller()}")


_blocked: list[str] = []


@functools.cache
def _buster() -> blockbuster.BlockBuster:
    """Made once: it looks at some forty functions, and every test turns it on and off."""
    buster = blockbuster.BlockBuster("app", excluded_modules=["app.agent"])
    for function in buster.functions.values():
        for file, names in _ONCE:
            function.can_block_in(file, names)
    return buster


@contextmanager
def no_blocking() -> Iterator[list[str]]:
    """Blocking calls on the loop below a function of `app` raise at once, and are raised at the
    end. Not for use within itself.
    """
    _blocked.clear()
    original = blockbuster.blockbuster.BlockingError
    blockbuster.blockbuster.BlockingError = _Blocking
    _buster().activate()
    try:
        yield _blocked
    finally:
        _buster().deactivate()
        blockbuster.blockbuster.BlockingError = original
    if _blocked:
        raise GuardError("The event loop was blocked: " + "; ".join(_blocked))


@contextmanager
def no_stalls(limit: float = STALL_SECONDS) -> Iterator[None]:
    """No single step on the loop may take longer than `limit` seconds of this thread's own time.

    Collecting garbage does not count: thousands of tests leave a heap that no server has.
    """
    stalls: list[str] = []
    collecting, began = 0.0, 0.0

    def watch(phase: str, info: dict[str, int]) -> None:
        nonlocal collecting, began
        if phase == "start":
            began = time.thread_time()
        else:
            collecting += time.thread_time() - began

    kept_waiting = _kept_waiting()
    run = asyncio.events.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        wall, own = time.perf_counter(), time.thread_time() - collecting
        try:
            run(handle)
        finally:
            # Own time misses what waits in C; wall time counts what the machine gave to others,
            # too, so as much of it is forgiven as was given to them since the guard began.
            taken = time.perf_counter() - wall
            if time.thread_time() - collecting - own > limit or (
                taken > 4 * STALL_SECONDS
                and taken - (_kept_waiting() - kept_waiting) > 4 * STALL_SECONDS
            ):
                stalls.append(f"{taken:.2f} s in {handle!r}")

    asyncio.events.Handle._run = timed
    gc.callbacks.append(watch)
    try:
        yield
    finally:
        gc.callbacks.remove(watch)
        asyncio.events.Handle._run = run
    if stalls:
        raise GuardError("The event loop stalled: " + "; ".join(stalls))


def _kept_waiting() -> float:
    """The seconds in which this thread could have run and the machine ran others; 0 where the
    system doesn't tell."""
    with suppress(OSError):
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    return 0.0


@contextmanager
def counted_hops() -> Iterator[list[str]]:
    """The threads entered on account of a request, as `file:line function` of who asked."""
    hops: list[str] = []
    with _recorded(hops):
        yield hops


@contextmanager
def no_hops() -> Iterator[list[str]]:
    """No request may enter a thread."""
    with counted_hops() as hops:
        yield hops
    if hops:
        raise GuardError("A request entered a thread: " + "; ".join(hops))


@contextmanager
def _recorded(hops: list[str]) -> Iterator[None]:
    """Every way into a thread notes who took it. `asyncio.to_thread` is `run_in_executor`."""
    serve = ASGIHandler._serve
    places = [
        (SyncToAsync, "__call__"),
        (asyncio.base_events.BaseEventLoop, "run_in_executor"),
        (concurrent.futures.ThreadPoolExecutor, "submit"),
    ]
    originals = [getattr(owner, name) for owner, name in places]

    async def serve_marked(handler: ASGIHandler, *args: Any) -> None:
        token = _in_request.set(True)
        try:
            await serve(handler, *args)
        finally:
            _in_request.reset(token)

    def noting(original: Any) -> Any:
        def note(*args: Any, **kwargs: Any) -> Any:
            # One hop takes several of these ways, one inside the other: only the first is noted.
            token = _in_request.set(False) if _in_request.get() else None
            if token is None:
                return original(*args, **kwargs)
            _note(hops, _caller())
            try:
                return original(*args, **kwargs)
            finally:
                _in_request.reset(token)

        return note

    async def call_noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not _in_request.get():
            return await originals[0](self, *args, **kwargs)
        _note(hops, f"{getattr(self.func, '__qualname__', self.func)} from {_caller()}")
        token = _in_request.set(False)
        try:
            return await originals[0](self, *args, **kwargs)
        finally:
            _in_request.reset(token)

    ASGIHandler._serve = serve_marked  # type: ignore[method-assign]
    SyncToAsync.__call__ = call_noted  # type: ignore[method-assign]
    for (owner, name), original in list(zip(places, originals, strict=True))[1:]:
        setattr(owner, name, noting(original))
    try:
        yield
    finally:
        ASGIHandler._serve = serve  # type: ignore[method-assign]
        for (owner, name), original in zip(places, originals, strict=True):
            setattr(owner, name, original)


def _note(hops: list[str], hop: str) -> None:
    if not any(file in hop for file in _DELIBERATE):
        hops.append(hop)


@contextmanager
def nothing_leaked(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Every task that is started inside is over, and as many database connections are taken at the
    end as at the start, or so it is within a few turns of the loop. The loop is not running yet,
    and not any more: it need not run at all when nothing is left.
    """
    tasks, links = asyncio.all_tasks(loop), _links_taken()
    yield
    if asyncio.all_tasks(loop) - tasks or _links_taken() > links:
        loop.run_until_complete(_see_end(tasks, links))


async def _see_end(tasks: set[asyncio.Task[Any]], links: int) -> None:
    try:
        await _see_links_given_back(links)
    finally:
        await _see_tasks_end(tasks)


@asynccontextmanager
async def no_leaked_tasks() -> AsyncIterator[None]:
    """Every task that is started inside is over, or ends within a few turns of the loop."""
    before = asyncio.all_tasks()
    yield
    await _see_tasks_end(before)


async def _see_tasks_end(before: set[asyncio.Task[Any]]) -> None:
    for _ in range(10):
        # This very task may be a new one, too.
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0.01)
    names = "; ".join(repr(task.get_coro()) for task in left)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    raise GuardError(f"Tasks were left running: {names}")


@asynccontextmanager
async def no_leaked_links() -> AsyncIterator[None]:
    """As many database connections are taken at the end as at the start."""
    before = _links_taken()
    yield
    await _see_links_given_back(before)


async def _see_links_given_back(before: int) -> None:
    for _ in range(10):
        taken = _links_taken()
        if taken <= before:
            return
        await asyncio.sleep(0.01)
    raise GuardError(f"Database connections were not given back: {taken}, {before} at the start")


def _links_taken() -> int:
    taken: int = db.statistics().get("in_use", 0)
    return taken


def _caller() -> str:
    """`file:line function` of the nearest frame that is not the means of getting here."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not any(
            part in file for part in ("tests/guards.py", "asgiref", "blockbuster", "/asyncio/")
        ):
            return f"{file.rpartition('site-packages/')[2]}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return "unknown"

"""What is written about queries: Django's query log, captures for tests, and slow queries."""

import logging
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any

import greenlet

logger = logging.getLogger("django.db.backends")
slow_logger = logging.getLogger("app.db.slow")

#: Lists that every query of this context is appended to, as {"sql": ..., "time": ...}.
captures: ContextVar[tuple[list[dict[str, str]], ...]] = ContextVar("app.db.captures", default=())

#: Seconds above which a query is logged with its caller's line; None for never.
slow_query_seconds: float | None = None


class Counter:
    """How many queries this process has run, for metrics."""

    def __init__(self) -> None:
        self.queries = 0
        self.slow = 0


counter = Counter()


def compose(sql: str, params: Any) -> str:
    """`sql` with its parameters as literals. For reading; it is never executed."""
    if not params:
        return sql if params is None else sql.replace("%%", "%")
    from app.db import adapters  # psycopg, 8 MiB of a worker, which hardly ever reads its queries

    try:
        return adapters.compose(sql, params)
    except Exception:  # noqa: BLE001 - a log never fails a query
        return f"{sql} -- {params!r}"


def record(wrapper: Any, sql: str, params: Sequence[Any] | None, seconds: float) -> None:
    """Note one query wherever someone looks."""
    lists = captures.get()
    counter.queries += 1
    if lists or wrapper.queries_logged:
        entry = {"sql": compose(sql, params), "time": f"{seconds:.3f}"}
        for queries in lists:
            queries.append(entry)
        if wrapper.queries_logged:
            wrapper.queries_log.append(entry)
            logger.debug("(%s) %s", entry["time"], entry["sql"])
    note_if_slow(sql, seconds)


def record_plan(sql: str, arguments: Sequence[Any], seconds: float) -> None:
    """Note the query of a plan: its SQL as the server gets it, with `$n`."""
    counter.queries += 1
    if lists := captures.get():
        for queries in lists:
            queries.append({"sql": f"{sql} -- {arguments!r}", "time": f"{seconds:.3f}"})
    note_if_slow(sql, seconds)


def note_if_slow(sql: str, seconds: float) -> None:
    """Log what took longer than it may, with its caller's line."""
    if slow_query_seconds is not None and seconds > slow_query_seconds:
        counter.slow += 1
        slow_logger.warning("%.3f s at %s: %s", seconds, _caller(), sql)


_HERE = str(Path(__file__).parent)
_NOT_THE_CALLER = (_HERE, sysconfig.get_path("stdlib"), "<")


def _caller() -> str:
    """The innermost line outside Django, asyncio and this package."""
    for frame in _frames():
        name = frame.f_code.co_filename
        if not name.startswith(_NOT_THE_CALLER) and "site-packages" not in name:
            return f"{name}:{frame.f_lineno}"
    return "?"


def _frames() -> Iterator[FrameType]:
    """The stack from here outwards, across the bridge to the coroutine that drives it."""
    frame: FrameType | None = sys._getframe()
    stack: Any = greenlet.getcurrent()
    while stack is not None:
        while frame is not None:
            yield frame
            frame = frame.f_back
        stack = stack.parent
        frame = stack.gr_frame if stack is not None else None


__all__ = ["captures", "compose", "note_if_slow", "record"]

"""Django's database wrapper with asyncpg under it: what the compiler and `Atomic` see as a
connection.

It is Django's own PostgreSQL wrapper, so it compiles the same SQL, but it never opens psycopg. Its
cursor works inside `bridges.run()` only; elsewhere it raises SynchronousOnlyOperation, naming the
awaitable.

A wrapper belongs to one unit of work: one call outside a transaction, or one transaction. It takes
a connection from the pool when it first needs one. Making one is cheap: it is a copy of a
prototype.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import Any

import asyncpg
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DEFAULT_DB_ALIAS, InterfaceError, NotSupportedError, connections
from django.db.utils import ProgrammingError

from app.db import bridges, links, logs, pools, shapes
from app.db.cursors import Cursor, ServerCursor
from app.db.dialects import base, features, operations
from app.db.errors import raise_translated, translated
from app.db.placeholders import bind
from app.loops import running_loop


class Features(features.DatabaseFeatures):
    uses_server_side_binding = True


class Operations(operations.DatabaseOperations):
    compiler_module = "app.db.compilers"

    def compose_sql(self, sql: str, params: Any) -> str:
        return logs.compose(sql, params)

    def last_executed_query(self, cursor: Any, sql: str, params: Any) -> str:
        return logs.compose(sql, params)


class DatabaseWrapper(base.DatabaseWrapper):
    """See the module. `owner` is the task that a transaction belongs to.

    A test's transaction has no owner but a `lock`: tasks use it one at a time; `holder` is the one
    that does.
    """

    features_class = Features
    ops_class = Operations

    @cached_property
    def introspection(self) -> Any:  # type: ignore[override] # made when it is asked for
        return self.introspection_class(self)

    connection: pools.Link | None
    owner: "asyncio.Task[Any] | None" = None
    lock: asyncio.Lock | None = None
    is_over = False
    holder: "asyncio.Task[Any] | None" = None
    begin_sql = "BEGIN"
    keeps_shapes = True

    @property
    def pg_version(self) -> int:
        pool = current_pool()
        if not pool.server_version:
            # Asked through `features`, this is the prototype: it must not keep a connection.
            is_borrowed = self.connection is None
            self.ensure_connection()
            if is_borrowed:
                self.release()
        return pool.server_version

    # What opens and closes

    def connect(self) -> None:
        self.in_atomic_block = False
        self.savepoint_ids = []
        self.atomic_blocks = []
        self.needs_rollback = False
        self.closed_in_transaction = False
        with translated():
            self.connection = bridges.wait(current_pool().acquire())
        self.autocommit = True
        self.run_on_commit = []

    def ensure_connection(self) -> None:
        if self.connection is None:
            if self.in_atomic_block and self.closed_in_transaction:
                raise ProgrammingError("Cannot open a new connection in an atomic block.")
            require_bridge()
            self.connect()

    def release(self) -> None:
        """Give the connection back to the pool."""
        link, self.connection = self.connection, None
        if link is not None:
            link.release()

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.raw.terminate()
            self.release()

    def close(self) -> None:
        self.run_on_commit = []
        if self.closed_in_transaction or self.connection is None:
            return
        self._close()
        if self.in_atomic_block:
            self.closed_in_transaction = True
            self.needs_rollback = True

    def is_usable(self) -> bool:
        """True when the server answers on this connection, and would run a query."""
        if self.connection is None:
            return False
        try:
            bridges.wait(self.connection.command("SELECT 1"))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    def close_if_health_check_failed(self) -> None:
        pass

    def close_if_unusable_or_obsolete(self) -> None:
        """Django asks this of every connection where a request begins and ends; the pool knows."""

    def validate_thread_sharing(self) -> None:
        pass

    # What runs SQL

    def cursor(self) -> Any:
        if self.connection is None:
            self.ensure_connection()
        else:
            require_bridge()
        return Cursor(self)

    def _cursor(self, name: str | None = None) -> Any:
        return self.cursor()

    def chunked_cursor(self) -> Any:
        self.ensure_connection()
        return ServerCursor(self)

    def perform(self, sql: str, params: Sequence[Any] | None) -> pools.Result:
        """Bind, run, log, and say errors in Django's words."""
        assert self.connection is not None
        with self.observed(sql, params):
            statement, arguments = bind(sql, params)
            return bridges.wait(self.connection.perform(statement, arguments))

    def perform_bound(self, sql: str, arguments: list[Any]) -> list[Any]:
        """Run a plan's statement in this transaction."""
        if self.needs_rollback:
            self.validate_no_broken_transaction()
        self.ensure_connection()
        assert self.connection is not None
        with self.observed(sql, None):
            return bridges.wait(self.connection.fetch(sql, arguments))

    def command(self, sql: str, seconds: float | None = None) -> None:
        """Run transaction control."""
        assert self.connection is not None
        with self.observed(sql, None):
            bridges.wait(self.connection.command(sql, seconds))

    @contextlib.contextmanager
    def observed(self, sql: str, params: Sequence[Any] | None) -> Iterator[None]:
        """Log what runs inside, and say its errors in Django's words."""
        start = time.monotonic()
        try:
            yield
        except Exception as error:
            raise_translated(error)
            raise
        finally:
            logs.record(self, sql, params, time.monotonic() - start)

    # Transactions: Django's Atomic calls these

    def get_autocommit(self) -> bool:
        self.ensure_connection()
        return self.autocommit

    def set_autocommit(
        self, autocommit: bool, force_begin_transaction_with_broken_autocommit: bool = False
    ) -> None:
        self.validate_no_atomic_block()
        if autocommit and self.connection is None:  # lost on the way: nothing to switch
            self.autocommit = True
            return
        self.ensure_connection()
        if not autocommit:
            self.command(self.begin_sql)
        self.autocommit = autocommit
        if autocommit and self.run_commit_hooks_on_set_autocommit_on:
            self.run_and_clear_commit_hooks()
            self.run_commit_hooks_on_set_autocommit_on = False

    def commit(self) -> None:
        self.validate_no_atomic_block()
        self._commit()
        self.errors_occurred = False
        self.run_commit_hooks_on_set_autocommit_on = True

    def rollback(self) -> None:
        self.validate_no_atomic_block()
        self._rollback()
        self.errors_occurred = False
        self.needs_rollback = False
        self.run_on_commit = []

    def _commit(self) -> None:
        if self.connection is not None:
            self.command("COMMIT")

    def _rollback(self) -> None:
        if self.connection is not None:
            # Bounded: what led here may be that the server is silent.
            self.command("ROLLBACK", links.TIDY_SECONDS)

    def savepoint(self) -> str | None:
        if self.get_autocommit():
            return None
        self.savepoint_state += 1
        sid = f"s{self.savepoint_state}"
        self.command(self.ops.savepoint_create_sql(sid))
        return sid

    def savepoint_rollback(self, sid: str) -> None:
        if self.get_autocommit():
            return
        self.command(self.ops.savepoint_rollback_sql(sid), links.TIDY_SECONDS)
        self.run_on_commit = [hook for hook in self.run_on_commit if sid not in hook[0]]

    def savepoint_commit(self, sid: str) -> None:
        if not self.get_autocommit():
            self.command(self.ops.savepoint_commit_sql(sid))

    def clean_savepoints(self) -> None:
        self.savepoint_state = 0


def require_bridge() -> None:
    """Raise SynchronousOnlyOperation unless waiting is possible here."""
    if not bridges.is_bridged():
        raise SynchronousOnlyOperation(
            "A synchronous query would block the event loop. Await the method with the same name "
            "and an `a` before it (aget, acount, `async for`), or `await db.run(function)`."
        )


_pool: pools.Pool | None = None
_prototype: DatabaseWrapper | None = None
_session: ContextVar[DatabaseWrapper | None] = ContextVar("app.db.session", default=None)


def current_pool() -> pools.Pool:
    """The pool of the running loop; made on first use. Raises InterfaceError when it is closed."""
    pool = _pool
    if pool is not None and pool.loop is running_loop() and not pool.is_closed:
        return pool
    return _new_pool(pool)


def _new_pool(pool: pools.Pool | None) -> pools.Pool:
    if pool is not None:
        if pool.loop is running_loop():
            raise InterfaceError(
                "The pool is closed. Call `await db.open()` before the next query."
            )
        if not pool.loop.is_closed() and not pool.is_closed:
            raise InterfaceError(
                "The pool belongs to another event loop. Call `await db.close()` in that loop."
            )
    return open_pool()


def open_pool() -> pools.Pool:
    """Make the pool of this loop, unless there is one."""
    global _pool  # noqa: PLW0603 - one pool for the process, like Django's connections
    loop = running_loop()
    if _pool is None or _pool.is_closed or _pool.loop is not loop:
        limits = pools.Limits.from_settings()
        logs.slow_query_seconds = limits.slow_query_seconds
        _pool = pools.Pool(limits)
        shapes.forget()
    return _pool


async def close_pool() -> None:
    """Close the pool, if there is one. Raises InterfaceError in a loop other than its own."""
    if _pool is None or _pool.loop.is_closed():
        return
    if _pool.loop is not running_loop():
        raise InterfaceError(
            "The pool belongs to another event loop. Call `await db.close()` in that loop."
        )
    await _pool.close()


def require_default(alias: str | None) -> None:
    """Raise NotSupportedError when `alias` is another database than app.db's."""
    if alias is not None and alias != DEFAULT_DB_ALIAS:
        raise NotSupportedError(
            f"app.db serves DATABASES['default'] only, and this is on {alias!r}: drop "
            f"using({alias!r}), or run it in a thread with sync_to_async()."
        )


def existing_pool() -> pools.Pool | None:
    return _pool


def new_wrapper() -> DatabaseWrapper:
    """A wrapper of its own for one unit of work; it has no connection yet."""
    global _prototype  # noqa: PLW0603
    entry = connections.settings[DEFAULT_DB_ALIAS]
    if _prototype is None or _prototype.settings_dict is not entry:
        _prototype = DatabaseWrapper(entry, DEFAULT_DB_ALIAS)
        _prototype.queries_log = deque(maxlen=DatabaseWrapper.queries_limit)
    wrapper = object.__new__(DatabaseWrapper)
    state = wrapper.__dict__
    state.update(_prototype.__dict__)
    state["connection"] = None
    del state["introspection"]  # made for who asks: it leads back here, and most never ask
    state["savepoint_ids"] = []
    state["atomic_blocks"] = []
    state["run_on_commit"] = []
    state["execute_wrappers"] = []
    state.pop("wrap_database_errors", None)
    return wrapper


def current_wrapper() -> DatabaseWrapper:
    """Inside `run()`: the wrapper that it has put in the place of Django's."""
    return connections[DEFAULT_DB_ALIAS]  # type: ignore[return-value]


def let_go() -> None:
    """Drop what this task's finished calls have left with Django: a wrapper of some kilobytes, made
    anew when one is needed. For a task that goes on for long without the database.
    """
    if current_session() is None:
        with contextlib.suppress(AttributeError):
            del connections[DEFAULT_DB_ALIAS]


def current_session() -> DatabaseWrapper | None:
    """The wrapper of the transaction that this task is in."""
    session = _session.get()
    return None if session is None or session.is_over else session


__all__ = [
    "DatabaseWrapper",
    "close_pool",
    "current_pool",
    "current_session",
    "current_wrapper",
    "existing_pool",
    "let_go",
    "new_wrapper",
    "open_pool",
    "require_default",
]

"""`atomic`: Django's transactions, awaited.

`async with atomic():` runs Django's own `Atomic` on a wrapper that belongs to the task. Everything
that the task does inside is in that transaction; nested, it is a savepoint. Two tasks cannot share
one: a connection speaks to one at a time, so a task that was started inside and outlives or runs
beside its parent is refused by name.
"""

import asyncio
import contextlib
import inspect
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar, Token
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar, overload

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db import transaction as stock
from django.db.transaction import TransactionManagementError

from app.db import bridges
from app.db.connections import DatabaseWrapper, _session, current_session, new_wrapper
from app.loops import current_task

P = ParamSpec("P")
R = TypeVar("R")

ATTEMPTS = 5
ISOLATION_LEVELS = {"read committed", "repeatable read", "serializable"}


#: The wrapper of the call that is running in this task, for calls that are made from inside it.
_unit: ContextVar[DatabaseWrapper | None] = ContextVar("app.db.unit", default=None)


async def run(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run synchronous code that uses Django's ORM on asyncpg: in this task's transaction if it is
    in one.

    No thread is used, so `function` must not block in any other way.
    """
    session = current_session()
    if session is None:
        return await _run_alone(function, *args, **kwargs)
    if session.lock is not None and session.holder is not current_task():
        return await _run_shared(session, session.lock, function, *args, **kwargs)
    check_owner(session)
    return await _run_on(session, function, *args, **kwargs)


async def _run_alone(function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Outside a transaction: on a wrapper of its own, or that of the call that this is part of."""
    task, unit = current_task(), _unit.get()
    if unit is not None and unit.owner is task and not unit.is_over:
        return await _run_on(unit, function, *args, **kwargs)
    wrapper = new_wrapper()
    wrapper.owner = task
    try:
        return await _run_on(wrapper, function, *args, **kwargs)
    finally:
        wrapper.is_over = True
        wrapper.owner = None  # which holds the wrapper in its context
        wrapper.release()


async def _run_shared(
    session: DatabaseWrapper,
    lock: asyncio.Lock,
    function: Callable[..., R],
    *args: Any,
    **kwargs: Any,
) -> R:
    """One task after the other; only a test's transaction is shared so."""
    async with lock:
        session.holder = current_task()
        try:
            return await _run_on(session, function, *args, **kwargs)
        finally:
            session.holder = None


async def _run_on(
    wrapper: DatabaseWrapper, function: Callable[..., R], *args: Any, **kwargs: Any
) -> R:
    outer = _unit.get()
    token = _unit.set(wrapper)
    connections[DEFAULT_DB_ALIAS] = wrapper
    try:
        return await bridges.run(function, *args, **kwargs)
    finally:
        _unit.reset(token)
        if outer is not None and outer is not wrapper and outer.owner is current_task():
            connections[DEFAULT_DB_ALIAS] = outer  # the call that this one was part of goes on


@contextlib.asynccontextmanager
async def reading() -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """For as long as a server-side cursor is read: `run`, in the current transaction or else in one
    of its own.

    Its own one is nobody else's: what is done between two reads is not part of it, and stays when
    the iteration is left early, maybe by another task or the garbage collector. So nothing is
    awaited then: the connection goes back as it is, and the pool ends the transaction.
    """
    if current_session() is not None:
        yield run
        return
    wrapper = new_wrapper()
    try:
        await _run_on(wrapper, wrapper.set_autocommit, False)
        yield partial(_run_on, wrapper)
        await _run_on(wrapper, wrapper.commit)
    finally:
        wrapper.is_over = True
        wrapper.release()


def check_owner(session: DatabaseWrapper) -> None:
    """Raise TransactionManagementError when another task is in this transaction."""
    if session.owner is not None and session.owner is not current_task():
        raise TransactionManagementError(
            "Two tasks use one transaction. A connection belongs to the task that entered "
            "`atomic`: start the other task outside the block, or await its work in this one "
            "(before Python 3.12 asyncio.wait_for starts a task; asyncio.timeout does not)."
        )


class Atomic:
    """See `atomic()`."""

    def __init__(
        self, savepoint: bool, durable: bool, isolation: str | None, read_only: bool
    ) -> None:
        self._options = (savepoint, durable, isolation, read_only)
        self._inner = stock.Atomic(DEFAULT_DB_ALIAS, savepoint, durable)
        self._begin = _begin_sql(isolation, read_only)
        self._stack: list[tuple[DatabaseWrapper, Token[DatabaseWrapper | None] | None]] = []

    async def __aenter__(self) -> None:
        session = current_session()
        token = None
        if session is None:
            session = new_wrapper()
            session.owner = current_task()
            session.begin_sql = self._begin
            token = _session.set(session)
        elif self._begin != "BEGIN" and session.in_atomic_block:
            raise TransactionManagementError(
                "An isolation level is set where a transaction begins: on the outermost block."
            )
        try:
            await run(self._inner.__enter__)
        except BaseException:
            if token is not None:
                _leave(session, token)
            raise
        self._stack.append((session, token))

    async def __aexit__(self, *exc_info: Any) -> None:
        session, token = self._stack.pop()
        try:
            await run(self._inner.__exit__, *exc_info)
        finally:
            if token is not None:
                _leave(session, token)

    def __call__(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        """As a decorator of a coroutine function."""

        @wraps(function)
        async def inner(*args: P.args, **kwargs: P.kwargs) -> R:
            async with Atomic(*self._options):
                return await function(*args, **kwargs)

        return inner


def _leave(session: DatabaseWrapper, token: Token[DatabaseWrapper | None]) -> None:
    session.is_over = True
    session.owner = None
    session.release()
    try:
        _session.reset(token)
    except ValueError:  # left in another context than entered, as a generator's finalizer does
        _session.set(None)


def _begin_sql(isolation: str | None, read_only: bool) -> str:
    if isolation is not None and isolation not in ISOLATION_LEVELS:
        raise ValueError(
            f"{isolation!r} is no isolation level: {', '.join(sorted(ISOLATION_LEVELS))}."
        )
    level = f" ISOLATION LEVEL {isolation.upper()}" if isolation else ""
    return f"BEGIN{level}{' READ ONLY' if read_only else ''}"


@overload
def atomic(function: Callable[P, Awaitable[R]], /) -> Callable[P, Awaitable[R]]: ...
@overload
def atomic(
    *,
    savepoint: bool = ...,
    durable: bool = ...,
    isolation: str | None = ...,
    read_only: bool = ...,
) -> Atomic: ...
def atomic(
    function: Any = None,
    /,
    *,
    savepoint: bool = True,
    durable: bool = False,
    isolation: str | None = None,
    read_only: bool = False,
) -> Any:
    """`async with atomic():` or `@atomic` on a coroutine function: all of it is committed, or none.

    Nested, it is a savepoint (unless `savepoint=False`). `durable=True` refuses to be nested.
    `isolation` is 'read committed', 'repeatable read' or 'serializable'.
    """
    block = Atomic(savepoint, durable, isolation, read_only)
    return block if function is None else block(function)


SERIALIZATION_FAILURES = {"40001", "40P01"}


async def retry(function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a coroutine function in a serializable transaction, again while it fails to serialize.

    Five attempts, with a growing, random pause between them; what `function` does beside the
    database it does once an attempt. Raises the last OperationalError.
    """
    if current_session() is not None:
        raise TransactionManagementError("Retry the outermost block: a savepoint can't be retried.")
    for attempt in range(ATTEMPTS):
        try:
            async with atomic(isolation="serializable"):
                return await function(*args, **kwargs)
        except OperationalError as error:
            sqlstate = getattr(error.__cause__, "sqlstate", None)
            if sqlstate not in SERIALIZATION_FAILURES or attempt == ATTEMPTS - 1:
                raise
        await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter
    raise AssertionError("unreachable")


def on_commit(callback: Callable[[], Any], *, robust: bool = False) -> None:
    """Call `callback` after the current transaction has committed; never when it is rolled back.

    A coroutine function is awaited then. Outside a transaction a plain function is called at once.
    """
    session = current_session()
    if session is None or not session.in_atomic_block:
        if inspect.iscoroutinefunction(callback):
            raise TransactionManagementError(
                "There is no transaction to wait for: await the coroutine function yourself."
            )
        callback()
        return
    check_owner(session) if session.lock is None else None
    hook: Any = (set(session.savepoint_ids), _awaited(callback), robust)
    session.run_on_commit.append(hook)


def _awaited(callback: Callable[[], Any]) -> Callable[[], None]:
    @wraps(callback)
    def call() -> None:
        result = callback()
        if inspect.isawaitable(result):
            bridges.wait(result)

    return call


__all__ = ["Atomic", "atomic", "on_commit", "reading", "retry", "run"]

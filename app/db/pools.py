"""The pool: connections that are opened when they are needed, and a bounded wait when all are in
use.

Rules:
- A pool belongs to the event loop that made it.
- A connection is handed to one taker and comes back by `release()`, which never waits: what has to
  be tidied (a cancelled query that the server still winds up, a transaction left open) is done in a
  task of the pool's own, and only a clean connection is handed out again. What can't be tidied is
  closed.
- Whoever stood in line first is served first: nobody who comes later takes what was made free for
  them.
- A statement that was prepared and then not executed keeps its tables locked (asyncpg does not tell
  the server that the exchange is over); its connection is tidied like one with an open transaction.
- Nothing is reset between takers: `app.db` itself changes no session state.
"""

import asyncio
import datetime
import ssl
import zoneinfo
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import asyncpg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections

from app.db import codecs, logs
from app.db.errors import UnreachableError
from app.db.placeholders import recast

DJANGO_ONLY = ("assume_role", "isolation_level", "pool", "server_side_binding", "client_encoding")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`settings.DATABASE_POOL`, each with its default."""

    max_size: int = 10
    wait_seconds: float = 5.0
    connect_seconds: float = 10.0
    idle_seconds: float = 300.0
    statements: int = 256
    statement_timeout_seconds: float | None = None
    slow_query_seconds: float | None = None
    transaction_pooling: bool = False

    @classmethod
    def from_settings(cls) -> "Limits":
        options = getattr(settings, "DATABASE_POOL", {})
        try:
            limits = cls(**options)
        except TypeError as error:
            raise ImproperlyConfigured(
                f"DATABASE_POOL: {error}. It knows {', '.join(cls.__dataclass_fields__)}."
            ) from None
        if limits.max_size < 1:
            raise ImproperlyConfigured("DATABASE_POOL['max_size'] must be 1 or more.")
        if limits.transaction_pooling and limits.statement_timeout_seconds is not None:
            raise ImproperlyConfigured(
                "DATABASE_POOL: statement_timeout_seconds is a setting of a session, and with "
                "transaction_pooling there is none. Give it to the role instead: ALTER ROLE … SET "
                "statement_timeout = '…'."
            )
        return limits


@dataclass(slots=True)
class Result:
    rows: list[Any]
    status: str
    statement: Any


def is_cancelling(raw: Any) -> bool:
    """True while the server still winds up a cancelled query; asyncpg's own pool asks so too."""
    return bool(raw._protocol._is_cancelling())


#: Refusals that waiting does not change: the password, the role, the database.
MISCONFIGURED = {"28P01", "28000", "3D000"}

#: What is raised on this side when the other one is gone or speaks strangely.
CLIENT_ERRORS = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)

#: How long the server may take to wind up what was given up; then the connection is closed.
TIDY_SECONDS = 5.0

#: Characters of SQL above which a statement is not kept: it will hardly come again.
LONGEST_KEPT = 15_000


class Statement:
    """A prepared statement, and what is left to decode of its columns."""

    __slots__ = ("loaders", "raw")

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.loaders = codecs.column_loaders(raw.get_attributes())


class Link:
    """One connection to the server, with its prepared statements.

    `is_unfinished`: an exchange with the server was broken off by something other than the server.
    """

    __slots__ = ("is_unfinished", "named", "pool", "raw", "released_at", "size", "statements")

    def __init__(self, raw: asyncpg.Connection, size: int, pool: "Pool | None" = None) -> None:
        self.raw = raw
        self.pool = pool
        self.is_unfinished = False
        self.size = size
        self.named = 0
        self.statements: OrderedDict[str, Statement] = OrderedDict()
        self.released_at = 0.0

    def release(self) -> None:
        """Give it back to the pool that it came from, which may be closed by now. Never waits."""
        assert self.pool is not None
        self.pool.release(self)

    async def prepare(self, sql: str) -> "Statement":
        """The prepared statement of `sql`; the least recently used is dropped when there are too
        many.
        """
        statements = self.statements
        statement = statements.get(sql)
        if statement is not None:
            statements.move_to_end(sql)
            return statement
        if not self.size or len(sql) > LONGEST_KEPT:
            return Statement(await self.raw.prepare(sql))
        self.named += 1
        # Named, or asyncpg (whose own cache is off) would parse it anew each time.
        statement = Statement(await self.raw.prepare(sql, name=f"app_db_{self.named}"))
        statements[sql] = statement
        if len(statements) > self.size:
            statements.popitem(last=False)
        return statement

    async def perform(self, sql: str, arguments: Sequence[Any]) -> Result:
        """Run one statement. Raises asyncpg's errors."""
        statement, rows = await self._run(sql, arguments)
        raw = statement.raw
        return Result(rows, raw.get_statusmsg() or "", raw)

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> list[Any]:
        """The rows of one statement. Raises asyncpg's errors."""
        return (await self._run(sql, arguments))[1]

    async def copy_in(self, table: str, **options: Any) -> str:
        """asyncpg's `copy_records_to_table`."""
        try:
            status: str = await self.raw.copy_records_to_table(table, **options)
        except BaseException as error:
            self._note(error)
            raise
        return status

    def _note(self, error: BaseException) -> None:
        """After an error of its own the server has said that it is ready; else it may wait."""
        if not isinstance(error, asyncpg.PostgresError):
            self.is_unfinished = True

    async def _run(self, sql: str, arguments: Sequence[Any]) -> tuple[Statement, list[Any]]:
        try:
            return await self._attempt(sql, arguments)
        except BaseException as error:
            self._note(error)
            raise

    async def _attempt(self, sql: str, arguments: Sequence[Any]) -> tuple[Statement, list[Any]]:
        statement = self.statements.get(sql)
        try:
            if statement is None:
                statement = await self.prepare(sql)
            else:
                self.statements.move_to_end(sql)
            rows = await statement.raw.fetch(*arguments)
        except (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError):
            # A table has changed since the statement was prepared. Harmless outside a transaction.
            self.statements.clear()
            if self.raw.is_in_transaction():
                raise
            await self.raw.reload_schema_state()
            statement = await self.prepare(sql)
            rows = await statement.raw.fetch(*arguments)
        except (asyncpg.DataError, asyncpg.InterfaceError) as error:
            texts = _as_text(error, statement, arguments)
            if texts is None:
                raise
            sql, arguments = recast(sql, texts[0]), texts[1]
            statement = await self.prepare(sql)
            rows = await statement.raw.fetch(*arguments)
        if statement.loaders:
            rows = codecs.load_rows(rows, statement.loaders)
        return statement, rows

    async def command(self, sql: str, seconds: float | None = None) -> None:
        """Run SQL without parameters, unprepared: BEGIN, COMMIT, SAVEPOINT. Raises TimeoutError
        when it takes longer than `seconds`.
        """
        async with asyncio.timeout(seconds):
            await self.raw.execute(sql)
        self.is_unfinished = False


def _as_text(
    error: Exception, statement: Statement | None, arguments: Sequence[Any]
) -> tuple[tuple[tuple[int, str], ...], list[Any]] | None:
    """When asyncpg could not encode a value for the type that the server inferred, let the server
    read it as a literal of unknown type would be read.

    Returns the parameters to send as text, with their types, and the arguments; None when that is
    not what went wrong.
    """
    if statement is None or "invalid input for query argument" not in str(error):
        return None
    types: list[tuple[int, str]] = []
    literals = list(arguments)
    for number, kind in enumerate(statement.raw.get_parameters()):
        value, is_text = arguments[number], kind.name in {"text", "varchar", "unknown"}
        if isinstance(value, str) and not is_text:
            types.append((number + 1, quoted(kind)))
        elif isinstance(value, list) and is_text:
            literals[number] = codecs.literal(value)
    return (tuple(types), literals) if types or literals != list(arguments) else None


def quoted(kind: Any) -> str:
    """The name of a type (asyncpg's description of it) as it is written in SQL."""
    name = kind.name.removesuffix("[]")
    return f'"{kind.schema}"."{name}"' + ("[]" if kind.name.endswith("[]") else "")


class Pool:
    """Connections to the default database. `acquire()` and `release()` are the whole of it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.entry = database_entry()
        self.loop = asyncio.get_running_loop()
        self.server_version = 0
        self.is_closed = False
        self.waits = self.timeouts = self.opened = self.lost = 0
        self._idle: list[Link] = []
        self._size = 0
        self._taken: set[Link] = set()
        self._waiters: deque[asyncio.Future[Link | None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._tidying: set[asyncio.Task[None]] = set()

    def take(self) -> Link | None:
        """An idle connection if there is one: `acquire()` without waiting."""
        if self.is_closed or not self._idle:
            return None
        link = self._pop_idle()
        if link is not None:
            self._taken.add(link)
        return link

    async def acquire(self) -> Link:
        """An open connection. Raises UnreachableError when none is free in time or the server is
        gone.
        """
        if self.is_closed:
            raise UnreachableError(
                "The pool is closed. Call `await db.open()` before the first query."
            )
        link = self._pop_idle()
        if link is None:
            if self._size < self.limits.max_size:  # while there is room, nobody is in line
                self._size += 1
                link = await self._connect()
            else:
                link = await self._wait()
        self._taken.add(link)
        return link

    def release(self, link: Link) -> None:
        """Take a connection back. Never waits."""
        self._taken.discard(link)
        raw = link.raw
        if raw.is_closed() or self.is_closed:
            self._discard(link)
        elif link.is_unfinished or is_cancelling(raw) or raw.is_in_transaction():
            task = self.loop.create_task(self._tidy(link))
            self._tidying.add(task)
            task.add_done_callback(self._tidying.discard)
        else:
            self._give(link)

    async def close(self) -> None:
        """Close every connection; those in use when they come back."""
        self.is_closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        if self._tidying:
            await asyncio.gather(*self._tidying, return_exceptions=True)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(UnreachableError("The pool was closed."))
        idle, self._idle = self._idle, []
        self._size -= len(idle)
        await asyncio.gather(*(hang_up(link.raw) for link in idle))

    def statistics(self) -> dict[str, int]:
        return {
            "size": self._size,
            "in_use": len(self._taken),
            "idle": len(self._idle),
            "waiting": len(self._waiters),
            "max_size": self.limits.max_size,
            "waits": self.waits,
            "timeouts": self.timeouts,
            "opened": self.opened,
            "lost": self.lost,
            "queries": logs.counter.queries,
            "slow_queries": logs.counter.slow,
        }

    def _pop_idle(self) -> Link | None:
        while self._idle:
            link = self._idle.pop()
            if not link.raw.is_closed():
                return link
            self._discard(link)
        return None

    async def _connect(self) -> Link:
        """A new connection, in room that is counted already; it is freed when that fails."""
        try:
            raw = await connect(self.entry, self.limits)
        except BaseException as error:
            self._vacate()
            if isinstance(error, (asyncpg.PostgresError, *CLIENT_ERRORS)):
                raise refusal(error, self.entry, self.limits) from error
            raise
        self.opened += 1
        version = raw.get_server_version()
        self.server_version = version.major * 10000 + version.minor
        return Link(raw, 0 if self.limits.transaction_pooling else self.limits.statements, self)

    async def _wait(self) -> Link:
        """Stand in line for a connection, or for the room to open one."""
        self.waits += 1
        waiter: asyncio.Future[Link | None] = self.loop.create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self.limits.wait_seconds):
                link = await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                self.timeouts += 1
                raise UnreachableError(
                    f"All {self.limits.max_size} database connections were in use for "
                    f"{self.limits.wait_seconds:g} s. Raise DATABASE_POOL['max_size']."
                ) from error
            raise
        if link is not None and link.raw.is_closed():  # lost on the way here: its room is left
            self.lost += 1
            link = None
        return link or await self._connect()

    def _pass_on(self, link: Link | None) -> None:
        if link is None:
            self._vacate()
        else:
            self._give(link)

    def _vacate(self) -> None:
        """There is room for one more connection: for the first in line, or for whoever comes."""
        if not self._wake(None):
            self._size -= 1

    def _give(self, link: Link) -> None:
        """Hand a clean connection to the first in line, or keep it."""
        if not self._wake(link):
            link.released_at = self.loop.time()
            self._idle.append(link)
            if self._reaper is None:
                self._reaper = self.loop.call_later(self.limits.idle_seconds, self._reap)

    def _wake(self, link: Link | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(link)
                return True
        return False

    def _reap(self) -> None:
        """Close what was idle for long. The most recently used are taken first, so the rest age."""
        self._reaper = None
        limit = self.loop.time() - self.limits.idle_seconds
        while self._idle and self._idle[0].released_at <= limit:
            link = self._idle.pop(0)
            self._size -= 1
            link.raw.terminate()
        if self._idle:
            due = self._idle[0].released_at - limit
            self._reaper = self.loop.call_later(max(due, 0.01), self._reap)

    def _discard(self, link: Link) -> None:
        self.lost += 1
        link.statements.clear()
        if not link.raw.is_closed():
            link.raw.terminate()
        self._vacate()

    async def _tidy(self, link: Link) -> None:
        """Wait for the server to wind up a cancelled query, end an open transaction, then give it
        back.
        """
        try:
            async with asyncio.timeout(TIDY_SECONDS):
                # asyncpg turns jit off while it looks up the types of a table that is new to it.
                await link.command("ROLLBACK" if link.raw.is_in_transaction() else "RESET jit")
                if link.raw.is_in_transaction():  # it was BEGIN that was cancelled, too late
                    await link.command("ROLLBACK")
        except (asyncpg.PostgresError, *CLIENT_ERRORS):
            self._discard(link)
        except BaseException:
            self._discard(link)
            raise
        else:
            if link.raw.is_in_transaction() or link.raw.is_closed() or self.is_closed:
                self._discard(link)
            else:
                self._give(link)


def refusal(error: Exception, entry: dict[str, Any], limits: Limits) -> Exception:
    """Why there is no connection: what has to be changed, or that it may be tried again."""
    if isinstance(error, asyncpg.ClientConfigurationError):
        return ImproperlyConfigured(f"DATABASES['default'] (DATABASE_URL): {error}.")
    if isinstance(error, FileNotFoundError) and not entry["HOST"].startswith("/"):
        files = [v for k, v in entry["OPTIONS"].items() if k.startswith("ssl") and "/" in v]
        return ImproperlyConfigured(
            f"A file that DATABASE_URL names is not there: {', '.join(files)}."
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return OperationalError(
            f"The server's certificate is not trusted: {error.verify_message}. Name who signed "
            "it with sslrootcert in DATABASE_URL, and the server as the certificate does."
        )
    is_misconfigured = getattr(error, "sqlstate", None) in MISCONFIGURED
    if is_misconfigured or "authentication failed" in str(error):  # as PgBouncer says it
        return OperationalError(f"{error}. Change DATABASE_URL.")
    if isinstance(error, TimeoutError):
        error = TimeoutError(f"no connection within {limits.connect_seconds:g} s")
    return UnreachableError(f"The database does not answer: {error}")


async def hang_up(raw: Any) -> None:
    """Close a connection in order, or else without a goodbye."""
    try:
        await raw.close(timeout=TIDY_SECONDS)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        raw.terminate()


def database_entry() -> dict[str, Any]:
    """`DATABASES["default"]`. Raises ImproperlyConfigured when it is not PostgreSQL."""
    entry: dict[str, Any] = connections.settings["default"]
    if "postgresql" not in entry["ENGINE"]:
        raise ImproperlyConfigured(
            f"app.db runs on PostgreSQL; DATABASES['default']['ENGINE'] is {entry['ENGINE']!r}. "
            "Write 'django.db.backends.postgresql'."
        )
    return entry


def time_zone(entry: dict[str, Any]) -> tuple[str, datetime.tzinfo | None]:
    """The session's time zone, and the one that datetimes are given in; None: naive ones."""
    if not settings.USE_TZ:
        return settings.TIME_ZONE, None
    if (name := entry["TIME_ZONE"]) is None:
        return "UTC", datetime.UTC
    return name, zoneinfo.ZoneInfo(name)


async def connect(entry: dict[str, Any], limits: Limits, **overrides: Any) -> asyncpg.Connection:
    """A new connection by an entry of DATABASES, with the codecs in place."""
    raw: asyncpg.Connection = await asyncpg.connect(
        **connection_arguments(entry, limits) | overrides, timeout=limits.connect_seconds
    )
    if limits.transaction_pooling:
        # asyncpg would turn jit off and on around each lookup of types: on two servers, maybe.
        abilities: Any = raw
        abilities._server_caps = abilities._server_caps._replace(jit=False)
    try:
        await codecs.configure(raw, time_zone(entry))
    except BaseException:
        raw.terminate()
        raise
    return raw


def connection_arguments(entry: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Django's DATABASES entry in asyncpg's words."""
    options = {k: v for k, v in entry["OPTIONS"].items() if k not in DJANGO_ONLY}
    options.pop("connect_timeout", None)
    query = {"host": entry["HOST"], "port": entry["PORT"], "user": entry["USER"]}
    query |= {"password": entry["PASSWORD"], "dbname": entry["NAME"]}
    secure = {k: options.pop(k) for k in list(options) if k.startswith("ssl")}
    dsn = "postgresql://?" + urlencode({k: str(v) for k, v in (query | secure).items() if v})
    server = {"timezone": time_zone(entry)[0]} | {k: str(v) for k, v in options.items()}
    if limits.statement_timeout_seconds is not None:
        server["statement_timeout"] = str(int(limits.statement_timeout_seconds * 1000))
    return {"dsn": dsn, "server_settings": server, "statement_cache_size": 0}


__all__ = ["Limits", "Link", "Pool", "Result"]

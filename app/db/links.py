"""A connection to the server, its prepared statements, and running one of them."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from app.db import codecs
from app.db.placeholders import recast

if TYPE_CHECKING:
    from app.db.pools import Pool

#: What is raised on this side when the other one is gone or speaks strangely.
CLIENT_ERRORS = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)

#: How long the server may take to wind up what was given up; then the connection is closed.
TIDY_SECONDS = 5.0


@dataclass(slots=True)
class Result:
    rows: list[Any]
    status: str
    statement: Any


def is_cancelling(raw: Any) -> bool:
    """True while the server still winds up a cancelled query; asyncpg's own pool asks so too."""
    return bool(raw._protocol._is_cancelling())


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
        """The rows of one statement. Raises asyncpg's errors.

        What plans run: a statement that is prepared already takes no layer more than it needs
        (`python -m load.bench.db`), and so asyncpg's protocol is asked, which looks at the
        connection itself.
        """
        statement = self.statements.get(sql)
        if statement is None or statement.loaders:
            return (await self._run(sql, arguments))[1]
        try:
            raw: Any = self.raw
            found = await raw._protocol.bind_execute(
                statement.raw._state, arguments, "", 0, True, None
            )
        except BaseException as error:
            if isinstance(error, asyncpg.OutdatedSchemaCacheError):
                await self.raw.reload_schema_state()
                self.statements.clear()
            if not _is_mendable(error):
                self._note(error)
                raise
            return (await self._run(sql, arguments))[1]
        self.statements.move_to_end(sql)
        rows: list[Any] = found[0]
        return rows

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
        except asyncpg.InvalidCachedStatementError:
            # A table has changed since the statement was prepared. Nothing was executed: harmless
            # outside a transaction.
            self.statements.clear()
            if self.raw.is_in_transaction():
                raise
            statement = await self.prepare(sql)
            rows = await statement.raw.fetch(*arguments)
        except asyncpg.OutdatedSchemaCacheError:
            # A type has changed; the statement was executed, so it is not run again.
            self.statements.clear()
            raise
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
        if seconds is None:
            await self.raw.execute(sql)
        else:
            async with asyncio.timeout(seconds):
                await self.raw.execute(sql)
        self.is_unfinished = False


def _is_mendable(error: BaseException) -> bool:
    """True for what `Link` mends by preparing anew; the server has executed nothing then."""
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return True
    return isinstance(error, asyncpg.DataError | asyncpg.InterfaceError) and (
        "invalid input for query argument" in str(error)
    )


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


async def hang_up(raw: Any) -> None:
    """Close a connection in order, or else without a goodbye."""
    try:
        await raw.close(timeout=TIDY_SECONDS)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        raw.terminate()


__all__ = [
    "CLIENT_ERRORS",
    "TIDY_SECONDS",
    "Link",
    "Result",
    "Statement",
    "hang_up",
    "is_cancelling",
    "quoted",
]

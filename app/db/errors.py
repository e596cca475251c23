"""One table from SQLSTATE to `django.db` exceptions, and from asyncpg's own errors.

    django.db.Error
    ├── InterfaceError              the driver was misused
    └── DatabaseError
        ├── DataError  IntegrityError  InternalError  NotSupportedError  ProgrammingError
        └── OperationalError        the server or the way to it
            └── UnreachableError    no connection could be had; also app.errors.Unavailable

The original (with `sqlstate`, `constraint_name`, `table_name`, `detail`) is the `__cause__`.
"""

import contextlib
from collections.abc import Iterator

import asyncpg
from django import db

from app.errors import Unavailable

CLASSES: dict[str, type[db.DatabaseError]] = {
    "03": db.DatabaseError,  # SQL statement not yet complete
    "08": db.OperationalError,  # connection exception
    "09": db.DatabaseError,  # triggered action exception
    "0A": db.NotSupportedError,
    "0B": db.DatabaseError,  # invalid transaction initiation
    "0F": db.DatabaseError,  # locator
    "0L": db.DatabaseError,  # invalid grantor
    "0P": db.DatabaseError,  # invalid role specification
    "0Z": db.DatabaseError,  # diagnostics
    "10": db.ProgrammingError,  # XQuery
    "20": db.ProgrammingError,  # case not found
    "21": db.ProgrammingError,  # cardinality violation
    "22": db.DataError,
    "23": db.IntegrityError,
    "24": db.InternalError,  # invalid cursor state
    "25": db.InternalError,  # invalid transaction state
    "26": db.ProgrammingError,  # invalid statement name
    "27": db.OperationalError,  # triggered data change violation
    "28": db.OperationalError,  # invalid authorization
    "2B": db.InternalError,
    "2D": db.InternalError,  # invalid transaction termination
    "2F": db.OperationalError,  # SQL routine
    "34": db.ProgrammingError,  # invalid cursor name
    "38": db.OperationalError,  # external routine
    "39": db.OperationalError,
    "3B": db.OperationalError,  # savepoint
    "3D": db.ProgrammingError,  # invalid catalog name
    "3F": db.ProgrammingError,  # invalid schema name
    "40": db.OperationalError,  # serialization failure, deadlock
    "42": db.ProgrammingError,  # syntax error or access rule violation
    "44": db.ProgrammingError,  # WITH CHECK OPTION violation
    "53": db.OperationalError,  # insufficient resources
    "54": db.OperationalError,  # program limit exceeded
    "55": db.OperationalError,  # object not in prerequisite state
    "57": db.OperationalError,  # operator intervention
    "58": db.OperationalError,  # system error
    "72": db.DatabaseError,  # snapshot too old
    "F0": db.OperationalError,  # configuration file
    "HV": db.OperationalError,  # foreign data wrapper
    "P0": db.ProgrammingError,  # PL/pgSQL
    "XX": db.InternalError,
}


class UnreachableError(Unavailable, db.OperationalError):
    """No connection could be had: the pool is exhausted, or the server does not answer."""


def exception_class(sqlstate: str | None) -> type[db.DatabaseError]:
    """The `django.db` exception for an SQLSTATE; DatabaseError when its class is not a standard
    one.
    """
    return CLASSES.get((sqlstate or "")[:2], db.DatabaseError)


def translate(error: BaseException) -> Exception | None:
    """The `django.db` exception that says what `error`, raised by asyncpg, means; None when it is
    not one.
    """
    if isinstance(error, asyncpg.PostgresConnectionError):
        return db.OperationalError(f"The connection to the server was lost: {error}")
    if isinstance(error, asyncpg.PostgresError):
        return exception_class(error.sqlstate)(_sentence(error))
    if isinstance(error, asyncpg.InterfaceError):
        if "closed" in str(error) or "released" in str(error):
            return db.OperationalError(f"The connection to the server was lost: {error}")
        return db.InterfaceError(*error.args)
    if isinstance(error, OSError | asyncpg.InternalClientError):  # TimeoutError is an OSError
        return db.OperationalError(
            f"The connection to the server was lost: {str(error) or type(error).__name__}"
        )
    return None


def _sentence(error: asyncpg.PostgresError) -> str:
    """Message, detail and hint on lines of their own, as psycopg writes them."""
    lines = [str(error.args[0]) if error.args else type(error).__name__]
    parts = {name: getattr(error, name, None) for name in ("detail", "hint")}
    lines += [f"{name.upper()}:  {text}" for name, text in parts.items() if text]
    return "\n".join(lines)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """asyncpg's errors in Django's words."""
    try:
        yield
    except Exception as error:
        raise_translated(error)
        raise


def raise_translated(error: Exception) -> None:
    """Raise what `error` is in Django's words; return when it is not the database's."""
    if (translation := translate(error)) is not None:
        raise translation from error


__all__ = [
    "CLASSES",
    "UnreachableError",
    "exception_class",
    "raise_translated",
    "translate",
    "translated",
]

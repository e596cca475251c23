"""Where the database is, and how a connection to it is made."""

import datetime
import ssl
import zoneinfo
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import asyncpg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections

from app.db import codecs
from app.db.errors import UnreachableError

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


#: Refusals that waiting does not change: the password, the role, the database.
MISCONFIGURED = {"28P01", "28000", "3D000"}


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
    return UnreachableError(f"The database does not answer: {str(error) or type(error).__name__}")


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


__all__ = [
    "Limits",
    "connect",
    "connection_arguments",
    "database_entry",
    "refusal",
    "time_zone",
]

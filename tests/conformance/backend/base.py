"""A synchronous database backend over `app.db`, so that Django's own test suite can judge it.

Placeholders, codecs, statements, rows, errors and transactions are those of `app.db`, run on
asyncpg; only the waiting differs: each call drives an event loop of its own until it is done.
Instances are made by `app.db.rows`, from statements that `app.db.shapes` keeps.
"""

import asyncio
import contextlib

from django.db.models.query import ModelIterable

from app.db import bridges, connections, cursors, pools
from app.db.adapters import psycopg_context
from app.db.codecs import configure_time_zone
from app.db.errors import translated
from app.db.rows import InstanceIterable

LIMITS = pools.Limits(statements=100)

ModelIterable.__iter__ = InstanceIterable.__iter__


class Features(connections.Features):
    django_test_expected_failures = frozenset()


class ServerCursor(cursors.ServerCursor):
    def _execute(self, sql, params):
        return self.db.drive(super()._execute, sql, params)

    def fetchmany(self, size=None):
        return self.db.drive(super().fetchmany, size)


class Link(pools.Link):
    """Also what psycopg's `sql.quote()` asks for; Django's schema editor calls it."""

    __slots__ = ("adapters", "connection", "time_zone")

    def __init__(self, raw, size):
        super().__init__(raw, size)
        self.adapters = psycopg_context().adapters
        self.connection = None


class DatabaseWrapper(connections.DatabaseWrapper):
    features_class = Features

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loop = None

    def drive(self, function, *args):
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
        return self.loop.run_until_complete(bridges.run(function, *args))

    @property
    def pg_version(self):
        with self.temporary_connection():
            version = self.connection.raw.get_server_version()
        return version.major * 10000 + version.minor

    def connect(self):
        self.check_settings()
        self.in_atomic_block = False
        self.savepoint_ids = []
        self.atomic_blocks = []
        self.needs_rollback = False
        self.closed_in_transaction = False
        entry = self.settings_dict
        if entry["NAME"] is None:
            entry = {**entry, "NAME": "postgres"}
        with translated():
            raw = self.drive(lambda: bridges.wait(pools.connect(entry, LIMITS)))
        self.connection = Link(raw, LIMITS.statements)
        self.connection.time_zone = pools.time_zone(entry)
        self.autocommit = True
        self.run_on_commit = []

    def ensure_connection(self):
        if self.connection is None:
            if self.in_atomic_block and self.closed_in_transaction:
                raise connections.ProgrammingError(
                    "Cannot open a new connection in an atomic block."
                )
            self.connect()

    def cursor(self):
        self.ensure_connection()
        if pools.time_zone(self.settings_dict) != self.connection.time_zone:
            self.ensure_timezone()
        return cursors.Cursor(self)

    def chunked_cursor(self):
        self.ensure_connection()
        return cursors.Cursor(self) if self.autocommit else ServerCursor(self)

    def ensure_timezone(self):
        """The suite switches USE_TZ and TIME_ZONE while it is connected."""
        if self.connection is None:
            return False
        name, zone = pools.time_zone(self.settings_dict)
        raw = self.connection.raw
        self.connection.statements.clear()
        self.connection.time_zone = (name, zone)

        async def change():
            await raw.execute(f"SET TIME ZONE '{name}'")
            await raw.reset_type_codec("timestamptz", schema="pg_catalog")
            await configure_time_zone(raw, name, zone)

        self.loop.run_until_complete(change())
        return True

    def is_usable(self):
        return self.drive(super().is_usable)

    def perform(self, sql, params):
        return self.drive(super().perform, sql, params)

    def command(self, sql, seconds=None):
        self.drive(super().command, sql, seconds)

    def release(self):
        link, self.connection = self.connection, None
        if link is not None:
            with contextlib.suppress(Exception):
                self.loop.run_until_complete(link.raw.close(timeout=5))
            self.loop.close()
            self.loop = None

    def _close(self):
        link = self.connection
        if link is not None:
            with contextlib.suppress(Exception):
                self.loop.run_until_complete(link.raw.close(timeout=5))
            self.loop.close()
            self.loop = None

    def close(self):
        super().close()
        if not self.in_atomic_block:
            self.connection = None

"""Whether this process may be sent requests, and if not, what is missing.

It may when the database answers within `TIMEOUT_SECONDS`, every migration of the code is applied to
it, and the process is not about to stop. The migrations of the code are read from disk once, when
this module is imported; those of the database on each call, in one query.

Their names are enough. Django's loader would import them all, and its framework: 2 MiB of a worker.
"""

import asyncio
import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django import db as django_db
from django.apps import apps
from django.conf import settings

from app import db
from app.errors import Unavailable
from app.ops.draining import draining

TIMEOUT_SECONDS = 2.0

Migration = tuple[str, str]  # an app's label and the migration's name


def read_migrations() -> dict[Migration, frozenset[Migration]]:
    """Each migration on disk, with those that it replaces when it is a squashed one."""
    return {
        (app.label, name): _replaced_by(f"{package}.{name}")
        for app in apps.get_app_configs()
        if (package := settings.MIGRATION_MODULES.get(app.label, f"{app.name}.migrations"))
        for name in _modules_of(package)
    }


def _modules_of(package: str) -> Iterator[str]:
    if find_spec(package) is not None:
        for module in pkgutil.iter_modules(import_module(package).__path__):
            if not module.ispkg and module.name[0] not in "_~":  # as Django's loader does
                yield module.name


def _replaced_by(name: str) -> frozenset[Migration]:
    """Only a squashed migration is imported, to see which ones it replaces."""
    spec: Any = find_spec(name)
    if "replaces" not in (spec.loader.get_source(name) or "replaces"):
        return frozenset()
    migration: Any = import_module(name).Migration
    return frozenset(migration.replaces)


def missing_migrations(
    on_disk: Mapping[Migration, frozenset[Migration]], applied: set[Migration]
) -> list[str]:
    """Those of the code that the database lacks, as `app.name`. A squashed migration and the ones
    that it replaces stand for each other."""
    present = set(applied)
    for key, replaced in on_disk.items():
        if key in applied:
            present |= replaced
        elif replaced and replaced <= applied:
            present.add(key)
    return sorted(f"{app}.{name}" for app, name in on_disk.keys() - present)


MIGRATIONS = read_migrations()


async def find_obstacles(
    migrations: Mapping[Migration, frozenset[Migration]] = MIGRATIONS,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> list[str]:
    """One sentence for each thing that keeps this process from serving; none when it may."""
    obstacles = ["draining: this process is about to stop"] if draining.is_on else []
    try:
        async with asyncio.timeout(timeout_seconds):
            applied = await _applied_migrations()
    except TimeoutError:
        return [*obstacles, f"database: no answer within {timeout_seconds:g} seconds"]
    except (django_db.Error, Unavailable, OSError) as error:
        return [*obstacles, f"database: {_first_line(error)}"]
    missing = missing_migrations(migrations, applied)
    if missing:
        obstacles.append(f"migrations: not applied: {', '.join(missing)}. Run manage.py migrate")
    return obstacles


async def _applied_migrations() -> set[Migration]:
    try:
        rows = await db.fetch("SELECT app, name FROM django_migrations")
    except django_db.ProgrammingError:
        return set()  # no such table: nothing has been applied yet
    return {(row["app"], row["name"]) for row in rows}


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__

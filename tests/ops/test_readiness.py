"""Readiness: what keeps a process from serving, named."""

import pytest

from app import db
from app.ops import readiness
from app.ops.readiness import missing_migrations

A, B, C = ("fleet", "0001_a"), ("fleet", "0002_b"), ("fleet", "0003_c")
SQUASHED = ("fleet", "0001_squashed_0002")
NONE: frozenset[readiness.Migration] = frozenset()


@pytest.mark.parametrize(
    ("on_disk", "applied", "missing"),
    [
        ({}, set(), []),
        ({A: NONE}, {A}, []),
        ({A: NONE, B: NONE}, {A}, ["fleet.0002_b"]),
        ({A: NONE}, {A, B}, []),
        ({SQUASHED: frozenset({A, B}), A: NONE, B: NONE}, {A, B}, []),
        ({SQUASHED: frozenset({A, B}), A: NONE, B: NONE}, {SQUASHED}, []),
        ({SQUASHED: frozenset({A, B})}, {A, B}, []),
        (
            {SQUASHED: frozenset({A, B}), C: NONE},
            {A},
            ["fleet.0001_squashed_0002", "fleet.0003_c"],
        ),
    ],
)
def test_missing_migrations_are_those_that_nothing_applied_stands_for(
    on_disk: dict[readiness.Migration, frozenset[readiness.Migration]],
    applied: set[readiness.Migration],
    missing: list[str],
) -> None:
    assert missing_migrations(on_disk, applied) == missing


def test_migrations_of_every_app_are_read_from_disk() -> None:
    assert {"accounts", "fleet", "sessions"} <= {app for app, _ in readiness.MIGRATIONS}


@pytest.mark.asyncio
async def test_nothing_stands_in_the_way_of_a_migrated_database(transaction: None) -> None:
    assert await readiness.find_obstacles() == []


@pytest.mark.asyncio
async def test_an_unapplied_migration_is_named(transaction: None) -> None:
    await db.execute("DELETE FROM django_migrations WHERE app = 'fleet' AND name = '0001_initial'")
    (obstacle,) = await readiness.find_obstacles()
    assert "fleet.0001_initial" in obstacle
    assert "manage.py migrate" in obstacle


@pytest.mark.asyncio
async def test_an_empty_database_lacks_every_migration(transaction: None) -> None:
    await db.execute("ALTER TABLE django_migrations RENAME TO elsewhere")
    (obstacle,) = await readiness.find_obstacles()
    assert "accounts.0001_initial" in obstacle

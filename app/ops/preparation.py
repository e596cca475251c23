"""What has to be true before the API serves: the tables are there, and someone can log in.

Importing this module sets Django up, which reads DATABASE_URL.
"""

import contextlib
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import django
import psycopg

from settings import env

env.put("DJANGO_SETTINGS_MODULE", env.text("DJANGO_SETTINGS_MODULE", "settings.development"))
django.setup()

from django.core.management import call_command  # noqa: E402 - Django is set up first
from django.db import DatabaseError, connection  # noqa: E402
from django.db.migrations.executor import MigrationExecutor  # noqa: E402
from django.utils import timezone  # noqa: E402

from app import db  # noqa: E402
from app.accounts import services  # noqa: E402
from app.accounts.models import Token, User  # noqa: E402

ADMINISTRATOR = "admin"
LIFETIME = timedelta(hours=12)
CONNECT_SECONDS = 10


class PreparationError(Exception):
    """The database can't serve; the message is one line that names the cause and the remedy."""


@dataclass
class Prepared:
    """The credentials of this run. `password` and `token` are there on the first run only."""

    agent_token: str = ""
    reader_token: str = ""
    password: str | None = None
    token: str | None = None
    minted: list[Token] = field(default_factory=list)

    def describe(self, url: str, seconds: float) -> str:
        """What a person is told once the API is ready."""
        report = f"{url}/api/v1/reports/density/"
        lines = [
            f"Stowage is ready, after {seconds:.1f} seconds.",
            "",
            f"  Browse   {url}/api/v1/",
            f"  Picture  {report}?format=svg",
            f"  Try      curl -H 'Authorization: Bearer {self.reader_token}' {report}",
            "           (this token only reads; it ends with this run, or after 12 hours)",
        ]
        if self.password is None:
            lines += [
                f"  Log in   as {ADMINISTRATOR}; for a new password:"
                f" .venv/bin/python manage.py changepassword {ADMINISTRATOR}"
            ]
        else:
            lines += [
                "",
                "Shown this once, and stored only as digests:",
                f"  Log in as {ADMINISTRATOR} with password {self.password}",
                f"  A token of yours that reads and writes: {self.token}",
            ]
        return "\n".join([*lines, "", "Ctrl-C stops all of it; the data is kept.", ""])


# What the driver says, and what helps. The first line that fits.
REMEDIES = {
    "password authentication failed": "Correct user and password",
    "no password supplied": "Add the password: postgresql://user:password@…",
    "does not exist": "Create it, or correct the name",
    "failed to resolve host": "Correct the host",
    "invalid response to SSL": "What answers there is no PostgreSQL: correct host and port",
    "expected authentication": "What answers there is no PostgreSQL: correct host and port",
    "Connection refused": "Start PostgreSQL there, or correct host and port",
    "No such file": "Start PostgreSQL there, or correct the directory of its socket",
    "timeout": "Correct host and port, or let this machine through to it",
    "permission denied": "Let the user create tables there (GRANT CREATE ON SCHEMA public)",
    "No space left": "Free some of its disk",
}


def explain(error: Exception) -> str:
    """One line for a person: what the database says, and what to do about DATABASE_URL."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    cause = re.sub(r"^connection (failed|is bad): ", "", lines[0]).rstrip(".")
    remedy = next((told for sign, told in REMEDIES.items() if sign in cause), "Correct it")
    return f"DATABASE_URL: {cause}. {remedy}, or unset DATABASE_URL for the embedded PostgreSQL."


def migrate() -> None:
    """Apply what is not applied yet. Raises PreparationError when the database won't have it."""
    try:
        check_reachable()
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", interactive=False, verbosity=0)
    except (DatabaseError, psycopg.Error) as error:
        raise PreparationError(explain(error)) from error
    finally:
        connection.close()


def check_reachable() -> None:
    """Connect, waiting no longer than `CONNECT_SECONDS`: Django itself waits for minutes."""
    parameters = {"connect_timeout": CONNECT_SECONDS, **connection.get_connection_params()}
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    psycopg.connect(**parameters).close()


@contextlib.asynccontextmanager
async def database() -> AsyncIterator[None]:
    """The pool, open for as long as the block runs."""
    await db.open()
    try:
        yield
    finally:
        await db.close()


async def prepare(place: str) -> Prepared:
    """Mint this run's tokens; on the first run make an administrator and a token as well. `place`
    tells this run from those of other machines on the same database: what an earlier run at the
    same place left behind when it was killed is taken back."""
    names = f"agent of {place}", f"printed by make up on {place}"
    async with database():
        await Token.objects.filter(name__in=names).adelete()
        administrator, password = await get_or_create_administrator()
        prepared = Prepared(password=password)
        if password is not None:
            _, prepared.token = await services.create_token(
                user=administrator, name="first run", scopes=["read", "write"]
            )
        prepared.agent_token = await mint(prepared, administrator, names[0], "agent", lifetime=None)
        prepared.reader_token = await mint(prepared, administrator, names[1], "read")
        return prepared


async def get_or_create_administrator() -> tuple[User, str | None]:
    """The administrator, and the password when this call made both."""
    administrator = await User.objects.filter(username=ADMINISTRATOR).afirst()
    if administrator is not None:
        return administrator, None
    password = secrets.token_urlsafe(12)
    made = await services.create_administrator(username=ADMINISTRATOR, password=password)
    return made, password


async def mint(
    prepared: Prepared, user: User, name: str, *scopes: str, lifetime: timedelta | None = LIFETIME
) -> str:
    """A token that `revoke` takes back; it expires by itself, should nobody come to that."""
    token, text = await services.create_token(
        user=user,
        name=name,
        scopes=scopes,
        expires_at=None if lifetime is None else timezone.now() + lifetime,
    )
    prepared.minted.append(token)
    return text


async def revoke(prepared: Prepared) -> None:
    """Delete the run's tokens."""
    async with database():
        await Token.objects.filter(pk__in=[token.pk for token in prepared.minted]).adelete()

"""What has to be true before the API serves: the tables are there, and someone can log in.

Importing this module sets Django up, which reads DATABASE_URL.
"""

import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import django

from settings import env

env.put("DJANGO_SETTINGS_MODULE", env.text("DJANGO_SETTINGS_MODULE", "settings.development"))
django.setup()

from django.core.management import call_command  # noqa: E402 - Django is set up first
from django.db import OperationalError, connection  # noqa: E402
from django.db.migrations.executor import MigrationExecutor  # noqa: E402
from django.utils import timezone  # noqa: E402

from app import db  # noqa: E402
from app.accounts import services  # noqa: E402
from app.accounts.models import Token, User  # noqa: E402

ADMINISTRATOR = "admin"
RUN_DAYS = 30


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
            "           (this token only reads, and ends with this run)",
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


def migrate() -> None:
    """Apply what is not applied yet. Raises PreparationError when the database can't be reached."""
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", interactive=False, verbosity=0)
    except OperationalError as error:
        cause = str(error).strip().splitlines()[-1]
        raise PreparationError(
            f"DATABASE_URL: {cause}. Mend it, or unset it for the embedded one."
        ) from error
    finally:
        connection.close()


@contextlib.asynccontextmanager
async def database() -> AsyncIterator[None]:
    """The pool, open for as long as the block runs."""
    await db.open()
    try:
        yield
    finally:
        await db.close()


async def prepare() -> Prepared:
    """Mint this run's tokens; on the first run make an administrator and a token as well."""
    async with database():
        administrator, password = await get_or_create_administrator()
        prepared = Prepared(password=password)
        if password is not None:
            _, prepared.token = await services.create_token(
                user=administrator, name="first run", scopes=["read", "write"]
            )
        prepared.agent_token = await mint(prepared, administrator, "agent of this run", "agent")
        prepared.reader_token = await mint(prepared, administrator, "printed by make up", "read")
        return prepared


async def get_or_create_administrator() -> tuple[User, str | None]:
    """The administrator, and the password when this call made both."""
    administrator = await User.objects.filter(username=ADMINISTRATOR).afirst()
    if administrator is not None:
        return administrator, None
    password = secrets.token_urlsafe(12)
    made = await services.create_administrator(username=ADMINISTRATOR, password=password)
    return made, password


async def mint(prepared: Prepared, user: User, name: str, *scopes: str) -> str:
    """A token that `revoke` takes back; it expires by itself, should nobody come to that."""
    expires_at = timezone.now() + timedelta(days=RUN_DAYS)
    token, text = await services.create_token(
        user=user, name=name, scopes=scopes, expires_at=expires_at
    )
    prepared.minted.append(token)
    return text


async def revoke(prepared: Prepared) -> None:
    """Delete the run's tokens."""
    async with database():
        await Token.objects.filter(pk__in=[token.pk for token in prepared.minted]).adelete()

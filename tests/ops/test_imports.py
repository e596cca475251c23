"""What a worker of production holds in memory: see tests/ops/lean_worker.py."""

import json
import subprocess
import sys
from urllib.parse import urlencode

import pytest
from django.db import connections
from django.utils.functional import Promise, keep_lazy, lazy

from app.accounts import services as accounts
from app.ops.imports import keep_lazy_late
from settings import env
from tests.running import ROOT

pytestmark = [pytest.mark.asyncio, pytest.mark.programs]  # seconds, for a process of its own

FORBIDDEN = {
    "psycopg", "psycopg_binary", "requests", "markdown", "pygments", "yaml", "jsonschema",
    "drf_spectacular", "django.contrib.admin", "django.contrib.admindocs.utils",
    "django.contrib.auth.forms", "django.contrib.messages", "django.core.mail.message",
    "email.generator", "django.db.backends.base.schema", "django.contrib.postgres.forms.ranges",
    "django.test", "rest_framework.test",
    "app.rest.browsable", "app.rest.schemas", "app.fleet.schemas", "app.ops.embedded", "redis",
    "aiodocker", "aiohttp", "rich", "psutil", "unittest", "pytest",
}  # fmt: skip


@pytest.mark.timeout(30)  # on a machine that is busy
@pytest.mark.blocks("waits for a process of its own")
async def test_worker_of_production_imports_nothing_that_it_does_not_use(committed):
    user = await accounts.create_user(
        username="lean", password="correct horse battery", is_superuser=True
    )
    _, token = await accounts.create_token(user=user, name="lean", scopes=["read", "write"])

    worker = run_worker(token)

    assert worker["unexpected"] == {}
    assert FORBIDDEN & set(worker["modules"]) == set()
    # Beside the libraries that any such server has; 23 MiB when this was written.
    assert worker["bytes"] < 30 * 2**20, f"{worker['bytes'] / 2**20:.1f} MiB"
    # Who asks for Django's own connection gets it, and psycopg with it.
    assert worker["synchronous"] == [1, "django.db.backends.postgresql.base"]
    assert worker["has_psycopg"]


@keep_lazy_late(keep_lazy)(str)
def shout(text, mark="!"):
    """Louder."""
    return f"{text}{mark}".upper()


async def test_functions_of_lazy_texts_give_lazy_texts_when_they_are_given_one():
    said = ["early"]
    lazy_text = lazy(lambda: said[-1], str)()

    assert shout("now") == "NOW!"
    assert type(shout("now")) is str
    for late in (shout(lazy_text), shout("late", mark=lazy_text)):
        assert isinstance(late, Promise)
    late = shout(lazy_text)
    said.append("late")
    assert f"{late}" == "LATE!"
    assert shout.__doc__ == "Louder."
    with pytest.raises(TypeError, match="at least one argument"):
        keep_lazy_late(keep_lazy)()


def run_worker(token):
    done = subprocess.run(
        [sys.executable, "-m", "tests.ops.lean_worker", token],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=env.inherited(
            DJANGO_SETTINGS_MODULE="settings.production", DATABASE_URL=database_url(),
            SECRET_KEY="lean-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789-lean",
            ALLOWED_HOSTS="localhost",
        ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def database_url():
    entry = connections["default"].settings_dict
    where = {"host": entry["HOST"], "port": entry["PORT"], **entry["OPTIONS"]}
    query = urlencode({key: value for key, value in where.items() if value})
    return f"postgresql://{entry['USER']}@/{entry['NAME']}?{query}"

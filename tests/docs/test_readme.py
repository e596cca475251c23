"""The README's five steps, followed to the letter in a copy of the project."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests import copies
from tests.docs.snippets import snippets

EXERCISE = textwrap.dedent(
    """
    import asyncio, json, os
    import django
    django.setup()
    from django.core.management import call_command
    from django.db import connection
    call_command("migrate", verbosity=0)
    connection.close()
    from app import db
    from app.accounts import services
    from app.rest.test import APIClient

    async def main():
        await db.open()
        user = await services.create_user(username="reader", role="operator")
        _, token = await services.create_token(user=user, name="t", scopes=["read", "write"])
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}", HTTP_HOST="localhost")
        url = "/api/v1/cranes/"
        answers = [
            await client.post(url, {"name": "Big Bertha", "lifts_tonnes": 60}, format="json"),
            await client.post(url, {"name": "big bertha", "lifts_tonnes": 61}, format="json"),
            await client.post(url, {"name": "Little Ann", "lifts_tonnes": -1}, format="json"),
            await client.get(url + "?search=bertha"),
        ]
        await db.close()
        return [[answer.status_code, answer.json()] for answer in answers]

    print(json.dumps(asyncio.run(main())))
    """
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project without the README's own example, which it may have followed already."""
    copies.make(tmp_path)
    shutil.rmtree(tmp_path / "app" / "cranes", ignore_errors=True)
    for name, line in (
        ("settings/base.py", '    "app.cranes",\n'),
        ("app/urls.py", "from app.cranes import urls as cranes\n"),
    ):
        path = tmp_path / name
        path.write_text(path.read_text().replace(line, ""))
    return tmp_path


@pytest.fixture
def database_url() -> str:
    return copies.database("readme_steps")


@pytest.mark.timeout(60)  # a copy of the project, migrated from nothing, in processes of its own
def test_five_steps_make_a_resource_that_lists_creates_and_refuses(
    copy: Path, database_url: str
) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "settings.development",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    for snippet in snippets("README.md"):
        if snippet.target:
            snippet.apply(copy)
        for command in snippet.commands:
            if "cranes" in command:
                run("bash", "-c", command.replace(".venv/bin/python", sys.executable))

    created, twice, negative, found = json.loads(run(sys.executable, "-c", EXERCISE))
    assert created[0] == 201
    assert twice == [400, {"name": ["A crane of that name exists. Choose another."]}]
    assert negative[0] == 400
    assert list(negative[1]) == ["lifts_tonnes"]
    assert [crane["name"] for crane in found[1]["results"]] == ["Big Bertha"]

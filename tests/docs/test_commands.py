"""Every command that the docs show is run somewhere in CI; the table says where."""

from pathlib import Path

import pytest

from tests.docs.snippets import ROOT, snippets

DOCUMENTS = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]

RUN_BY = {
    "make up": "tests/setup/test_up.py",
    "make test": ".ci/run",
    "docker compose up --build --wait": "tests/container/conftest.py",
    "docker compose exec api python manage.py create_": "tests/container/conftest.py",
    "curl -H 'Authorization: Bearer": "tests/setup/test_up.py",
    "curl -N -H": "tests/docs/test_streams.py",
    "docker compose": "tests/container/test_docs.py",
    "python -m app.agent": "tests/agent/test_main.py",
    "STOWAGE_URL=https://stowage.example": "tests/agent/test_main.py",
    ".venv/bin/python manage.py create_token": "tests/ops/test_server.py",
    "pytest -m container tests/agent": "tests/agent/test_docker_engine.py",
    "mkdir -p app/cranes/migrations": "tests/docs/test_readme.py",
    ".venv/bin/python manage.py makemigrations cranes": "tests/docs/test_readme.py",
    ".venv/bin/python manage.py startresource": "tests/ops/test_startresource.py",
    "python -m load.simulation": "tests/load/test_simulation.py",
    "python -m load.density": "tests/load/test_load.py",
    "python -m load.scale": "tests/load/test_load.py",
    "python -m load.ingest": "tests/load/test_load.py",
    "python -m load.answers": "tests/load/test_load.py",
    "python -m load.export": "tests/load/test_export.py",
    "python -m load.repack": "tests/load/test_load.py",
}
"""The start of a command, and the file that runs it."""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_the_docs_is_run_in_ci(document: str) -> None:
    commands = [command for snippet in snippets(document) for command in snippet.commands]
    strangers = [c for c in commands if not any(c.startswith(known) for known in RUN_BY)]
    assert strangers == [], f"{document} shows commands that nothing runs"


@pytest.mark.parametrize(("command", "file"), RUN_BY.items())
def test_what_runs_a_command_is_there_and_names_it(command: str, file: str) -> None:
    assert (ROOT / file).exists(), f"{command!r} is said to be run by {file}"


def test_links_between_documents_lead_somewhere() -> None:
    import re

    for document in DOCUMENTS:
        base = (ROOT / document).parent
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / document).read_text()):
            assert (base / Path(target)).exists(), f"{document} links to {target}"

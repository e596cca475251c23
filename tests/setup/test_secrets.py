"""The secrets of a compose stack."""

import stat
from pathlib import Path
from urllib.parse import unquote

import pytest

from app.ops import secrets
from settings import env


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    monkeypatch.delenv("DATABASE_PASSWORD", raising=False)
    (tmp_path / "api").mkdir()
    (tmp_path / "database").mkdir()
    return tmp_path / "api", tmp_path / "database"


def contents(places: tuple[Path, Path]) -> dict[str, str]:
    return {path.name: path.read_text() for place in places for path in place.iterdir()}


def test_first_start_makes_what_production_asks_for(places, monkeypatch) -> None:
    secrets.make(*places)
    made = contents(places)
    assert set(made) == {"secret_key", "database_url", "password"}
    monkeypatch.setenv("SECRET_KEY", made["secret_key"])
    assert env.secret("SECRET_KEY") == made["secret_key"]
    monkeypatch.setenv("DATABASE_URL", made["database_url"])
    assert env.database()["PASSWORD"] == made["password"]


def test_next_start_keeps_them(places) -> None:
    secrets.make(*places)
    before = contents(places)
    secrets.make(*places)
    assert contents(places) == before


def test_every_stack_has_its_own(places, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    secrets.make(*places)
    secrets.make(other, other)
    assert contents(places)["secret_key"] != (other / "secret_key").read_text()


def test_files_are_not_for_everybody(places) -> None:
    secrets.make(*places)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for place in places for path in place.iterdir()
    }
    assert modes == {"secret_key": 0o400, "database_url": 0o400, "password": 0o444}


def test_secrets_of_ones_own_are_taken(places, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "mine")
    monkeypatch.setenv("DATABASE_PASSWORD", "p@ss:/word")
    secrets.make(*places)
    made = contents(places)
    assert (made["secret_key"], made["password"]) == ("mine", "p@ss:/word")
    assert unquote(made["database_url"].partition("stowage:")[2].partition("@")[0]) == "p@ss:/word"


def test_secret_key_can_be_changed(places, monkeypatch) -> None:
    secrets.make(*places)
    monkeypatch.setenv("SECRET_KEY", "another")
    secrets.make(*places)
    assert contents(places)["secret_key"] == "another"


def test_password_that_the_database_does_not_know_is_refused(places, monkeypatch) -> None:
    secrets.make(*places)
    before = contents(places)
    monkeypatch.setenv("DATABASE_PASSWORD", "another")
    with pytest.raises(
        secrets.SecretsError, match="is not the one that this database was made with"
    ):
        secrets.make(*places)
    assert contents(places) == before

"""settings.env: the variables, by table. What is wrong is named, with the remedy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from settings import env

GOOD = [
    (lambda: env.text("X"), "hello", "hello"),
    (lambda: env.text("X"), "", ""),
    (lambda: env.flag("X"), "1", True),
    (lambda: env.flag("X"), "Yes", True),
    (lambda: env.flag("X", True), "off", False),
    (lambda: env.flag("X", True), "", False),
    (lambda: env.integer("X", 1), " 42 ", 42),
    (lambda: env.integer("X", 1, minimum=0), "0", 0),
    (lambda: env.choice("X", "A", {"A", "B"}), "b", "B"),
    (lambda: env.words("X"), "a, b ,,c", ["a", "b", "c"]),
    (lambda: env.words("X"), "", []),
    (lambda: env.hosts("X"), "a.example,.b.example,[::1]", ["a.example", ".b.example", "[::1]"]),
    (lambda: env.origins("X"), "https://a.example:8443", ["https://a.example:8443"]),
    (lambda: env.origins("X"), "", []),
    (lambda: env.secret("X"), "abcdefghij" * 5, "abcdefghij" * 5),
]

BAD = [
    (lambda: env.flag("X"), "maybe", "X='maybe' is not a boolean. Write 1 or 0."),
    (lambda: env.integer("X", 1), "1.5", "X='1.5' is not a whole number."),
    (lambda: env.integer("X", 1, minimum=1), "0", "X=0 is too small. Write 1 or more."),
    (lambda: env.choice("X", "A", {"A", "B"}), "C", "X='C' is unknown. Write one of A, B."),
    (lambda: env.hosts("X"), " , ", "X is empty. Write the names clients use"),
    (lambda: env.hosts("X"), "*", "X=* lets clients choose the server's name."),
    (
        lambda: env.hosts("X"),
        "https://a",
        "'https://a' is not a host name. Write it without scheme",
    ),
    (lambda: env.hosts("X"), "a:80", "'a:80' is not a host name."),
    (lambda: env.origins("X"), "a.example", "'a.example' is not an origin. Write it like https://"),
    (lambda: env.origins("X"), "https://a/b", "'https://a/b' is not an origin."),
    (lambda: env.secret("X"), "short", "X has 5 characters; 50 are needed. Make one: python"),
    (lambda: env.secret("X"), "x" * 60, "X can be guessed. Make one: python"),
    (lambda: env.secret("X"), "django-insecure-" + "abcdefghij" * 5, "X can be guessed."),
]

ADDRESSES = [
    (
        "postgresql://user:pass@db.example:5433/name",
        {"HOST": "db.example", "PORT": "5433", "NAME": "name", "USER": "user", "PASSWORD": "pass"},
    ),
    ("postgres://u@h/n", {"HOST": "h", "PORT": "", "NAME": "n", "USER": "u", "PASSWORD": ""}),
    ("postgresql://u:p%40%2F%3A@h/n%20x", {"PASSWORD": "p@/:", "NAME": "n x"}),
    ("postgresql://u@/n?host=/run/my%20sockets", {"HOST": "/run/my sockets", "OPTIONS": {}}),
    ("postgresql://u@[::1]:1/n", {"HOST": "::1", "PORT": "1"}),
    ("postgresql://u@h/n?sslmode=require", {"OPTIONS": {"sslmode": "require"}}),
]

BAD_ADDRESSES = [
    (
        "mysql://u@h/n",
        "DATABASE_URL starts with mysql://. Stowage runs on PostgreSQL: write postgr",
    ),
    ("nonsense", "DATABASE_URL is not a URL. Stowage runs on PostgreSQL"),
    ("", "DATABASE_URL is not a URL. Stowage runs on PostgreSQL"),
    ("postgresql://u@h", "DATABASE_URL names no database. End it with /name."),
    ("postgresql://u@h:port/n", "DATABASE_URL is not a URL:"),
    ("postgresql://u@h:99999/n", "DATABASE_URL is not a URL:"),
    ("postgresql://u@[::1/n", "DATABASE_URL is not a URL:"),
]


@pytest.mark.parametrize(("read", "value", "expected"), GOOD)
def test_good_value_is_read(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], Any], value: str, expected: Any
) -> None:
    monkeypatch.setenv("X", value)
    assert read() == expected


@pytest.mark.parametrize(("read", "value", "message"), BAD)
def test_bad_value_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], Any], value: str, message: str
) -> None:
    monkeypatch.setenv("X", value)
    with pytest.raises(env.SettingsError) as raised:
        read()
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("address", "expected"), ADDRESSES)
def test_address_of_a_database_is_read(
    monkeypatch: pytest.MonkeyPatch, address: str, expected: dict[str, Any]
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    assert expected.items() <= env.database().items()


@pytest.mark.parametrize(("address", "message"), BAD_ADDRESSES)
def test_bad_address_of_a_database_is_explained(
    monkeypatch: pytest.MonkeyPatch, address: str, message: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    with pytest.raises(env.SettingsError) as raised:
        env.database()
    assert message in str(raised.value)


@pytest.mark.parametrize("read", [env.text, env.secret, env.hosts])
def test_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, read: Any) -> None:
    monkeypatch.delenv("X", raising=False)
    with pytest.raises(env.SettingsError, match=r"X is not set\. Set it, or X_FILE to a file"):
        read("X")


def test_secret_never_shows_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "hunter2")
    with pytest.raises(env.SettingsError) as raised:
        env.secret("X")
    assert "hunter2" not in str(raised.value)


def test_password_never_shows_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ["mysql://u:hunter2@h/n", "postgresql://u:hunter2@h", "//u:hunter2@h/n"]:
        monkeypatch.setenv("DATABASE_URL", address)
        with pytest.raises(env.SettingsError) as raised:
            env.database()
        assert "hunter2" not in str(raised.value)


def test_file_stands_for_the_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("kept in a file\n")
    monkeypatch.setenv("X_FILE", str(tmp_path / "secret"))
    assert env.text("X", "default") == "kept in a file"
    monkeypatch.setenv("X", "the variable itself goes first")
    assert env.text("X") == "the variable itself goes first"


def test_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("X_FILE", str(tmp_path / "none"))
    with pytest.raises(env.SettingsError, match=r"X_FILE=.*none: No such file or directory\."):
        env.text("X")


def test_only_env_reads_the_environment() -> None:
    root = Path(env.__file__).parent.parent
    files = [*root.glob("settings/*.py"), *root.glob("app/**/*.py")]
    readers = [
        str(path.relative_to(root))
        for path in files
        if "os.environ" in path.read_text() or "os.getenv" in path.read_text()
    ]
    assert readers == ["settings/env.py"]

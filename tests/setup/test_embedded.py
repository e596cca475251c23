"""The embedded PostgreSQL: killed, in odd places, on a full disk, and as root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from app.ops import embedded

pytestmark = pytest.mark.timeout(60)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")


@contextmanager
def started(directory: Path) -> Iterator[str]:
    try:
        yield embedded.start(directory)
    finally:
        embedded.stop(directory)


def ask(address: str, sql: str) -> object:
    with psycopg.connect(address) as connection:
        row = connection.execute(sql).fetchone()
    assert row
    return row[0]


def tampered(directory: Path, pid: int) -> None:
    """Make the lock files of a killed server name another process."""
    for lock in [directory / "postmaster.pid", directory / ".s.PGSQL.5432.lock"]:
        lines = lock.read_text().splitlines()
        lock.write_text("\n".join([str(pid), *lines[1:]]) + "\n")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data of a server that has run once."""
    path = tmp_path_factory.mktemp("embedded") / "postgres"
    embedded.start(path)
    yield path
    embedded.stop(path)


def test_address_is_known_before_the_first_start(tmp_path: Path) -> None:
    known = embedded.address(tmp_path / "postgres")
    with started(tmp_path / "postgres") as address:
        assert address == known
        assert ask(address, "SELECT 1") == 1


def test_server_that_runs_is_adopted(directory: Path) -> None:
    embedded.start(directory)
    before = embedded._server_process(directory)
    embedded.start(directory)
    assert embedded._server_process(directory) == before


def test_stop_is_quiet_when_nothing_runs(tmp_path: Path) -> None:
    embedded.stop(tmp_path / "postgres")


def test_server_listens_on_no_port(directory: Path) -> None:
    with started(directory) as address:
        assert ask(address, "SHOW listen_addresses") == ""


def test_killed_server_recovers_what_was_committed(directory: Path) -> None:
    address = embedded.start(directory)
    with psycopg.connect(address) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
    process = embedded._server_process(directory)
    assert process
    process.kill()
    process.wait(10)
    with started(directory) as address:
        assert ask(address, "SELECT answer FROM kept") == 42


def test_lock_whose_number_another_process_has_by_now_is_no_obstacle(directory: Path) -> None:
    embedded.start(directory)
    process = embedded._server_process(directory)
    assert process
    process.kill()
    process.wait(10)
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            tampered(directory, other.pid)
            assert not embedded.is_running(directory)
            with started(directory) as address:
                assert ask(address, "SELECT 1") == 1
            assert other.poll() is None
        finally:
            other.kill()


@pytest.mark.parametrize("name", ['it\'s "a" %41 é', "one,two", "x" * 120], ids=repr)
def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name / "postgres"
    with started(directory) as address:
        assert ask(address, "SHOW data_directory") == str(directory)
        sockets = embedded.sockets(directory)
        assert sockets == directory or sockets.stat().st_mode & 0o077 == 0
    if sockets != directory:
        assert [path.name for path in sockets.iterdir()] == []
        sockets.rmdir()


def test_first_start_that_was_killed_leaves_nothing_half_done(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    with started(tmp_path / "postgres") as address:
        assert ask(address, "SELECT 1") == 1
    assert not (tmp_path / "postgres.new").exists()


def test_data_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(
        embedded.EmbeddedError, match=r"made by PostgreSQL 16, and this is 18\. Move"
    ):
        embedded.start(tmp_path / "postgres")


def test_server_that_will_not_start_is_quoted(tmp_path: Path) -> None:
    directory = tmp_path / "postgres"
    with started(directory):
        pass
    (directory / "postgresql.conf").write_text("nonsense = on\n")
    with pytest.raises(embedded.EmbeddedError) as raised:
        embedded.start(directory)
    said = str(raised.value)
    assert 'unrecognized configuration parameter "nonsense"' in said
    assert str(embedded.log_file(directory)) in said
    assert "\n" not in said


@needs_root
def test_full_disk_is_said_before_the_first_start(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "small", "16m") as small,
        pytest.raises(embedded.EmbeddedError) as raised,
    ):
        embedded.start(small / "postgres")
    assert str(raised.value) == (
        f"The disk under {small} is full: 16 MiB left, and PostgreSQL needs 192. Free some, or set "
        "DATABASE_URL to a server elsewhere."
    )


@needs_root
def test_disk_that_is_full_by_the_second_start_is_said(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "230m") as small:
        with started(small / "postgres"):
            pass
        free = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
        (small / "big").write_bytes(b"x" * (free - 2**20))
        with pytest.raises(embedded.EmbeddedError, match=r"is full: 1 MiB left, and .* needs 32\."):
            embedded.start(small / "postgres")
        (small / "big").unlink()
        with started(small / "postgres") as address:
            assert ask(address, "SELECT 1") == 1


@contextmanager
def mounted(path: Path, size: str) -> Iterator[Path]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "stowage", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@needs_root
def test_root_runs_it_as_another_and_opens_no_more_than_the_way(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with started(closed / "postgres"):
        process = embedded._server_process(closed / "postgres")
        assert process
        assert process.uids().real != 0
    assert closed.stat().st_mode & 0o777 == 0o701
    assert (closed / "postgres").stat().st_mode & 0o777 == 0o700

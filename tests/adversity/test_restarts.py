"""The server is restarted under load, by crash and in order: what was under way fails, the rest
waits a moment, a listener listens again. And how it refuses who is not let in.
"""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
import pytest_asyncio
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

from app import db
from app.db import links
from app.errors import Unavailable
from tests.adversity.interruptions import Interrupted
from tests.adversity.servers import Server
from tests.adversity.ways import assert_sound, reaching, until, witness_of

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(60),  # making a server and restarting it takes seconds, more on a busy host
]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server") / "postgres")
    server.make()
    yield server
    server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def account(server, database):
    """A table whose rows are moved between, so that a half-done transfer would show."""
    async with witness_of(server.entry) as witness:
        await witness.raw.execute("""
            DROP TABLE IF EXISTS account;
            CREATE TABLE account (id int PRIMARY KEY, boats int NOT NULL);
            INSERT INTO account SELECT n, 100 FROM generate_series(1, 10) n;
        """)


async def transfer(source: int, target: int) -> None:
    async with db.atomic():
        for number, boats in sorted([(source, -1), (target, 1)]):
            await db.execute("UPDATE account SET boats = boats + %s WHERE id = %s", boats, number)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_server_restarted_under_load(server, account, mode):
    failures: list[Exception] = []
    done, is_over = 0, False

    async def client(n: int) -> None:
        nonlocal done
        while not is_over:
            try:
                await transfer(n % 10 + 1, (n + 3) % 10 + 1)
                done += 1
            except OperationalError as error:
                failures.append(error)
                await asyncio.sleep(0.02)

    async with reaching(server.entry, max_size=5, wait_seconds=10, connect_seconds=5):
        clients = [asyncio.create_task(client(n)) for n in range(20)]
        await until(lambda: done > 50, 20)
        await asyncio.to_thread(server.restart, mode)
        before = done
        await until(lambda: done > before + 50, 20)
        opened = db.statistics()["opened"]
        failed = len(failures)
        await until(lambda: done > before + 150, 20)
        is_over = True
        await asyncio.gather(*clients)
        assert len(failures) == failed  # none once it is back
        assert opened >= 10
        # 5 were under way. The others found nobody there, which says that it may be tried again.
        lost = [error for error in failures if not isinstance(error, Unavailable)]
        assert len(lost) <= 5
        assert all(str(error) for error in failures)
        async with witness_of(server.entry) as witness:
            await assert_sound(witness)
            assert await witness.value("SELECT sum(boats) FROM account") == 1000


async def test_listener_survives_a_restart(server, database):
    heard: list[db.Notification] = []

    async def follow():
        async for notification in db.listen("tide", "wind"):
            heard.append(notification)  # noqa: PERF401 - seen as they come

    async with reaching(server.entry, connect_seconds=5):
        follower = asyncio.create_task(follow())
        await until(lambda: listens(2), 10)
        await db.notify("tide", "high")
        await until(lambda: len(heard) == 1, 20)
        await asyncio.to_thread(server.restart, "immediate")
        await until(lambda: len(heard) == 2, 20)
        assert heard[1].is_gap
        async with db.atomic():
            await db.notify("wind", "west")
            await asyncio.sleep(0.05)
            assert len(heard) == 2
        await until(lambda: len(heard) == 3, 20)
        assert [(each.channel, each.payload) for each in heard] == [
            ("tide", "high"),
            ("", ""),
            ("wind", "west"),
        ]
        follower.cancel()
        await asyncio.wait([follower])
        await until(lambda: listens(0), 20)


async def listens(number: int) -> bool:
    """True when the listener hears both channels (2) or is gone (0), seen by what the server runs.

    LISTEN takes effect at its end, and the server shows a statement from its start: only who has
    said the last one, and is idle, hears.
    """
    said = 'LISTEN "wind"%' if number else "LISTEN%"
    found = await db.fetch(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE %s"
        " AND (%s = 0 OR state = 'idle') AND pid <> pg_backend_pid()",
        said,
        number,
    )
    return bool(found[0]["n"]) == bool(number)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"PASSWORD": "wrong"},
            OperationalError,
            'password authentication failed for user "sailor". Change DATABASE_URL.',
        ),
        ({"NAME": "nowhere"}, OperationalError, 'database "nowhere" does not exist. Change '),
        ({"OPTIONS": {"sslmode": "require"}}, Unavailable, "does not answer: .*SSL"),
        ({"OPTIONS": {"sslmode": "sometimes"}}, ImproperlyConfigured, "DATABASE_URL.*sslmode"),
        (
            {"OPTIONS": {"sslmode": "verify-full", "sslrootcert": "/no/such.crt"}},
            ImproperlyConfigured,
            "DATABASE_URL.*/no/such.crt",
        ),
        ({"PORT": "1"}, Unavailable, "The database does not answer: .+127.0.0.1"),
        ({"HOST": "no-such-host.invalid"}, Unavailable, "The database does not answer: .+"),
    ],
    ids=["password", "database", "no TLS there", "sslmode", "sslrootcert", "port", "host"],
)
async def test_who_is_not_let_in_is_told_what_to_change(server, database, changes, error, message):
    async with reaching(server.entry | changes):
        for query in (db.fetch("SELECT 1"), plan_nothing()):
            with pytest.raises(error, match=message) as caught:
                await query
            assert "\n" not in str(caught.value)
            assert server.entry["PASSWORD"] not in str(caught.value)
        assert db.statistics()["size"] == 0


async def plan_nothing():
    from tests.conformance.db.models import Book

    return await db.Plan(Book.objects.filter(pk=db.Marker("pk"))).fetch(pk=1)


async def test_scram_password_of_any_characters(server, database):
    async with reaching(server.entry):
        [row] = await db.fetch("SELECT current_user AS me, inet_server_port() AS port")
        assert row == {"me": "sailor", "port": server.port}


async def test_too_many_clients_is_unavailable(server, database):
    """The server's own limit, reached by others: to be tried again, not an error of ours."""

    async def crowd(stack):
        for _ in range(40):
            await stack.enter_async_context(witness_of(server.entry))
            async with reaching(server.entry):
                await db.fetch("SELECT 1")

    async with contextlib.AsyncExitStack() as stack:
        with pytest.raises(Unavailable, match=r"too many clients|remaining connection slots"):
            await crowd(stack)


async def test_listener_notices_a_silent_server(witness, proxy, monkeypatch):
    """No goodbye, no error: it asks, and gets no answer."""
    monkeypatch.setattr(links, "TIDY_SECONDS", 0.2)
    heard: list[db.Notification] = []

    async def follow():
        async for notification in db.listen("tide", heartbeat_seconds=0.2):
            heard.append(notification)  # noqa: PERF401 - seen as they come

    async with reaching({"HOST": proxy.host}, connect_seconds=0.3):
        follower = asyncio.create_task(follow())
        await until(lambda: proxy.accepted)
        await asyncio.sleep(0.5)
        assert proxy.accepted == 1  # a quiet server that is there is not left
        proxy.stall()
        await until(lambda: proxy.accepted > 1)
        proxy.resume()
        await until(lambda: heard and heard[0].is_gap)
        await until(lambda: notified(witness, heard))
        follower.cancel()
        await asyncio.wait([follower])


async def notified(witness, heard) -> bool:
    await witness.value("SELECT pg_notify('tide', 'high')")
    return heard[-1].payload == "high"


async def test_listener_finds_nobody_at_the_start(database):
    async with reaching({"HOST": "127.0.0.1", "PORT": "1"}):
        with pytest.raises(Unavailable, match="does not answer"):
            await anext(db.listen("tide"))


async def test_listener_cancelled_at_every_wait(witness):
    at, was_reached = 0, True

    async def follow():
        async for _ in db.listen("tide", "wind"):
            return

    while was_reached:
        at += 1
        attempt = Interrupted(follow(), at, "answered")
        task = asyncio.create_task(take(attempt))
        await asyncio.sleep(0.02)
        await until(lambda task=task: heard_or_over(witness, task))
        await asyncio.wait([task])
        was_reached = attempt.was_reached
        await until(lambda: is_nobody_listening(witness))
    assert at > 4


async def take(attempt) -> None:
    await attempt


async def heard_or_over(witness, task) -> bool:
    await witness.value("SELECT pg_notify('tide', 'high')")
    return task.done()


async def is_nobody_listening(witness) -> bool:
    return not await witness.value(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    )

"""Through a real PgBouncer in transaction mode: whoever asks next may get another connection."""

import asyncio

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, NotSupportedError, OperationalError, connections

from app import db
from app.db.connections import current_pool
from app.errors import Unavailable
from tests.adversity.interruptions import Interrupted
from tests.adversity.servers import make_certificate, pgbouncer
from tests.adversity.ways import assert_sound, fill, is_settled, reaching, until
from tests.conformance.db import data
from tests.conformance.db import models as m
from tests.conformance.db.cases import CASES
from tests.conformance.db.shapes import shape

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.packages,
    pytest.mark.timeout(30),
]


@pytest.fixture(scope="module")
def bouncer(django_db_setup):
    """What differs from DATABASES["default"] to come through PgBouncer."""
    with pgbouncer(connections.settings["default"]) as entry:
        yield entry


@pytest.fixture
def stranger(tmp_path):
    """A certificate that did not sign the server's."""
    return str(make_certificate(tmp_path)[1])


@pytest.fixture
def library(django_db_setup, django_db_blocker):
    """The data of the conformance table."""
    with django_db_blocker.unblock():
        data.load()
        yield
        data.unload()


@pytest.fixture
def through(bouncer):
    return lambda **limits: reaching(bouncer, transaction_pooling=True, **limits)


async def ours(name):
    """What app.db gives for a case of the conformance table, each query on its own."""
    asked = CASES[name](db.objects)
    try:
        if isinstance(asked, tuple):
            queryset, method, args, kwargs = asked
            return shape(await getattr(queryset, f"a{method}")(*args, **kwargs))
        return shape([item async for item in asked])
    except Exception as error:  # noqa: BLE001 - the error is the outcome
        return type(error), str(error).partition("\n")[0]


async def test_every_queryset_gives_the_same(library, through):
    names = list(CASES)
    async with reaching():
        direct = [await ours(name) for name in names]
    async with through(max_size=8):
        bounced = []
        for start in range(0, len(names), 16):
            bounced += await asyncio.gather(*map(ours, names[start : start + 16]))
    different = [name for name, a, b in zip(names, direct, bounced, strict=True) if a != b]
    assert not different
    assert len(names) >= 300


async def work(n):
    """A bit of everything, for one of many tasks at once."""
    async with db.atomic():
        publisher = await m.Publisher.objects.acreate(name=f"W{n}", country="NL")
        with pytest.raises(IntegrityError):
            await insert_again(n)
        await publisher.books.acreate(title="T", price=1, pages=n, published="2020-01-01")
    books = m.Book.objects.select_related("publisher").filter(publisher__name=f"W{n}")
    assert [book.publisher.name async for book in books] == [f"W{n}"]
    plan = db.Plan(m.Book.objects.filter(publisher__name=db.Marker("name")).values_list("pages"))
    assert [tuple(row) for row in await plan.fetch(name=f"W{n}")] == [(n,)]
    assert [book.pages async for book in books.aiterator(chunk_size=1)] == [n]
    async with db.atomic(isolation="serializable", read_only=True):
        assert await db.fetch("SELECT current_setting('transaction_isolation') AS it") == [
            {"it": "serializable"}
        ]
    rows = [(1000 + n * 10 + k, f"C{n}-{k}", "DE") for k in range(5)]
    assert await db.copy_in(m.Publisher, columns=["id", "name", "country"], records=rows) == 5
    chunks = []

    async def keep(chunk):
        chunks.append(chunk)

    copied = m.Publisher.objects.filter(name__startswith=f"C{n}-").order_by("name")
    assert await db.copy_out(copied.values("name"), keep, header=False) == 5
    assert b"".join(chunks).split() == [f"C{n}-{k}".encode() for k in range(5)]
    await m.Publisher.objects.filter(name__startswith=f"C{n}-").adelete()


async def insert_again(n):
    async with db.atomic():
        await m.Publisher.objects.acreate(name=f"W{n}", country="NL")


async def test_many_tasks_at_once(shelf, witness, through):
    async with through(max_size=10):
        await asyncio.gather(*map(work, range(40)))
        assert db.statistics()["opened"] > 2  # more than PgBouncer has
        await until(is_settled)
    assert await witness.value("SELECT count(*) FROM conformance_book WHERE title = 'T'") == 40
    prepared = "SELECT count(*) FROM pg_prepared_statements"
    async with reaching():
        assert (await db.fetch(prepared))[0]["count"] <= 1


async def test_servers_connections_keep_no_statement_and_no_setting(shelf, witness, through):
    async with through(max_size=10):
        await asyncio.gather(*map(work, range(10)))
        seen = await asyncio.gather(*(look() for _ in range(10)))
    assert {row["pid"] for row in seen} <= {row["pid"] for row in seen}
    assert {(row["statements"], row["jit"]) for row in seen} == {(0, True)}


async def look():
    [row] = await db.fetch("""
        SELECT pg_backend_pid() AS pid, pg_sleep(0.02),
               (SELECT count(*) FROM pg_prepared_statements WHERE name <> '') AS statements,
               (SELECT setting = reset_val FROM pg_settings WHERE name = 'jit') AS jit
    """)
    return row


@pytest.mark.parametrize("moment", ["waiting", "answered"])
async def test_cancelled_at_every_wait(shelf, witness, through, moment):
    at, was_reached = 0, True

    async def move():
        async with db.atomic():
            await m.Book.objects.filter(pk=1).aupdate(pages=100)
            await m.Book.objects.filter(pk=2).aupdate(pages=200)
        await m.Book.objects.aget(pk=1)

    async def take(attempt):
        await attempt

    async with through(max_size=2):
        while was_reached:
            at += 1
            await fill(witness)
            attempt = Interrupted(move(), at, moment)
            task = asyncio.create_task(take(attempt))
            await asyncio.wait([task])
            was_reached = attempt.was_reached
            assert task.cancelled() == was_reached
            await assert_sound(witness)
            pages = await witness.value(
                "SELECT array_agg(pages ORDER BY id) FROM conformance_book WHERE id < 3"
            )
            assert pages in ([1, 2], [100, 200])
    assert at > 5


async def test_statement_left_half_prepared_does_not_hold_a_server(shelf, witness, through):
    """PgBouncer has two connections to the server: two that hang would be the end."""
    async with through(max_size=6):
        for _ in range(6):
            plan = db.Plan(m.Book.objects.extra(where=["pages = %s"], params=[db.Marker("n")]))
            with pytest.raises(Exception, match="invalid input"):
                await plan.fetch(n=b"seven")
        await asyncio.gather(*(m.Book.objects.acount() for _ in range(6)))
        await assert_sound(witness)


async def test_what_a_pooler_cannot_do_is_refused(through):
    async with through():
        with pytest.raises(NotSupportedError, match="names the server itself"):
            await anext(db.listen("tide"))
        await db.notify("tide", "high")  # one statement: works
    with pytest.raises(ImproperlyConfigured, match="ALTER ROLE"):
        async with through(statement_timeout_seconds=1):
            pass


async def is_encrypted():
    link = await current_pool().acquire()
    try:
        assert await link.fetch("SELECT 1", []) == [(1,)]
        return link.raw._transport.get_extra_info("ssl_object") is not None
    finally:
        link.release()


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("localhost", {}),  # verify-full
        ("127.0.0.1", {"sslmode": "verify-ca"}),  # signed by whom we trust, whatever its name
        ("127.0.0.1", {"sslmode": "require", "sslrootcert": ""}),
    ],
    ids=lambda value: value.get("sslmode") if isinstance(value, dict) else value,
)
async def test_tls(bouncer, host, options):
    options = {k: v for k, v in (bouncer["OPTIONS"] | options).items() if v}
    async with reaching(bouncer | {"HOST": host, "OPTIONS": options}, transaction_pooling=True):
        assert await is_encrypted()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PASSWORD": "wrong"}, r"(?i)authentication failed.*DATABASE_URL"),
        ({"HOST": "127.0.0.1"}, "certificate is not trusted: .*127.0.0.1.*sslrootcert"),
        ({"OPTIONS": {"sslmode": "verify-full"}}, "self.signed"),
    ],
    ids=["password", "name", "signer"],
)
async def test_who_is_not_let_in_is_told_what_to_change(bouncer, stranger, changes, message):
    entry = bouncer | changes
    if changes.get("OPTIONS"):
        entry["OPTIONS"] = changes["OPTIONS"] | {"sslrootcert": stranger}
    async with reaching(entry, transaction_pooling=True):
        with pytest.raises(OperationalError, match=message) as caught:
            await db.fetch("SELECT 1")
        assert "\n" not in str(caught.value)
        assert not isinstance(caught.value, Unavailable)  # waiting would not help

"""TCP with SCRAM and TLS, and PgBouncer in transaction mode: real ones."""

import asyncio

import pytest
from django.db import IntegrityError, OperationalError, connections

from app import db
from app.db.pools import Limits
from tests.conformance.db.models import Author, Book, Publisher
from tests.db.servers import pgbouncer, secure_postgres

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A server that asks for a SCRAM password and offers TLS. Gives its entry."""
    with secure_postgres(tmp_path_factory.mktemp("secure"), "pass word%/é") as entry:
        yield entry


@pytest.mark.container
async def test_scram_over_verified_tls_works(pool_to, secure):
    async with pool_to(**secure):
        sql = (
            "SELECT ssl, (SELECT current_user) AS me FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        )
        assert await db.fetch(sql) == [{"ssl": True, "me": "postgres"}]


@pytest.mark.container
async def test_a_wrong_password_is_said(pool_to, secure):
    async with pool_to(**{**secure, "PASSWORD": "wrong"}):
        with pytest.raises(OperationalError, match="password authentication failed"):
            await db.fetch("SELECT 1")


@pytest.mark.container
async def test_a_certificate_that_nobody_signed_is_refused(pool_to, secure):
    unverified = {
        **secure,
        "OPTIONS": {"sslmode": "verify-full", "sslrootcert": "/etc/ssl/certs/ca-certificates.crt"},
    }
    async with pool_to(**unverified):
        with pytest.raises(OperationalError, match="certificate"):
            await db.fetch("SELECT 1")


async def test_pgbouncer_in_transaction_mode(pool_to, committed, tmp_path):
    entry = dict(connections.settings["default"])
    with pgbouncer(tmp_path, entry) as port:
        limits = Limits(max_size=8, transaction_pooling=True)
        async with pool_to(limits, HOST="127.0.0.1", PORT=port) as pool:
            await asyncio.gather(*(work(n) for n in range(40)))
            assert pool.statistics()["opened"] > 2  # more than PgBouncer has
        assert await Book.objects.acount() == 40
        assert await Author.objects.acount() == 0


async def work(n):
    async with db.atomic():
        publisher = await Publisher.objects.acreate(name=f"P{n}", country="NL")
        with pytest.raises(IntegrityError):
            async with db.atomic():
                await Publisher.objects.acreate(name=f"P{n}", country="NL")
        await publisher.books.acreate(title="T", price=1, pages=n, published="2020-01-01")
    page = Book.objects.select_related("publisher").filter(publisher__name=f"P{n}")
    assert [book.publisher.name async for book in page] == [f"P{n}"]
    plan = db.Plan(Book.objects.filter(pages=db.Marker("pages")).values_list("title"))
    assert len(await plan.fetch(pages=n)) == 1
    assert [book.pages async for book in page.aiterator(chunk_size=1)] == [n]
    assert await page.aexists()

"""PostgreSQL over TCP with SCRAM and TLS of its own. See tests/adversity for PgBouncer."""

import pytest
from django.db import OperationalError

from app import db
from tests.db.servers import secure_postgres

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

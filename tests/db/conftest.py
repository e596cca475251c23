"""A pool of a test's own, beside that of all tests."""

import contextlib

import pytest

from app.db import connections, pools


@pytest.fixture
def pool_to(database):
    """A context manager: within it, app.db speaks to a server at another address."""

    @contextlib.asynccontextmanager
    async def use(limits=None, **changes):
        kept = connections._pool
        pool = pools.Pool(limits or pools.Limits())
        pool.entry = {**pool.entry, **changes}
        connections._pool = pool
        try:
            yield pool
        finally:
            connections._pool = kept
            await pool.close()

    return use

"""`rehearsal`: what is written is taken back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.db.statements import execute
from app.db.transactions import atomic


class _TakenBackError(Exception):
    """Rolls a rehearsal back."""


@asynccontextmanager
async def rehearsal() -> AsyncIterator[None]:
    """A transaction, or a savepoint, that is taken back at its end; it fails where committing it
    would have failed.
    """
    try:
        async with atomic():
            yield
            # Foreign keys are checked at commit, which is never reached.
            await execute("SET CONSTRAINTS ALL IMMEDIATE")
            raise _TakenBackError  # noqa: TRY301 - what leaves the block rolls it back
    except _TakenBackError:
        pass


__all__ = ["rehearsal"]

"""Tokens for a load run, minted in the database of this checkout and taken back after it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from app.ops import preparation


@contextmanager
def minted_tokens() -> Iterator[tuple[str, str]]:
    """A token that reads and writes, and one of an agent, for as long as the block runs."""
    run = preparation.Prepared()
    operator, agent = asyncio.run(mint_both(run))
    try:
        yield operator, agent
    finally:
        asyncio.run(preparation.revoke(run))


async def mint_both(run: preparation.Prepared) -> tuple[str, str]:
    async with preparation.database():
        administrator, _ = await preparation.get_or_create_administrator()
        operator = await preparation.mint(run, administrator, "load run", "read", "write")
        return operator, await preparation.mint(run, administrator, "load run", "agent")

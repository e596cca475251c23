"""Tokens for a load run, minted in the database of this checkout and taken back after it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from app.ops import preparation


@contextmanager
def minted_tokens() -> Iterator[tuple[str, str]]:
    """A token that reads and writes, and one of an agent, for as long as the block runs."""
    run = preparation.Prepared(agent_token="", reader_token="")
    operator, agent = asyncio.run(preparation.mint_for_load(run))
    try:
        yield operator, agent
    finally:
        asyncio.run(preparation.revoke(run))

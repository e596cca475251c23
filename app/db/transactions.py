"""Transactions on the async side."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def atomic(*, savepoint: bool = True, durable: bool = False) -> AsyncIterator[None]:
    yield


def on_commit(callback: Callable[[], Any]) -> None:
    callback()

"""Management commands whose work is asynchronous."""

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from app import db
from app.errors import DomainError, Invalid


class AsyncCommand(BaseCommand):
    """A command that says `ahandle` in place of `handle`: it runs in a loop of its own, with the
    pool open, and a domain error ends it with its message and exit status 1."""

    async def ahandle(self, **options: Any) -> None:
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            asyncio.run(self._run(**options))
        except DomainError as error:
            raise CommandError(in_one_line(error)) from error

    async def _run(self, **options: Any) -> None:
        await db.open()
        try:
            await self.ahandle(**options)
        finally:
            await db.close()


def in_one_line(error: DomainError) -> str:
    """What went wrong, and for each field that is to blame, why."""
    fields = error.fields if isinstance(error, Invalid) else {}
    reasons = [f"{name}: {' '.join(texts)}" for name, texts in fields.items()]
    return " ".join([error.detail, *reasons])

"""Django's database sessions on asyncpg: `SESSION_ENGINE = "app.accounts.sessions"`.

The table, the encoding and the synchronous methods stay Django's, so that its admin and its
`clearsessions` command go on working. What its asynchronous methods do in a thread is done here on
the connection of the request.
"""

import asyncio
from typing import Any

from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.contrib.sessions.models import Session
from django.db import IntegrityError
from django.utils import timezone

from app import db

CLEAR_SECONDS = 3600.0


class SessionStore(DatabaseSessionStore):
    async def aload(self) -> dict[str, Any]:
        """The session's data; when there is none, or it has expired, no data and no key."""
        row = await (
            db.objects(Session)
            .filter(session_key=self.session_key, expire_date__gt=timezone.now())
            .afirst()
        )
        if row is None:
            self._session_key = None
            return {}
        return self.decode(row.session_data)

    async def aexists(self, session_key: str) -> bool:
        return bool(await db.objects(Session).filter(session_key=session_key).aexists())

    async def asave(self, must_create: bool = False) -> None:
        """Raises CreateError when `must_create` and the key is taken, UpdateError when the session
        was deleted meanwhile (its user logged out elsewhere)."""
        if self.session_key is None:
            await self.acreate()
            return
        data = await self._aget_session(no_load=must_create)  # type: ignore[attr-defined]
        row = await self.acreate_model_instance(data)
        if must_create:
            try:
                async with db.atomic():
                    await db.objects(Session).abulk_create([row])
            except IntegrityError as error:
                raise CreateError from error
            return
        updated = await (
            db.objects(Session)
            .filter(session_key=row.session_key)
            .aupdate(session_data=row.session_data, expire_date=row.expire_date)
        )
        if not updated:
            raise UpdateError

    async def adelete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            await db.objects(Session).filter(session_key=key).adelete()

    @classmethod
    async def aclear_expired(cls) -> None:
        await db.objects(Session).filter(expire_date__lt=timezone.now()).adelete()


async def clear_expired_forever() -> None:
    """Once an hour. Each worker does it: a DELETE that finds nothing costs nothing."""
    while True:
        await asyncio.sleep(CLEAR_SECONDS)
        await SessionStore.aclear_expired()


__all__ = ["SessionStore"]

"""The session store on the request's own connection, held against Django's contract."""

from datetime import timedelta

import pytest
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.models import Session
from django.utils import timezone

from app import db
from app.accounts.sessions import SessionStore

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]


async def _stored(**data: object) -> SessionStore:
    session = SessionStore()
    await session.aupdate(data)
    await session.asave()
    return session


async def test_what_was_saved_is_loaded_by_key() -> None:
    session = await _stored(cargo="bananas")
    again = SessionStore(session.session_key)
    assert await again.aget("cargo") == "bananas"
    assert not again.modified


async def test_saving_again_updates_the_row() -> None:
    session = await _stored(cargo="bananas")
    await session.aset("cargo", "coffee")
    await session.asave()
    assert await SessionStore(session.session_key).aget("cargo") == "coffee"
    assert await db.objects(Session).acount() == 1


async def test_unknown_key_is_an_empty_session_that_forgets_the_key() -> None:
    session = SessionStore("x" * 32)
    assert await session.aget("cargo") is None
    assert session.session_key is None


async def test_expired_session_is_empty() -> None:
    session = await _stored(cargo="bananas")
    await db.objects(Session).aupdate(expire_date=timezone.now() - timedelta(seconds=1))
    assert await SessionStore(session.session_key).aget("cargo") is None


async def test_tampered_data_is_an_empty_session() -> None:
    session = await _stored(cargo="bananas")
    await db.objects(Session).aupdate(session_data="not:signed:data")
    assert await SessionStore(session.session_key).aget("cargo") is None


async def test_saving_a_session_deleted_meanwhile_is_an_update_error() -> None:
    session = await _stored(cargo="bananas")
    await SessionStore(session.session_key).adelete()
    with pytest.raises(UpdateError):
        await session.asave()


async def test_creating_a_taken_key_is_a_create_error() -> None:
    session = await _stored(cargo="bananas")
    with pytest.raises(CreateError):
        await SessionStore(session.session_key).asave(must_create=True)
    assert await SessionStore(session.session_key).aget("cargo") == "bananas"


async def test_cycling_the_key_keeps_the_data_under_a_new_key_only() -> None:
    session = await _stored(cargo="bananas")
    old = session.session_key
    await session.acycle_key()
    await session.asave()
    assert session.session_key != old
    assert not await session.aexists(old)
    assert await SessionStore(session.session_key).aget("cargo") == "bananas"


async def test_flushing_deletes_the_row_and_the_key() -> None:
    session = await _stored(cargo="bananas")
    await session.aflush()
    assert session.is_empty()
    assert not await db.objects(Session).aexists()


async def test_clearing_deletes_what_has_expired_and_nothing_else() -> None:
    old, new = await _stored(cargo="bananas"), await _stored(cargo="coffee")
    await (
        db.objects(Session)
        .filter(session_key=old.session_key)
        .aupdate(expire_date=timezone.now() - timedelta(days=1))
    )
    await SessionStore.aclear_expired()
    assert [row.session_key async for row in db.objects(Session).all()] == [new.session_key]

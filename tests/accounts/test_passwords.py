"""Password hashing: in a thread of its own, and never more waiting than can be served."""

import asyncio
import threading

import pytest

from app.accounts import passwords
from app.errors import Invalid, Unavailable

pytestmark = pytest.mark.asyncio


async def test_a_hash_is_made_and_verified_in_a_thread_of_its_own() -> None:
    name = await passwords.in_thread(lambda: threading.current_thread().name)
    assert name.startswith("passwords")
    encoded = await passwords.hash_password("correct horse")
    assert await passwords.verify_password("correct horse", encoded) == (True, False)
    assert await passwords.verify_password("wrong horse", encoded) == (False, False)


async def test_the_loop_goes_on_while_a_hash_is_made() -> None:
    release = threading.Event()
    hashing = asyncio.create_task(passwords.in_thread(release.wait))
    await asyncio.sleep(0)
    assert not hashing.done()
    release.set()
    assert await hashing


async def test_when_too_many_wait_the_next_is_told_to_come_back() -> None:
    release = threading.Event()
    waiting = [
        asyncio.create_task(passwords.in_thread(release.wait)) for _ in range(passwords.QUEUE_SIZE)
    ]
    await asyncio.sleep(0)
    try:
        with pytest.raises(Unavailable) as caught:
            await passwords.hash_password("correct horse")
    finally:
        release.set()
        await asyncio.gather(*waiting)
    assert caught.value.retry_after_seconds > 0
    assert await passwords.hash_password("correct horse")


async def test_a_cancelled_wait_makes_room_again() -> None:
    release = threading.Event()
    waiting = [
        asyncio.create_task(passwords.in_thread(release.wait)) for _ in range(passwords.QUEUE_SIZE)
    ]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    release.set()
    assert await passwords.hash_password("correct horse")


async def test_a_common_password_is_refused_with_the_reason() -> None:
    with pytest.raises(Invalid) as caught:
        await passwords.validate_password("password1234")
    assert "too common" in caught.value.fields["password"][0]

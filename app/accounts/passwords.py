"""Password hashing, off the event loop: the one thread hop that a request may take.

Rules. A hash costs hundreds of milliseconds of CPU on purpose, and releases the interpreter's lock:
it runs in a thread. Two threads are enough for people who log in, and few enough that guessing
can't take the machine. What waits is bounded: past `QUEUE_SIZE` the caller is told to come back.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.contrib.auth import hashers, password_validation
from django.core.exceptions import ValidationError

from app.errors import Invalid, Unavailable

T = TypeVar("T")

THREADS = 2
QUEUE_SIZE = 32

_executor = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="passwords")
_waiting = 0


async def hash_password(password: str) -> str:
    """The encoded hash. Raises Unavailable when too many wait already."""
    return await in_thread(hashers.make_password, password)


async def verify_password(password: str, encoded: str) -> tuple[bool, bool]:
    """Whether the password is right, and whether its hash is weaker than what is made today."""
    return await in_thread(hashers.verify_password, password, encoded)


async def validate_password(password: str, user: Any = None) -> None:
    """Hold the password against AUTH_PASSWORD_VALIDATORS, which read word lists from disk.

    Raises Invalid with the reasons under `password`.
    """
    try:
        await in_thread(password_validation.validate_password, password, user)
    except ValidationError as error:
        raise Invalid(
            "The password is too easy to guess.", fields={"password": list(error.messages)}
        ) from error


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Run `function` in one of the threads for passwords. Raises Unavailable when too many wait."""
    global _waiting  # noqa: PLW0603 - one counter beside one executor
    if _waiting >= QUEUE_SIZE:
        raise Unavailable("Too many people log in at once.", retry_after_seconds=5)
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_executor, function, *args)
    finally:
        _waiting -= 1

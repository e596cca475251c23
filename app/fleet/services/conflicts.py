"""What the database refused although validation let it through: another writer was quicker."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import IntegrityError

from app.errors import Conflict


@contextmanager
def conflicts(**messages: str) -> Iterator[None]:
    """Turn a violated constraint into a `Conflict`; `messages` says what each constraint means.

    Wrap the transaction, not a statement in it: after the violation the transaction is lost.
    """
    try:
        yield
    except IntegrityError as error:
        text = str(error)
        for constraint, message in messages.items():
            if constraint in text:
                raise Conflict(message) from error
        raise Conflict(
            "Another request changed the same objects at this moment. Read them again and retry."
        ) from error

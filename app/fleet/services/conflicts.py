"""What the database refused although validation let it through: another writer was quicker."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.db import IntegrityError

from app.errors import Conflict


@contextmanager
def conflicts(meanings: Mapping[str, tuple[str, str]] | None = None) -> Iterator[None]:
    """Turn a violated constraint into a `Conflict`; `meanings` maps a part of the constraint's name
    to the field and the message for the writer.

    Wrap the transaction, not a statement in it: after the violation the transaction is lost.
    """
    try:
        yield
    except IntegrityError as error:
        text = str(error)
        for constraint, (field, message) in (meanings or {}).items():
            if constraint in text:
                raise Conflict(message, fields={field: [message]}) from error
        raise Conflict(
            "Another request changed the same objects at this moment. Read them again and retry."
        ) from error

"""Reading batches of usage samples: one pass over the items, no serializer for each.

An item is {"container": id, "at": ISO 8601, "cpu_cores": number, "memory_bytes": whole number}.
The quick path reads an item that is right; only an item that is wrong pays for its messages.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from app.errors import Invalid
from app.fleet.models import MAX_BYTES, MAX_CPUS
from app.fleet.services import Sample
from app.fleet.validation import MAX_AHEAD

MAX_ID = 2**63 - 1
CHUNK = 2_000
"""Items read at a stretch: a few milliseconds."""

FIELDS = {"container", "at", "cpu_cores", "memory_bytes"}

REQUIRED = "This field is required."
NOT_OBJECT = (
    'Expected an object such as {"container": 1, "at": "2026-01-31T12:00:00Z", "cpu_cores": 0.5,'
    ' "memory_bytes": 1048576}.'
)
CONTAINER = (
    "Not the id of a container. Write the whole number that observing the host answered with."
)
UNKNOWN_CONTAINER = (
    "There is no container with this id. Report the host (POST hosts/observe/) and use the ids of"
    " the answer."
)
AT = "Not a moment. Write ISO 8601 with an offset, such as 2026-01-31T12:00:00Z."
CPU = f"Not a number of CPU cores between 0 and {MAX_CPUS}."
MEMORY = f"Not a whole number of bytes between 0 and {MAX_BYTES}."

Errors = dict[str, list[str]]


class TooManyError(Invalid):
    def __init__(self, maximum: int) -> None:
        super().__init__(
            f"More than {maximum} samples in one request. Send them in several.",
            code="too_many_samples",
        )


@dataclass(slots=True)
class Batch:
    """The samples that are right, the place of each; the errors of the others by their place."""

    samples: list[Sample] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    errors: dict[int, Errors] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.samples) + len(self.errors)

    def reject_containers(self, unknown: frozenset[int]) -> None:
        """Move the samples of containers that don't exist to the errors."""
        if not unknown:
            return
        pairs = list(zip(self.places, self.samples, strict=True))
        self.errors |= {
            place: {"container": [UNKNOWN_CONTAINER]}
            for place, sample in pairs
            if sample.container_id in unknown
        }
        kept = [(place, sample) for place, sample in pairs if sample.container_id not in unknown]
        self.places, self.samples = [p for p, _ in kept], [s for _, s in kept]


async def read_batch(
    items: Iterable[tuple[int, Any]], *, now: datetime, keep: timedelta, maximum: int
) -> Batch:
    """Read (place, item) pairs, and give the event loop a turn now and then.

    `keep` is how old a sample may be. An item may be an exception: a line that is no JSON.
    Raises TooManyError above `maximum` items, before they are all read.
    """
    batch = Batch()
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        if batch.count + len(chunk) > maximum:
            raise TooManyError(maximum)
        read_chunk(batch, chunk, earliest=now - keep, latest=now + MAX_AHEAD)
        if len(chunk) == CHUNK:
            await asyncio.sleep(0)
    return batch


def read_chunk(
    batch: Batch, chunk: Sequence[tuple[int, Any]], *, earliest: datetime, latest: datetime
) -> None:
    """Add the items to the batch: the quick path."""
    samples, places, parse = batch.samples, batch.places, datetime.fromisoformat
    for place, item in chunk:
        try:
            container, text = item["container"], item["at"]
            cpu, memory = item["cpu_cores"], item["memory_bytes"]
            if (
                len(item) == 4
                and type(container) is type(memory) is int
                and 0 < container <= MAX_ID
                and len(text) > 15  # a date alone is no moment
                and earliest <= (at := parse(text)) <= latest
                and (type(cpu) is float or type(cpu) is int)
                and 0 <= cpu <= MAX_CPUS
                and 0 <= memory <= MAX_BYTES
            ):
                samples.append(Sample(container, at, cpu, memory))
                places.append(place)
                continue
        except (TypeError, KeyError, ValueError, OverflowError):
            pass  # told apart below
        batch.errors[place] = _errors(item, earliest, latest)


def _errors(item: Any, earliest: datetime, latest: datetime) -> Errors:
    """What is wrong with an item that the quick path refused."""
    if isinstance(item, Exception):
        return {"non_field_errors": [f"{item} Correct this line."]}
    if not isinstance(item, dict):
        return {"non_field_errors": [NOT_OBJECT]}
    errors: Errors = {name: [REQUIRED] for name in sorted(FIELDS - item.keys())}
    for name in item.keys() - FIELDS:
        errors[name] = [f"Unknown field. Remove it; known are: {', '.join(sorted(FIELDS))}."]
    checks = {
        "container": _container_error,
        "cpu_cores": _cpu_error,
        "memory_bytes": _memory_error,
    }
    for name, check in checks.items():
        if name in item and (message := check(item[name])):
            errors[name] = [message]
    if "at" in item and (message := _at_error(item["at"], earliest, latest)):
        errors["at"] = [message]
    return errors


def _container_error(value: Any) -> str | None:
    return None if type(value) is int and 0 < value <= MAX_ID else CONTAINER


def _cpu_error(value: Any) -> str | None:
    return None if type(value) in (int, float) and 0 <= value <= MAX_CPUS else CPU


def _memory_error(value: Any) -> str | None:
    return None if type(value) is int and 0 <= value <= MAX_BYTES else MEMORY


def _at_error(value: Any, earliest: datetime, latest: datetime) -> str | None:
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return AT
    if at.tzinfo is None or len(value) < 16:
        return AT
    if at > latest:
        return (
            f"More than {MAX_AHEAD.seconds // 60} minutes ahead of the server's clock"
            f" ({_shown(latest - MAX_AHEAD)}). Set the clock of the sender (NTP)."
        )
    if at < earliest:
        return f"Older than samples are kept (since {_shown(earliest)}). Drop it."
    return None


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

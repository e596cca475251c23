"""Reading batches of samples: every wrong item is told what to change, every right one is kept."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.errors import Invalid
from app.fleet import samples
from app.fleet.models import MAX_BYTES, MAX_CPUS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = {"container": 1, "at": "2026-03-01T11:59:30Z", "cpu_cores": 0.5, "memory_bytes": 1024}


async def read(*items: Any, maximum: int = 100_000) -> samples.Batch:
    keep = timedelta(days=2)
    return await samples.read_batch(enumerate(items), now=NOW, keep=keep, maximum=maximum)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"cpu_cores": 0},
        {"cpu_cores": MAX_CPUS},
        {"memory_bytes": 0},
        {"memory_bytes": MAX_BYTES},
        {"at": "2026-03-01T12:05:00Z"},
        {"at": "2026-02-27T12:00:00+00:00"},
        {"at": "2026-03-01T17:29:00.123456+05:30"},
    ],
)
async def test_right_sample_is_read(change: dict[str, Any]) -> None:
    batch = await read(GOOD | change)
    assert (len(batch.samples), batch.errors) == (1, {})


@pytest.mark.asyncio
async def test_values_are_kept_as_sent() -> None:
    (sample,) = (await read(GOOD)).samples
    assert sample == (1, datetime(2026, 3, 1, 11, 59, 30, tzinfo=UTC), 0.5, 1024)


WRONG = [
    ({"container": "1"}, "container", "id of a container"),
    ({"container": True}, "container", "id of a container"),
    ({"container": 1.0}, "container", "id of a container"),
    ({"container": 0}, "container", "id of a container"),
    ({"container": -4}, "container", "id of a container"),
    ({"container": 2**63}, "container", "id of a container"),
    ({"container": None}, "container", "id of a container"),
    ({"at": None}, "at", "ISO 8601"),
    ({"at": 1740830370}, "at", "ISO 8601"),
    ({"at": "yesterday"}, "at", "ISO 8601"),
    ({"at": "2026-03-01"}, "at", "ISO 8601"),
    ({"at": "2026-03-01T11:59:30"}, "at", "with an offset"),
    ({"at": "2026-02-30T11:59:30Z"}, "at", "ISO 8601"),
    ({"at": "9999-12-31T23:59:59-23:00"}, "at", "ahead"),
    ({"at": "0001-01-01T00:00:00+23:00"}, "at", "Older"),
    ({"at": "2026-03-01T12:05:01Z"}, "at", "Set the clock"),
    ({"at": "2026-02-27T11:59:59Z"}, "at", "Drop it"),
    ({"cpu_cores": -0.1}, "cpu_cores", "between 0 and"),
    ({"cpu_cores": float("nan")}, "cpu_cores", "between 0 and"),
    ({"cpu_cores": float("inf")}, "cpu_cores", "between 0 and"),
    ({"cpu_cores": "0.5"}, "cpu_cores", "between 0 and"),
    ({"cpu_cores": True}, "cpu_cores", "between 0 and"),
    ({"cpu_cores": MAX_CPUS + 1}, "cpu_cores", "between 0 and"),
    ({"memory_bytes": -1}, "memory_bytes", "between 0 and"),
    ({"memory_bytes": 1.5}, "memory_bytes", "between 0 and"),
    ({"memory_bytes": False}, "memory_bytes", "between 0 and"),
    ({"memory_bytes": MAX_BYTES + 1}, "memory_bytes", "between 0 and"),
    ({"memory_bytes": 10**400}, "memory_bytes", "between 0 and"),
    ({"memroy_bytes": 1}, "memroy_bytes", "Unknown field"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("change", "field", "message"), WRONG)
async def test_wrong_sample_names_field_and_remedy(
    change: dict[str, Any], field: str, message: str
) -> None:
    batch = await read(GOOD, GOOD | change)
    assert list(batch.errors) == [1]
    assert list(batch.errors[1]) == [field]
    assert message in batch.errors[1][field][0]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", sorted(samples.FIELDS))
async def test_missing_field_is_required(name: str) -> None:
    item = {key: value for key, value in GOOD.items() if key != name}
    assert (await read(item)).errors == {0: {name: [samples.REQUIRED]}}


@pytest.mark.asyncio
@pytest.mark.parametrize("item", [None, 1, "text", [], [GOOD]])
async def test_item_that_is_no_object_is_shown_one(item: Any) -> None:
    assert (await read(item)).errors == {0: {"non_field_errors": [samples.NOT_OBJECT]}}


@pytest.mark.asyncio
async def test_all_that_is_wrong_is_told_at_once() -> None:
    batch = await read({"container": 0, "cpu_cores": -1, "extra": 1})
    assert sorted(batch.errors[0]) == ["at", "container", "cpu_cores", "extra", "memory_bytes"]


@pytest.mark.asyncio
async def test_too_many_samples_are_refused_before_all_are_read() -> None:
    with pytest.raises(Invalid, match="Send them in several"):
        await read(*[GOOD] * 11, maximum=10)


@pytest.mark.asyncio
async def test_samples_of_unknown_containers_become_errors() -> None:
    batch = await read(GOOD, GOOD | {"container": 9}, GOOD)
    batch.reject_containers(frozenset({9}))
    assert (batch.places, list(batch.errors), batch.count) == ([0, 2], [1], 3)

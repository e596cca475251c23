"""What is remembered of the right-sizing report's order is as computed anew, whatever changes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from app import db
from app.fleet import advice, remembered, services
from app.fleet.models import Container, OOMKill, UsageSummary, Workload
from app.fleet.remembered import Memory, Remembered
from app.fleet.rightsizing import State
from app.fleet.rightsizing_queries import Members
from tests.fleet.test_rightsizing_report import two_workloads

KNOWN = Remembered(7, 500.0, 1000.0, State.OK, None, 2.0)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


def test_it_is_found_under_its_stamp_and_until_its_time() -> None:
    memory = Memory()
    memory.keep((True, 1), KNOWN)
    assert memory.find((True, 1), stamp=7, at=at(999)) == KNOWN
    assert memory.find((True, 1), stamp=8, at=at(999)) is None
    assert memory.find((False, 1), stamp=7, at=at(999)) is None
    assert memory.find((True, 1), stamp=7, at=at(1000)) is None
    assert memory.find((True, 1), stamp=7, at=at(499)) is None


def test_the_oldest_is_forgotten_first() -> None:
    memory = Memory(most=2)
    for pk in (1, 2, 3):
        memory.keep((True, pk), KNOWN)
    assert [memory.find((True, pk), stamp=7, at=at(500)) for pk in (1, 2, 3)] == [
        None,
        KNOWN,
        KNOWN,
    ]


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
@pytest.mark.timeout(30)  # some thousand samples, and the order computed a dozen times
@pytest.mark.parametrize("is_workload", [True, False])
async def test_whatever_changes_it_is_as_computed_anew(
    is_workload: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.fleet import rollups

    observed = await two_workloads()
    now = timezone.now()
    await rollups.roll_up(now=now)
    big = await Workload.objects.aget(name="big")
    one = await Container.objects.aget(pk=observed["big"])
    one.cpu_reservation, one.memory_reservation_bytes, one.memory_limit_bytes = 1.0, 2**30, 2**31
    await one.asave()
    model = Workload if is_workload else Container
    ids = sorted([pk async for pk in db.objects(model).values_list("pk", flat=True)])

    async def keys(when: datetime = now) -> list[advice.Key]:
        found = await advice.fetch_keys(ids=ids, is_workload=is_workload, at=when, open_max=0)
        return sorted(found)

    async def anew(when: datetime = now) -> list[advice.Key]:
        with monkeypatch.context() as patch:
            patch.setattr(remembered, "MEMORY", Memory())
            return await keys(when)

    before = await keys()
    assert before == await anew()
    assert {key.state for key in before} != {State.INSUFFICIENT}

    async def lowers() -> None:
        await services.create_policy(workload=big, constants={"downsize_confidence_min": 0.5})

    async def is_killed() -> None:
        await db.objects(OOMKill).acreate(container=one, at=now, memory_bytes=3 * 2**30)

    async def declares_more() -> None:
        for subject in (big, one):
            subject.memory_reservation_bytes = 3 * 2**29
            await subject.asave()

    async def is_rolled_up() -> None:
        peaks = {str(int(now.timestamp() // 86_400)): [0.1, 2**35]}
        await (
            db.objects(UsageSummary)
            .filter(container=one)
            .aupdate(peaks=peaks, memory_weights={"60": 500.0})
        )

    for change in (lowers, is_killed, declares_more, is_rolled_up):
        previous = await keys()
        await change()
        assert await keys() == await anew(), change.__name__
        assert await keys() != previous, f"{change.__name__} makes no difference"
    later = now + timedelta(days=9)
    assert await keys(later) == await anew(later)
    assert await keys(later) != await keys()


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids whose evidence is read from now on."""
    read: list[int] = []
    fetch_members = advice.fetch_members

    async def counted(**values: Any) -> Any:
        read.extend([*values["workload_ids"], *values["container_ids"]])
        return await fetch_members(**values)

    monkeypatch.setattr(advice, "fetch_members", counted)
    return read


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
async def test_what_has_not_changed_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    await two_workloads()
    ids = [pk async for pk in Workload.objects.values_list("pk", flat=True)]
    now = timezone.now()
    first = await advice.fetch_keys(ids=ids, is_workload=True, at=now, open_max=0)
    read = count_reads(monkeypatch)
    again = await advice.fetch_keys(ids=ids, is_workload=True, at=now, open_max=0)
    assert sorted(again) == sorted(first)
    assert read == []


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
@pytest.mark.parametrize("is_workload", [True, False])
async def test_what_was_asked_for_is_carried_forward_before_the_next_request(
    is_workload: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.fleet import rollups

    monkeypatch.setattr(remembered, "MEMORY", Memory())
    observed = await two_workloads()
    now = timezone.now()
    model = Workload if is_workload else Container
    ids = sorted([pk async for pk in db.objects(model).values_list("pk", flat=True)])

    async def keys(when: datetime = now) -> list[advice.Key]:
        return sorted(
            await advice.fetch_keys(ids=ids, is_workload=is_workload, at=when, open_max=0)
        )

    assert await advice.carry_forward(at=now) == 0, "nobody asked for anything yet"
    before = await keys()
    await rollups.roll_up(now=now)
    assert await advice.carry_forward(at=now) == len(ids)

    read = count_reads(monkeypatch)
    after = await keys()
    assert read == []
    assert after != before
    monkeypatch.setattr(remembered, "MEMORY", Memory())
    assert await keys() == after
    assert sorted(read) == ids
    assert await advice.carry_forward(at=now + timedelta(hours=26)) == 0, "nobody asks any more"

    await Container.objects.filter(pk=observed["big"]).aupdate(state="removed")
    left = len(ids) - (0 if is_workload else 1)
    assert await advice.carry_forward(at=now) == left
    assert await advice.carry_forward(at=now) == left


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
async def test_several_who_ask_at_once_compute_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MEMORY", Memory())
    now = timezone.now()
    await two_workloads()
    rows = await advice._fetch_rows(
        [pk async for pk in Workload.objects.values_list("pk", flat=True)], True
    )
    policies = await advice.fetch_policies()
    stamps = {row["id"]: "the same" for row in rows}
    reads = 0

    async def fetch_stamps(*args: Any, **values: Any) -> dict[int, str]:
        return stamps

    async def fetch_members(**values: Any) -> Members:
        nonlocal reads
        reads += len(values["workload_ids"])
        await asyncio.sleep(0.01)
        return Members({}, {})

    monkeypatch.setattr(remembered, "fetch_stamps", fetch_stamps)
    monkeypatch.setattr(advice, "fetch_members", fetch_members)
    answers = await asyncio.gather(
        *(advice._remembered(rows, policies, True, now) for _ in range(3))
    )
    assert reads == len(rows)
    assert [sorted(one) for one in answers] == [sorted(answers[0])] * 3
    assert len(answers[0]) == len(rows)

"""What placement starts from, against the containers looked at one by one."""

import math
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from app.db.testing import assert_num_queries
from app.fleet.density_queries import build_host, fetch_hosts
from app.fleet.models import Container, Host, Usage, Workload
from app.fleet.placement_queries import Choice, fetch_harbour, group_of, moved
from app.fleet.policies import Policies
from app.fleet.policy import DEFAULT
from tests.fleet import one_by_one

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOBODYS = Policies({}, {})
CHOICE = Choice({}, is_recommended=False, policy=replace(DEFAULT, placement_buffer=0.1))
LABELS: list[dict[str, str]] = [
    {},
    {"other": "x"},
    {"stowage.pin": "true"},
    {"stowage.pin": "No"},
    {"stowage.constraints": " node.hostname!=h1 , node.labels.zone==a"},
    {"stowage.constraints": "what?", "stowage.pin": ""},
]


async def draw_fleet(seed: int) -> Any:
    """Hosts with containers of all kinds; the moment."""
    chance, now = random.Random(seed), timezone.now()
    workloads = [await Workload.objects.acreate(name=f"w{n}", image="x") for n in range(3)]
    for number in range(4):
        seen_at = now - timedelta(seconds=chance.choice([0, 3600]))
        host = await Host.objects.acreate(
            name=f"h{number}",
            cpus=8.0,
            memory_bytes=2**34,
            last_seen_at=seen_at,
            labels=chance.choice([{}, {"zone": "a"}, {"stowage.cordon": "yes"}]),
        )
        for each in range(chance.randrange(6)):
            one = await Container.objects.acreate(
                host=host,
                workload=chance.choice([*workloads, None]),
                name=f"c{each}",
                engine_id=f"{number}/{each}",
                state=chance.choice(["running", "paused", "exited"]),
                last_seen_at=seen_at,
                labels=chance.choice(LABELS),
                cpu_reservation=chance.choice([None, 0.0, 0.25, 1e-8]),
                memory_reservation_bytes=chance.choice([None, 0, 2**28]),
                memory_limit_bytes=chance.choice([None, 2**29]),
            )
            if chance.random() < 0.5:
                await Usage.objects.acreate(
                    container=one,
                    at=now - timedelta(seconds=5),
                    cpu_cores=chance.random(),
                    memory_bytes=chance.randrange(2**30),
                )
    return now


@pytest.mark.parametrize("seed", range(8))
async def test_cargo_is_what_each_container_comes_to(transaction: None, seed: int) -> None:
    now = await draw_fleet(seed)
    choice = replace(CHOICE, keeps_apart=seed % 2 == 0, pins_unmanaged=seed % 3 == 0)

    with assert_num_queries(2):
        harbour = await fetch_harbour(choice, policies=NOBODYS, at=now)

    hosts = [build_host(row) for row in await fetch_hosts(at=now, window_hours=1.0)]
    assert [berth.id for berth in harbour.berths] == [host.id for host in hosts]
    for berth, host in zip(harbour.berths, hosts, strict=True):
        shares, _ = one_by_one.tell_host(host, at=now, policy=DEFAULT)
        assert list(berth.cargo) == [one["id"] for one in shares]
        for share in shares:
            one, cargo = await Container.objects.aget(pk=share["id"]), berth.cargo[share["id"]]
            cpus, size = share["cpu"]["reservation"], share["memory"]["reservation"]
            is_managed, text = one.workload_id is not None, one.labels.get("stowage.constraints")
            assert (cargo.name, cargo.size) == (
                one.name,
                (max(1, math.ceil(cpus * 1e6 - 1e-6)), math.ceil(size)),
            )
            has_group = is_managed and choice.keeps_apart
            assert cargo.group == (group_of(one.workload_id or 0) if has_group else None)
            assert len(cargo.constraints) == (2 if text and "hostname" in text else 0)
            assert cargo.is_pinned == (
                text == "what?"
                or one.labels.get("stowage.pin") == "true"
                or (choice.pins_unmanaged and not is_managed)
            )
            extra = ["unreadable:constraints"] if text == "what?" else []
            assert list(cargo.flags) == share["flags"] + extra


async def test_moved_containers_are_where_they_will_be_and_no_other_is_moved(
    transaction: None,
) -> None:
    harbour = await fetch_harbour(CHOICE, policies=NOBODYS, at=await draw_fleet(5))
    before = [one for host in harbour.hosts for one in host.containers]
    target = harbour.hosts[0]
    chosen = before[-1]
    assert chosen not in target.containers

    after = list(moved(harbour, {chosen.id: target.id}))

    assert [host.id for host in after] == [host.id for host in harbour.hosts]
    assert list(after[0].containers) == [*target.containers, chosen]
    for host, was in zip(after[1:], harbour.hosts[1:], strict=True):
        assert list(host.containers) == [one for one in was.containers if one != chosen]

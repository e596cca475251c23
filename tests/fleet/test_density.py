"""The formulas, against cases computed by hand and by property."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fleet.density import Container, Host, Report, Resource, assess_host
from app.fleet.manifests import Containers
from app.fleet.policy import DEFAULT, MIB, Policy
from app.fleet.shares import Measure, count
from tests.fleet import one_by_one

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
GUIDE = Path(__file__).parents[2] / "docs" / "density.md"


def make_container(name="web", *, state="running", heard_at=NOW, samples=10, cpu=None, memory=None):
    return Container(
        id=sum(name.encode()),
        name=name,
        state=state,
        heard_at=heard_at,
        samples=samples,
        cpu=cpu or Measure(),
        memory=memory or Measure(),
    )


def make_host(
    *containers, name="alpha", cpus=8.0, memory=16 * 1024 * MIB, system=(0.5, 1024 * MIB)
):
    return Host(
        id=sum(name.encode()),
        name=name,
        labels={},
        last_seen_at=NOW,
        cpus=cpus,
        memory_bytes=memory,
        reserved_cpus=system[0],
        reserved_memory_bytes=system[1],
        containers=containers,
    )


def make_report(*hosts):
    return Report.of(hosts, at=NOW, window_hours=1.0)


FLOOR = 16.0

SHARES = [
    # (reservation, limit, now, p95) -> (reservation, limit, use, p95), and the basis of each;
    # the last two bases are `sample` where the row ends early
    ("all known", (100, 200, 50, 80), (100, 200, 50, 80), "declared declared"),
    ("no reservation", (None, 200, 50, 80), (80, 200, 50, 80), "p95 declared"),
    ("0 is none", (0, 0, 50, 80), (80, 80, 50, 80), "p95 stand_in"),
    ("P95 below it", (100, None, 50, 80), (100, 100, 50, 80), "declared stand_in"),
    ("P95 above it", (100, None, 50, 180), (100, 180, 50, 180), "declared stand_in"),
    ("idle", (None, None, 0, 0), (16, 16, 0, 0), "floor stand_in"),
    ("below the floor", (None, None, 3, 4), (16, 16, 3, 4), "floor stand_in"),
    ("limit below the floor", (None, 6, 3, 4), (6, 6, 3, 4), "floor declared"),
    ("P95 above the limit", (None, 70, 50, 80), (70, 70, 50, 80), "p95 declared"),
    ("no sample now", (100, 200, None, 80), (100, 200, 80, 80), "declared declared p95"),
    ("no sample", (9, 20, None, None), (9, 20, 9, 9), "declared declared assumed assumed"),
    ("nothing known", (None, None, None, None), (16, 16, 16, 16), "floor stand_in assumed assumed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("measured", "counted", "bases"),
    [case[1:] for case in SHARES],
    ids=[case[0] for case in SHARES],
)
def test_share_counts_with_what_stands_in(measured, counted, bases):
    share = count(Measure(*measured), floor=FLOOR)

    assert (share.reservation, share.limit, share.use, share.p95) == counted
    expected = [*bases.split(), "sample", "sample"][:4]
    assert expected == [
        share.reservation_basis,
        share.limit_basis,
        share.use_basis,
        share.p95_basis,
    ]


def test_worked_example_of_the_guide_is_what_the_code_computes():
    text = GUIDE.read_text(encoding="utf-8").split("## A worked example")[1]
    rows = [
        re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if line[:1] == "|"
    ]
    measured, sums, ratios = rows[2:6], rows[8:10], rows[12:14]
    containers = []
    for name, cpu, memory in measured:
        cores = [None if part == "-" else float(part) for part in cpu.split(" / ")]
        sizes = [None if part == "-" else float(part) * MIB for part in memory.split(" / ")]
        is_measured = cores[2] is not None
        containers.append(
            make_container(
                name, samples=int(is_measured), cpu=Measure(*cores), memory=Measure(*sizes)
            )
        )
    (host,) = make_report(make_host(*containers)).hosts

    for resource, unit, row, ratio_row in zip(Resource, (1, MIB), sums, ratios, strict=True):
        density = host.densities[resource]
        written = [float(cell.split("=")[-1]) for cell in row[1:]]
        computed = (
            density.allocatable,
            density.reservations,
            density.limits,
            density.use,
            density.use_p95,
        )
        assert [value / unit for value in computed] == pytest.approx(written)
        answer = density.as_dict()
        assert [answer[name] for name in ("packing", "usage", "overcommit", "slack")] == [
            float(cell) for cell in ratio_row[1:]
        ]


def test_container_without_limits_or_reservations_is_listed_per_resource():
    one = make_container(memory=Measure(100, 200, 50, 80))
    (host,) = make_report(make_host(one)).hosts

    assert host.as_dict()["flagged"] == [
        {
            "id": one.id,
            "name": "web",
            "state": "running",
            "flags": ["unlimited:cpu", "unreserved:cpu"],
        }
    ]


def test_container_with_everything_declared_and_measured_is_not_listed():
    whole = Measure(100, 200, 50, 80)
    (host,) = make_report(make_host(make_container(cpu=whole, memory=whole))).hosts

    assert host.as_dict()["flagged"] == []


def test_unmeasured_container_claims_no_slack():
    one = make_container(samples=0, memory=Measure(reservation=512 * MIB))
    (host,) = make_report(make_host(one)).hosts

    assert host.densities[Resource.MEMORY].slack == 0
    assert "unmeasured" in host.as_dict()["flagged"][0]["flags"]


@pytest.mark.parametrize(("silent_seconds", "is_stale"), [(0, False), (60, False), (61, True)])
def test_silence_longer_than_the_policy_makes_stale(silent_seconds, is_stale):
    heard_at = NOW - timedelta(seconds=silent_seconds)
    one = make_container(heard_at=heard_at)
    host = assess_host(make_host(one), at=NOW)

    (stowed,) = host.stowed()
    assert stowed.is_stale is is_stale
    assert ("stale" in stowed.flags) is is_stale


def test_host_is_heard_of_through_its_containers():
    old = NOW - timedelta(hours=1)
    host = make_host(make_container(heard_at=NOW))
    silent = make_host(make_container(heard_at=old))

    for one in (host, silent):
        object.__setattr__(one, "last_seen_at", old)

    assert not assess_host(host, at=NOW).is_stale
    assert assess_host(silent, at=NOW).is_stale


def test_host_that_never_reported_is_stale():
    host = make_host()
    object.__setattr__(host, "last_seen_at", None)
    report = make_report(host)

    (fleet, answer) = report.parts()
    assert answer["is_stale"]
    assert answer["heard_at"] is None
    assert fleet["fleet"]["stale_hosts"] == ["alpha"]


def test_empty_fleet_has_nulls_with_reasons():
    (answer,) = make_report().parts()

    assert answer["fleet"]["hosts"] == 0
    assert "no host" in answer["fleet"]["reason"]
    for resource in ("cpu", "memory"):
        density = answer["fleet"][resource]
        for ratio in ("packing", "usage", "overcommit", "slack"):
            assert density[ratio] is None
            assert density["reasons"][ratio]


def test_host_without_containers_is_packed_by_0_and_has_no_slack():
    (host,) = make_report(make_host()).hosts
    memory = host.as_dict()["memory"]

    assert (memory["packing"], memory["usage"], memory["slack"]) == (0, 0, None)
    assert list(memory["reasons"]) == ["slack"]


def test_host_that_keeps_everything_for_the_system_has_reasons_instead_of_ratios():
    host = make_host(make_container(), cpus=2.0, system=(2.0, 0))
    (answer,) = make_report(host).hosts
    cpu = answer.as_dict()["cpu"]

    assert (cpu["packing"], cpu["usage"], cpu["overcommit"]) == (None, None, None)
    assert (
        "no cpu is allocatable: capacity 2, reserved by the system 2" in cpu["reasons"]["packing"]
    )


def test_sizes_are_whole_bytes():
    one = make_container(memory=Measure(p95=100.5 * MIB + 0.25))
    (host,) = make_report(make_host(one)).hosts

    assert isinstance(host.as_dict()["memory"]["reservations"], int)


def test_policy_is_echoed_whole():
    (answer,) = make_report().parts()

    assert answer["policy"] == {
        name: getattr(DEFAULT, name) for name in Policy.__dataclass_fields__
    }


def test_every_constant_of_the_policy_has_a_docstring_or_a_heading():
    source = Path(__file__).parents[2].joinpath("app/fleet/policy.py").read_text(encoding="utf-8")
    undocumented = re.findall(r"^    (\w+): \w+ = .*\n    (?!\"\"\")", source, flags=re.MULTILINE)

    assert all(name.startswith("histogram_") for name in undocumented)


amounts = st.one_of(st.none(), st.floats(0, 2**40, allow_nan=False))


@st.composite
def measures(draw):
    reservation, limit, current, p95 = draw(st.tuples(amounts, amounts, amounts, amounts))
    if reservation and limit:
        reservation, limit = sorted((reservation, limit))
    return Measure(reservation, limit, current, p95)


containers = st.builds(
    make_container,
    st.sampled_from(["web", "db", "cache"]),
    samples=st.integers(0, 9),
    heard_at=st.sampled_from([NOW, NOW - timedelta(hours=1), None]),
    cpu=measures(),
    memory=measures(),
)
hosts = st.builds(
    lambda held, cpus, memory: make_host(*held, cpus=cpus, memory=memory, system=(0.0, 0)),
    st.lists(containers, max_size=6),
    st.floats(0.1, 256),
    st.integers(MIB, 2**42),
)


def in_columns(host):
    """The same host, as it is built from the database's rows."""
    return replace(host, containers=Containers.of(host.containers))


@settings(deadline=None)
@given(measures(), st.floats(0.001, 2**30))
def test_nothing_counts_as_0_and_a_reservation_never_exceeds_its_limit(measure, floor):
    share = count(measure, floor=floor)

    assert share.reservation > 0
    assert share.limit >= share.reservation
    assert (share.use > 0) or measure.current == 0 or measure.p95 == 0
    assert share.is_limited == bool((measure.limit or 0) >= 1e-9)
    assert share.is_reserved == bool((measure.reservation or 0) >= 1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(hosts, max_size=5))
def test_fleet_is_the_sum_of_its_hosts_and_hosts_of_their_containers(fleet):
    report = make_report(*fleet)

    for resource in Resource:
        whole = report.densities[resource]
        parts = [host.densities[resource] for host in report.hosts]
        for name in ("capacity", "allocatable", "reservations", "limits", "use", "use_p95"):
            assert getattr(whole, name) == pytest.approx(sum(getattr(one, name) for one in parts))
        for host, part in zip(report.hosts, parts, strict=True):
            shares = [stowed.share(resource) for stowed in host.stowed()]
            assert part.reservations == pytest.approx(sum(share.reservation for share in shares))
            for counts in part.basis.values():
                assert sum(counts.values()) == host.containers_counted


@settings(max_examples=40, deadline=None)
@given(st.lists(hosts, max_size=5))
def test_ratios_are_never_negative_and_slack_never_above_1(fleet):
    for host in make_report(*fleet).hosts:
        for density in host.densities.values():
            assert density.packing >= 0
            assert density.usage >= 0
            assert density.overcommit >= density.packing
            assert density.slack is None or density.slack <= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(hosts, max_size=3))
def test_answer_has_no_nan_and_is_the_same_twice(fleet):
    report = make_report(*fleet)
    first, second = (list(report.parts(with_containers=True)) for _ in range(2))

    assert first == second
    assert "nan" not in str(first)
    assert "inf" not in str(first)


@settings(max_examples=200, deadline=None)
@given(st.one_of(hosts, hosts.map(in_columns)))
def test_columns_come_to_what_container_by_container_does(host):
    assessed = assess_host(host, at=NOW)
    containers, sums = one_by_one.tell_host(host, at=NOW, policy=DEFAULT)

    answer = assessed.as_dict(with_containers=True)
    assert json.dumps(answer["containers"]) == json.dumps(containers)
    flagged = [
        {name: one[name] for name in ("id", "name", "state", "flags")}
        for one in containers
        if one["flags"]
    ]
    assert answer["flagged"] == flagged
    for resource, density in assessed.densities.items():
        amounts, basis = sums[resource]
        assert {name: getattr(density, name) for name in amounts} == amounts
        assert density.basis == basis
    assert [stowed.container for stowed in assessed.stowed()] == list(host.containers)
    assert [list(stowed.flags) for stowed in assessed.stowed()] == [
        one["flags"] for one in containers
    ]

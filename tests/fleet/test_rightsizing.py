"""Right-sizing against published values, cases computed by hand, and properties that must hold.

Published: kubernetes/autoscaler, vertical-pod-autoscaler/pkg/recommender: logic/estimator_test.go,
logic/recommender_test.go, model/container_test.go, util/decaying_histogram_test.go; and
robusta-dev/krr, robusta_krr/strategies/simple.py. Their numbers are facts; none of their code is
here.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fleet import histograms
from app.fleet.policy import DEFAULT, MIB
from app.fleet.rightsizing import (
    Amounts,
    Evidence,
    Kill,
    Part,
    Reason,
    State,
    assess,
    combine,
    confidence,
    memory_target,
)

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NONE = Amounts()
CPU, MEMORY = histograms.cpu_buckets(), histograms.memory_buckets()


Values = Sequence[float]


def part(
    cpu: Values = (0.1,),
    memory: Values = (100 * MIB,),
    at: datetime = NOW,
    times: int = 1,
) -> Part:
    def count(values: Values, buckets: histograms.Buckets) -> dict[str, float]:
        counts: dict[str, float] = {}
        for value in values:
            key = str(buckets.find(value))
            counts[key] = counts.get(key, 0) + times
        return counts

    return Part(at, count(cpu, CPU), count(memory, MEMORY))


def seen(
    cpu: Values = (0.1,),
    memory: Values = (100 * MIB,),
    days: float = 2,
    **more: Any,
) -> Evidence:
    """Enough to recommend by, unless `days` or `samples` say otherwise."""
    values: dict[str, Any] = {
        "samples": 10_000,
        "first_at": NOW - days * DAY,
        "last_at": NOW,
        "parts": (part(cpu, memory, times=100),),
        "cpu_peak": max(cpu),
        "memory_peak": max(memory),
        **more,
    }
    return Evidence(**values)


def kill(memory_bytes: int | None, *, at: datetime = NOW) -> Kill:
    return Kill(at, memory_bytes, 1)


class TestPublishedValues:
    def test_percentiles_are_vpas_within_five_percent(self) -> None:
        evidence = seen(cpu=[1.0, 2.0, 3.0], memory=[1e9, 2e9, 3e9])
        cpu, memory = evidence.weights()
        assert histograms.percentile(cpu, 0.2, CPU) == pytest.approx(1.0, rel=0.05)
        assert histograms.percentile(memory, 0.5, MEMORY) == pytest.approx(2e9, rel=0.05)

    def test_confidence_is_vpas(self) -> None:
        """Nine samples two minutes apart: 9 / (60 * 24)."""
        few = Evidence(samples=9, first_at=NOW, last_at=NOW + timedelta(minutes=16))
        assert confidence(few) == 0.00625

    def test_no_history_is_no_confidence(self) -> None:
        assert confidence(Evidence()) == 0.0

    def test_least_resources_are_vpas(self) -> None:
        """0.001 core and 1 MB with minima of 25 millicores and 250 MiB."""
        policy = replace(DEFAULT, cpu_floor_cores=0.025, memory_floor_bytes=250 * MIB)
        found = assess(seen(cpu=[0.001], memory=[1e6]), cpu=NONE, memory=NONE, policy=policy)
        assert found.cpu.target == Amounts(0.025, None)
        assert found.memory.target is not None
        assert found.memory.target.reservation == 250 * MIB

    @pytest.mark.parametrize(
        ("kills", "peak", "needed"),
        [
            ([1000], 0, 1200),  # by a fifth
            ([1000, 999, 999], 0, 1200),  # smaller ones do not add up
            ([1000, 999, 999, 2000], 0, 2400),  # a larger one counts
            ([3000], 3000, 3600),  # the sample was above the limit
        ],
    )
    def test_oom_kills_raise_as_vpas_do(self, kills: list[int], peak: int, needed: int) -> None:
        policy = replace(DEFAULT, memory_limit_oom_margin=1.2, memory_limit_step_bytes=MIB)
        evidence = seen(
            memory=[MIB], kills=tuple(kill(one * MIB) for one in kills), memory_peak=peak * MIB
        )
        assert memory_target(evidence, {}, policy).limit == needed * MIB

    def test_margin_is_on_the_percentile(self) -> None:
        """VPA: 3.14e9 and a tenth."""
        policy = replace(DEFAULT, memory_reservation_margin=1.1)
        evidence = seen(memory=[3.14e9])
        _, weights = evidence.weights()
        wanted = histograms.percentile(weights, 0.9, MEMORY)
        assert wanted == pytest.approx(3.14e9, rel=0.05)
        target = memory_target(evidence, weights, policy)
        assert target.reservation == pytest.approx(wanted * 1.1, abs=1)

    def test_merging_decayed_parts_is_vpas(self) -> None:
        """Values 1 and 2, an hour apart, with 3 and 2: as if all were in one."""
        policy = replace(DEFAULT, histogram_half_life_hours=1.0)
        hour = timedelta(hours=1)
        one = Evidence(parts=(part([1.0], at=NOW), part([2.0], at=NOW + hour)))
        other = Evidence(parts=(part([2.0], at=NOW + 2 * hour), part([3.0], at=NOW + hour)))
        weights, _ = combine([one, other]).weights(policy)
        expected = {1.0: 0.25, 2.0: 0.5 + 1, 3.0: 0.5}
        assert weights == {CPU.find(value): weight for value, weight in expected.items()}

    @pytest.mark.parametrize(
        ("peaks", "oom", "needed"),
        [([120, 180, 150], None, 207.0), ([120, 180, 150], 200, 250.0), ([200], 100, 230.0)],
    )
    def test_memory_is_krrs(self, peaks: list[int], oom: int | None, needed: float) -> None:
        """The highest peak of any pod and 15 %, or 25 % over the memory at an OOM kill."""
        policy = replace(DEFAULT, memory_limit_step_bytes=1)
        pods = [seen(memory=[peak * MIB]) for peak in peaks]
        if oom:
            pods[0] = pods[0]._replace(kills=(kill(oom * MIB),))
        limit = memory_target(combine(pods), {}, policy).limit
        assert limit == pytest.approx(needed * MIB, abs=1)

    @pytest.mark.parametrize("share", [0.95, 0.99])
    @pytest.mark.parametrize("pods", [1, 3])
    def test_cpu_is_krrs(self, pods: int, share: float) -> None:
        """The percentile of the samples of all pods together, here to the end of its bucket."""
        chance = random.Random(7)
        several = [[chance.lognormvariate(-1, 0.8) for _ in range(1440)] for _ in range(pods)]
        policy = replace(DEFAULT, cpu_reservation_percentile=share)
        evidence = combine([seen(cpu=values) for values in several])
        target = assess(evidence, cpu=NONE, memory=NONE, policy=policy).cpu.target
        together = sorted(value for values in several for value in values)
        place = share * (len(together) - 1)  # numpy's default: linear between two
        low, high = together[int(place)], together[int(place) + 1]
        krr = low + (high - low) * (place - int(place))
        assert target is not None
        assert target.limit is None
        assert krr * 0.999 <= (target.reservation or 0) <= krr * 1.06

    def test_points_required_are_krrs(self) -> None:
        assert assess(seen(samples=99), cpu=NONE, memory=NONE).cpu.reason is Reason.TOO_FEW_SAMPLES
        assert assess(seen(samples=100), cpu=NONE, memory=NONE).cpu.state is not State.INSUFFICIENT


class TestGates:
    def test_nothing_is_guessed(self) -> None:
        for evidence, reason in [
            (Evidence(), Reason.NO_SAMPLES),
            (seen(samples=50), Reason.TOO_FEW_SAMPLES),
            (seen(days=0.9), Reason.TOO_SHORT),
        ]:
            found = assess(evidence, cpu=Amounts(1.0), memory=Amounts(MIB))
            assert found.state is State.INSUFFICIENT
            assert found.memory.reason is found.cpu.reason is reason
            assert found.memory.recommended is found.cpu.recommended is None
            assert found.memory.saving is None

    def test_what_is_missing_is_set(self) -> None:
        found = assess(seen(), cpu=NONE, memory=NONE)
        assert (found.cpu.state, found.cpu.reason) == (State.SET, Reason.UNRESERVED)
        assert found.memory.state is State.SET
        assert found.memory.recommended == found.memory.target
        assert found.cpu.recommended is not None
        assert found.cpu.recommended.limit is None
        assert found.memory.saving is None  # nothing was reserved

    def test_first_limit_waits_for_confidence(self) -> None:
        young = seen(samples=1000)
        found = assess(young, cpu=NONE, memory=Amounts(128 * MIB, None)).memory
        assert (found.state, found.reason) == (State.OK, Reason.WITHIN_THRESHOLD)
        assert found.recommended == Amounts(128 * MIB, None)

    def test_more_than_is_needed_is_lowered_and_saved(self) -> None:
        found = assess(seen(), cpu=Amounts(1.0), memory=Amounts(2**30, 2**31))
        assert found.memory.state is found.cpu.state is State.LOWER
        assert found.memory.recommended == found.memory.target
        assert found.memory.saving == 2**30 - found.memory.target.reservation  # type: ignore[union-attr]

    def test_lowering_waits_for_confidence(self) -> None:
        found = assess(seen(samples=1000), cpu=Amounts(1.0), memory=Amounts(2**30, 2**31))
        for one in (found.memory, found.cpu):
            assert (one.state, one.reason, one.saving) == (State.OK, Reason.LOW_CONFIDENCE, 0)
        assert found.memory.recommended == Amounts(2**30, 2**31)
        assert found.memory.target != found.memory.recommended

    def test_nothing_is_lowered_after_an_oom_kill(self) -> None:
        found = assess(seen(kills=(kill(None),)), cpu=NONE, memory=Amounts(2**30, 2**31)).memory
        assert (found.state, found.reason) == (State.OK, Reason.OOM_IN_WINDOW)

    def test_small_changes_are_not_worth_it(self) -> None:
        target = assess(seen(), cpu=NONE, memory=NONE).memory.target
        assert target is not None
        assert target.reservation
        assert target.limit
        for change in (-15 * MIB, 15 * MIB):
            set_now = Amounts(target.reservation + change, target.limit + change)
            found = assess(seen(), cpu=NONE, memory=set_now).memory
            assert (found.state, found.recommended) == (State.OK, set_now)

    def test_more_use_than_reservation_is_raised(self) -> None:
        found = assess(seen(cpu=[0.5]), cpu=Amounts(0.25), memory=Amounts(10 * MIB, 20 * MIB))
        assert found.state is found.cpu.state is found.memory.state is State.RAISE
        assert found.memory.reason is Reason.NEEDS_MORE
        assert found.cpu.saving == pytest.approx(-0.25, abs=0.02)

    def test_oom_kill_raises_with_hardly_any_history(self) -> None:
        evidence = seen(samples=5, days=0.01, memory=[18 * MIB], kills=(kill(20 * MIB),))
        found = assess(evidence, cpu=NONE, memory=Amounts(None, 20 * MIB))
        assert (found.memory.state, found.memory.reason) == (State.RAISE, Reason.OOM_KILLED)
        assert found.memory.recommended == Amounts(
            23_575_000, 28 * MIB
        )  # 20.5 MB and 15 %; 25, in steps of 4
        assert found.cpu.state is State.INSUFFICIENT
        raised = assess(evidence, cpu=NONE, memory=found.memory.recommended)
        assert raised.memory.state is State.INSUFFICIENT

    def test_reservation_is_never_above_its_limit(self) -> None:
        found = assess(seen(memory=[100 * MIB]), cpu=NONE, memory=Amounts(None, 112 * MIB)).memory
        assert found.recommended is not None
        assert found.recommended.reservation <= found.recommended.limit  # type: ignore[operator]

    def test_old_peak_is_remembered_by_the_start_up_peak(self) -> None:
        evidence = seen(memory=[100 * MIB], startup_peak=400 * MIB)
        assert memory_target(evidence, evidence.weights()[1], DEFAULT).limit == 460 * MIB


DOCS = Path(__file__).resolve().parents[2] / "docs" / "rightsizing.md"


def worked_examples() -> list[list[str]]:
    """The rows of the docs' table of worked examples."""
    table = DOCS.read_text().partition("## Worked examples")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+) \|$", table, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows if row[0].isdigit()]


@pytest.mark.parametrize("row", worked_examples())
def test_docs_work_their_examples_out_right(row: list[str]) -> None:
    _, p90, peak, startup, oom, reservation, limit, _ = row
    weights = {MEMORY.find(float(p90) * MIB * 0.999): 1.0}
    wanted = histograms.percentile(weights, 0.9, MEMORY)
    assert wanted is not None
    evidence = Evidence(
        memory_peak=float(peak) * MIB,
        startup_peak=None if startup == "-" else float(startup) * MIB,
        kills=() if oom == "-" else (kill(int(oom) * MIB),),
    )
    target = memory_target(evidence, weights, DEFAULT)
    assert target.limit == float(limit) * MIB
    assert target.reservation == pytest.approx(float(reservation) * MIB, rel=0.06)


AMOUNT = st.one_of(st.none(), st.integers(1, 2**34))
SIZES = st.lists(st.integers(0, 2**33), min_size=1, max_size=6)
KILLS = st.lists(st.one_of(st.none(), st.integers(1, 2**33)), max_size=3)


@settings(deadline=None)
@given(
    memory=SIZES,
    kills=KILLS,
    samples=st.sampled_from([0, 1, 99, 100, 5000]),
    days=st.sampled_from([0.0, 0.5, 1.0, 30.0]),
    set_now=st.tuples(AMOUNT, AMOUNT),
)
def test_recommendation_is_never_below_the_floor_or_an_oom_kill(
    memory: list[int],
    kills: list[int | None],
    samples: int,
    days: float,
    set_now: tuple[int | None, int | None],
) -> None:
    evidence = seen(
        memory=[float(one) for one in memory],
        days=days,
        samples=samples,
        kills=tuple(kill(one) for one in kills),
    )
    current = Amounts(*set_now)
    if current.reservation and current.limit and current.reservation > current.limit:
        current = Amounts(current.limit, current.limit)
    found = assess(evidence, cpu=NONE, memory=current).memory
    if found.recommended is None:
        assert found.state is State.INSUFFICIENT
        return
    reservation, limit = found.recommended
    assert reservation is not None
    assert reservation >= max(DEFAULT.memory_floor_bytes, evidence.oom_peak or 0)
    if limit is not None:
        assert limit >= reservation
        assert limit >= (evidence.oom_peak or 0)


@settings(deadline=None)
@given(cpus=st.lists(st.floats(0, 64), min_size=1, max_size=6), reserved=st.floats(0.001, 64))
def test_cpu_is_never_below_the_floor(cpus: list[float], reserved: float) -> None:
    found = assess(seen(cpu=cpus), cpu=Amounts(reserved), memory=NONE).cpu
    assert found.recommended is not None
    assert found.recommended.reservation is not None
    assert found.recommended.reservation >= DEFAULT.cpu_floor_cores


PARTS = st.lists(
    st.tuples(
        st.integers(0, 2000),
        st.dictionaries(st.integers(0, 200).map(str), st.floats(0.001, 400), max_size=6),
    ),
    min_size=1,
    max_size=10,
)


@settings(deadline=None)
@given(parts=PARTS, seed=st.integers(), share=st.floats(0, 1))
def test_replicas_in_any_order_give_the_same_percentile(
    parts: list[tuple[int, dict[str, float]]], seed: int, share: float
) -> None:
    replicas = [
        Evidence(parts=(Part(NOW + timedelta(hours=hour), weights, weights),))
        for hour, weights in parts
    ]
    shuffled = random.Random(seed).sample(replicas, len(replicas))
    one, other = combine(replicas).weights(), combine(shuffled).weights()
    assert one == other
    for weights in (one, other):
        found = histograms.percentile(weights[0], share, CPU)
        assert found == histograms.percentile(one[0], share, CPU)


@settings(deadline=None)
@given(more=st.integers(1, 2**33))
def test_more_evidence_of_use_never_lowers_the_limit(more: int) -> None:
    before = memory_target(seen(), {}, DEFAULT)
    after = memory_target(combine([seen(), seen(memory=[float(more)])]), {}, DEFAULT)
    assert before.limit is not None
    assert after.limit is not None
    assert after.limit >= before.limit

"""Histograms against the values that VPA's own tests publish, and the properties that hours need.

Values: kubernetes/autoscaler, vertical-pod-autoscaler/pkg/recommender/util, histogram_test.go,
histogram_options_test.go and decaying_histogram_test.go.
"""

import random
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fleet import histograms
from app.fleet.histograms import Buckets
from app.fleet.models import MAX_BYTES, MAX_CPUS

START = datetime(2009, 2, 13, 23, 31, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Linear(Buckets):
    """VPA's linear options, which its tests use: bucket n begins at n."""

    def start(self, bucket: int) -> float:
        return bucket


class Tenths(Buckets):
    """Others of VPA's linear options: bucket n begins at n tenths."""

    def start(self, bucket: int) -> float:
        return bucket / 10


LINEAR = Linear(1.0, 1.0)
EXPONENTIAL = Buckets(40.0, 1.5)


@pytest.mark.parametrize(
    ("bucket", "start"), [(0, 0.0), (1, 40.0), (2, 100.0), (3, 190.0), (4, 325.0), (5, 527.5)]
)
def test_exponential_buckets_begin_where_vpas_do(bucket: int, start: float) -> None:
    assert EXPONENTIAL.start(bucket) == pytest.approx(start, rel=1e-15)


@pytest.mark.parametrize(("value", "bucket"), [(-1.0, 0), (39.99, 0), (40.0, 1), (100.0, 2)])
def test_values_fall_into_vpas_buckets(value: float, bucket: int) -> None:
    assert EXPONENTIAL.find(value) == bucket


PERCENTILES = [
    *((0.0, 2), (0.1, 2), (0.2, 3), (0.3, 3), (0.4, 4), (0.5, 4)),
    *((0.6, 4), (0.7, 5), (0.8, 5), (0.9, 5), (1.0, 5)),
]


@pytest.mark.parametrize(("share", "value"), PERCENTILES)
def test_percentiles_are_vpas(share: float, value: float) -> None:
    weights = {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}
    assert histograms.percentile(weights, share, LINEAR) == value


@pytest.mark.parametrize(("share", "least"), [(-0.1, 0.2), (1.1, 0.3)])
def test_shares_out_of_bounds_are_the_ends_as_vpas_are(share: float, least: float) -> None:
    tenths = Tenths(0.1, 1.0)
    weights = {1: 0.1, 2: 0.2}
    assert histograms.percentile(weights, share, tenths) == pytest.approx(least)
    assert histograms.percentile(weights | {0: 0.1}, -0.1, tenths) == pytest.approx(0.1)


def test_merging_at_one_moment_decays_nothing() -> None:
    """VPA's TestNoDecay and TestHistogramMerge: 1 and 2 with 2 and 3."""
    hours = [(START, {str(i): i}) for i in range(1, 5)]
    weights = histograms.merge(hours, at=START, half_life=HOUR)
    for share, value in PERCENTILES:
        assert histograms.percentile(weights, share, LINEAR) == value
    both = [(START, {"1": 1, "2": 1}), (START, {"2": 1, "3": 1})]
    assert histograms.merge(both, at=START, half_life=HOUR) == {1: 1, 2: 2, 3: 1}


DECAYED = [
    *((0.00, 2), (0.02, 2), (0.03, 3), (0.10, 3)),
    *((0.11, 4), (0.34, 4), (0.35, 5), (1.00, 5)),
]


@pytest.mark.parametrize(("share", "value"), DECAYED)
def test_decayed_percentiles_are_vpas(share: float, value: float) -> None:
    hours = [(START + (i - 1) * HOUR, {str(i): i}) for i in range(1, 5)]
    weights = histograms.merge(hours, at=START + 3 * HOUR, half_life=HOUR)
    assert histograms.percentile(weights, share, LINEAR) == value


def test_heavy_sample_decays_almost_wholly() -> None:
    hours = [(START, {"2": 1000}), (START + 20 * HOUR, {"1": 1})]
    weights = histograms.merge(hours, at=START + 20 * HOUR, half_life=HOUR)
    assert histograms.percentile(weights, 0.999, LINEAR) == 2
    assert histograms.percentile(weights, 1.0, LINEAR) == 3


def test_sample_of_a_hundred_half_lives_ago_is_gone() -> None:
    hours = [(START, {"2": 1}), (START + 101 * HOUR, {"1": 1})]
    weights = histograms.merge(hours, at=START + 101 * HOUR, half_life=HOUR)
    assert histograms.percentile(weights, 1.0, LINEAR) == 2


def test_nothing_has_no_percentile() -> None:
    assert histograms.percentile({}, 0.5, LINEAR) is None


COUNTS = st.dictionaries(st.integers(0, 200).map(str), st.integers(1, 400), max_size=8)
HOURS = st.lists(
    st.tuples(st.integers(0, 2000).map(lambda n: START + n * HOUR), COUNTS), max_size=12
)


@settings(deadline=None)  # a busy machine is no fault
@given(hours=HOURS, seed=st.integers(), share=st.floats(0.01, 0.99))
def test_merging_in_any_order_gives_the_same_percentile(
    hours: list[tuple[datetime, dict[str, int]]], seed: int, share: float
) -> None:
    shuffled = random.Random(seed).sample(hours, len(hours))
    at = START + 2000 * HOUR
    one = histograms.merge(hours, at=at, half_life=24 * HOUR)
    other = histograms.merge(shuffled, at=at, half_life=24 * HOUR)
    assert other == one, "not even in the last bit"
    buckets = histograms.cpu_buckets()
    told = [histograms.percentile(weights, share, buckets) for weights in (one, other)]
    assert told[0] == told[1]


@settings(deadline=None)
@given(value=st.floats(0, 1e5))
def test_value_lies_in_its_bucket(value: float) -> None:
    buckets = histograms.cpu_buckets()
    bucket = buckets.find(value)
    assert buckets.start(bucket) <= value * (1 + 1e-9)
    assert value <= buckets.start(bucket + 1) * (1 + 1e-9)


LAYOUTS = st.builds(
    Buckets,
    st.sampled_from([1e-4, 1e-3, 0.01, 0.013, 1.0]),
    st.sampled_from([1.01, 1.05, 1.5, 2.0]),
)
FEW = st.dictionaries(st.integers(0, 60).map(str), st.integers(1, 400), min_size=1, max_size=8)


@settings(deadline=None)
@given(bucket=st.integers(0, 300), old=LAYOUTS, new=LAYOUTS)
def test_bucket_of_another_layout_is_the_first_that_does_not_end_below(
    bucket: int, old: Buckets, new: Buckets
) -> None:
    found = histograms.find_above(bucket, old, new)
    assert new.start(found + 1) >= old.start(bucket + 1)
    assert found == 0 or new.start(found) < old.start(bucket + 1)
    assert histograms.find_above(bucket, old, old) == bucket
    assert histograms.find_above(bucket + 1, old, new) >= found


@settings(deadline=None)
@given(counts=FEW, share=st.floats(0, 1), old=LAYOUTS, new=LAYOUTS)
def test_another_layout_never_lowers_a_percentile(
    counts: dict[str, int], share: float, old: Buckets, new: Buckets
) -> None:
    before = histograms.percentile({int(key): n for key, n in counts.items()}, share, old)
    moved = histograms.rearrange(counts, old, new)
    after = histograms.percentile({int(key): n for key, n in moved.items()}, share, new)
    assert before is not None
    assert after is not None
    assert after >= before
    assert sum(moved.values()) == sum(counts.values())
    last = new.find(after * (1 - 1e-12))
    assert new.start(last) <= before * (1 + 1e-9), "the next bucket, no other"


@settings(deadline=None)
@given(hours=HOURS, layouts=st.lists(LAYOUTS, min_size=12, max_size=12), seed=st.integers())
def test_hours_of_several_layouts_are_merged_in_any_order(
    hours: list[tuple[datetime, dict[str, int]]], layouts: list[Buckets], seed: int
) -> None:
    into = histograms.cpu_buckets()
    moved = [
        (hour, histograms.rearrange(counts, layout, into))
        for (hour, counts), layout in zip(hours, layouts, strict=False)
    ]
    shuffled = random.Random(seed).sample(moved, len(moved))
    at = START + 2000 * HOUR
    one = histograms.merge(moved, at=at, half_life=24 * HOUR)
    assert histograms.merge(shuffled, at=at, half_life=24 * HOUR) == one


def test_table_for_the_database_says_what_python_does() -> None:
    layout = histograms.Layout(1.5, 0.01, 1e6)
    rows = orjson.loads(histograms.tabulate((histograms.STANDARD,), layout))
    assert {tuple(row["layout"]) for row in rows} == {tuple(histograms.STANDARD)}
    assert {row["is_cpu"] for row in rows} == {True, False}
    for row in rows:
        of = [one.cpu if row["is_cpu"] else one.memory for one in (histograms.STANDARD, layout)]
        assert row["target"] == str(histograms.find_above(int(row["bucket"]), *of))
    highest = [max(int(r["bucket"]) for r in rows if r["is_cpu"] is cpu) for cpu in (True, False)]
    assert histograms.STANDARD.cpu.start(highest[0]) > MAX_CPUS
    assert histograms.STANDARD.memory.start(highest[1]) > MAX_BYTES

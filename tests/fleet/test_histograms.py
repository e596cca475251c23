"""Histograms against the values that VPA's own tests publish, and the properties that hours need.

Values: kubernetes/autoscaler, vertical-pod-autoscaler/pkg/recommender/util, histogram_test.go,
histogram_options_test.go and decaying_histogram_test.go.
"""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fleet import histograms
from app.fleet.histograms import Buckets

START = datetime(2009, 2, 13, 23, 31, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Linear(Buckets):
    """VPA's linear options, which its tests use: bucket n begins at n."""

    def start(self, bucket: int) -> float:
        return bucket


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
    assert other == pytest.approx(one)


@settings(deadline=None)
@given(value=st.floats(0, 1e5))
def test_value_lies_in_its_bucket(value: float) -> None:
    buckets = histograms.cpu_buckets()
    bucket = buckets.find(value)
    assert buckets.start(bucket) <= value * (1 + 1e-9)
    assert value <= buckets.start(bucket + 1) * (1 + 1e-9)

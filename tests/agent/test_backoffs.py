"""Backoff: exponential, capped, jittered, and never sooner than the server asked for."""

import pytest

from app.agent.backoffs import Backoff


def test_waits_grow_to_the_cap_and_begin_anew_after_success():
    backoff = Backoff(lambda: 1.0, first_seconds=1, longest_seconds=60)
    assert [backoff.fail() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    backoff.succeed()
    assert backoff.fail() == 1


def test_jitter_is_full():
    assert Backoff(lambda: 0.0).fail() == 0.0
    assert Backoff(lambda: 0.5, first_seconds=8).fail() == 4.0


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_retry_after_is_never_undercut(draw):
    backoff = Backoff(lambda: draw)
    assert backoff.fail(retry_after_seconds=30) >= 30


def test_where_only_a_person_helps_waits_are_long_from_the_start():
    assert Backoff(lambda: 0.0).fail_slowly() == 30.0
    assert Backoff(lambda: 1.0).fail_slowly() == 90.0


def test_failures_without_end_do_not_overflow():
    backoff = Backoff(lambda: 1.0)
    assert {backoff.fail() for _ in range(2_000)} <= {1, 2, 4, 8, 16, 32, 60}

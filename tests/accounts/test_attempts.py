"""Guessing passwords: what is counted, for whom, and for how long."""

import pytest

from app.accounts import attempts
from app.accounts.attempts import Attempts, network_of

HERE = "192.0.2.1"
THERE = "192.0.2.2"


def _try_often(tries: Attempts, count: int, *, address: str = HERE, name: str = "ada") -> list[int]:
    return [tries.begin(address=address, name=name, now=float(n)) for n in range(count)]


def test_a_name_may_be_tried_five_times_from_one_address() -> None:
    assert _try_often(Attempts(), 6) == [0, 0, 0, 0, 0, 295]


def test_the_wait_ends_when_the_oldest_try_is_past() -> None:
    tries = Attempts()
    _try_often(tries, 5)
    assert tries.begin(address=HERE, name="ada", now=299.5) == 1
    assert tries.begin(address=HERE, name="ada", now=300.0) == 0
    assert tries.begin(address=HERE, name="ada", now=300.5) == 1


def test_a_refused_try_does_not_lengthen_the_wait() -> None:
    tries = Attempts()
    _try_often(tries, 50)
    assert tries.begin(address=HERE, name="ada", now=300.0) == 0


def test_nobody_is_locked_out_by_another_address() -> None:
    tries = Attempts()
    _try_often(tries, 50)
    assert tries.begin(address=THERE, name="ada", now=50.0) == 0


def test_an_address_that_tries_many_names_must_wait() -> None:
    tries = Attempts()
    waits = [tries.begin(address=HERE, name=f"user{n}", now=0.0) for n in range(51)]
    assert waits == [0] * 50 + [300]


def test_success_forgets_the_tries_of_that_name() -> None:
    tries = Attempts()
    _try_often(tries, 4)
    tries.succeed(address=HERE, name="ada")
    assert _try_often(tries, 5) == [0] * 5


def test_success_with_one_name_does_not_clear_the_address() -> None:
    tries = Attempts()
    for n in range(49):
        tries.begin(address=HERE, name=f"user{n}", now=0.0)
    tries.begin(address=HERE, name="own", now=0.0)
    tries.succeed(address=HERE, name="own")
    assert tries.begin(address=HERE, name="next", now=0.0) == 0
    assert tries.begin(address=HERE, name="last", now=0.0) > 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_an_address_counts_for_whoever_holds_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_memory_is_bounded_however_many_names_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_KEYS", 100)
    tries = Attempts()
    for n in range(1000):
        tries.begin(address=f"192.0.2.{n}", name=f"user{n}", now=0.0)
    assert len(tries._tries) <= 100

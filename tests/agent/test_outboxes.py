"""The outbox against a model: the bound holds, nothing is lost unless counted, order is kept."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.agent.observations import Sample
from app.agent.outboxes import Outbox


def sample(number: int) -> Sample:
    return Sample(f"c{number % 3}", f"{number:06d}", 0.0, number)


class OutboxMachine(RuleBasedStateMachine):
    """Does to an outbox what a delivery may do to it, and keeps account of every sample."""

    @initialize(bound=st.integers(1, 12))
    def open(self, bound: int) -> None:
        self.outbox = Outbox(bound)
        self.put = 0
        self.in_flight: list[Sample] = []
        self.stored: list[Sample] = []
        self.refused = 0
        self.evicted_before = 0

    @rule(count=st.integers(0, 30))
    def put_samples(self, count: int) -> None:
        self.outbox.put(sample(self.put + number) for number in range(count))
        self.put += count

    @precondition(lambda self: not self.in_flight)
    @rule(count=st.integers(1, 12))
    def take(self, count: int) -> None:
        before = len(self.outbox)
        self.in_flight = self.outbox.take(count)
        assert len(self.in_flight) == min(count, before)
        ats = [each.at for each in self.in_flight]
        assert ats == sorted(ats)
        if self.stored and self.in_flight:
            assert self.in_flight[0].at not in {each.at for each in self.stored}

    @precondition(lambda self: self.in_flight)
    @rule()
    def fail(self) -> None:
        self.outbox.give_back()
        self.in_flight = []

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        verdicts = [
            data.draw(st.sampled_from(["stored", "retry", "dropped"])) for _ in self.in_flight
        ]
        judged = list(zip(self.in_flight, verdicts, strict=True))
        retry = [each for each, verdict in judged if verdict == "retry"]
        self.stored += [each for each, verdict in judged if verdict == "stored"]
        dropped = verdicts.count("dropped")
        self.refused += dropped
        self.outbox.settle(retry=retry, dropped=dropped)
        self.in_flight = []

    @invariant()
    def bound_holds(self) -> None:
        if hasattr(self, "outbox"):
            assert len(self.outbox) <= self.outbox.bound

    @invariant()
    def every_sample_is_accounted_for(self) -> None:
        if hasattr(self, "outbox"):
            assert self.outbox.acknowledged == len(self.stored)
            assert self.put == self.outbox.acknowledged + self.outbox.dropped + len(self.outbox)

    def teardown(self) -> None:
        if not hasattr(self, "outbox"):
            return
        self.outbox.give_back()
        rest = [each.at for each in self.outbox.take(100)]
        assert rest == sorted(rest)
        assert len(set(rest)) == len(rest)
        assert not set(rest) & {each.at for each in self.stored}
        # those that were evicted to keep the bound are the oldest of what was not stored
        assert self.put == len(self.stored) + self.outbox.dropped + len(rest)


OutboxMachine.TestCase.settings = settings(max_examples=150, deadline=None)
test_outbox_loses_nothing_that_it_does_not_count = pytest.mark.timeout(30)(OutboxMachine.TestCase)


def test_when_full_the_oldest_sample_makes_room():
    outbox = Outbox(3)
    outbox.put(sample(number) for number in range(5))
    assert [each.memory_bytes for each in outbox.take(9)] == [2, 3, 4]
    assert outbox.dropped == 2


def test_what_is_in_flight_is_not_dropped_to_make_room():
    outbox = Outbox(3)
    outbox.put(sample(number) for number in range(3))
    outbox.take(2)
    outbox.put(sample(number) for number in range(3, 6))
    outbox.give_back()
    assert [each.memory_bytes for each in outbox.take(9)] == [0, 1, 5]
    assert outbox.dropped == 3


def test_batch_that_comes_back_keeps_its_place():
    outbox = Outbox(10)
    outbox.put(sample(number) for number in range(4))
    batch = outbox.take(2)
    outbox.put([sample(4)])
    outbox.settle(retry=batch[1:])
    assert [each.memory_bytes for each in outbox.take(9)] == [1, 2, 3, 4]


def test_second_batch_while_one_is_in_flight_is_a_mistake():
    outbox = Outbox(10)
    outbox.put([sample(0), sample(1)])
    outbox.take(1)
    with pytest.raises(RuntimeError, match="One batch at a time"):
        outbox.take(1)


def test_engine_ids_are_those_that_samples_wait_for():
    outbox = Outbox(10)
    outbox.put([sample(0), sample(1)])
    outbox.take(1)
    assert outbox.engine_ids() == {"c0", "c1"}


def test_outbox_without_room_is_a_mistake():
    with pytest.raises(ValueError, match="at least one"):
        Outbox(0)

"""What is known of a host's containers, here and at the API."""

import pytest

from app.agent.observations import Container, Host, Observation
from app.agent.rosters import Roster


def observation(*engine_ids: str, at: str = "2026-11-23T20:00:00.000+00:00") -> Observation:
    host = Host(name="vm", cpus=2.0, memory_bytes=2**30, engine="docker", engine_version="20")
    containers = [Container(engine_id=each, name=each, state="running") for each in engine_ids]
    return Observation(host=host, observed_at=at, images=[], containers=containers)


def reported(roster: Roster, waiting: set[str]) -> dict[str, str]:
    return {each["engine_id"]: each["state"] for each in roster.report(waiting)["containers"]}


def test_an_observation_is_due_until_it_is_answered():
    roster = Roster()
    assert not roster.is_due
    roster.note(observation("a"))
    assert roster.is_due
    roster.learn({"a": 7}, set())
    assert not roster.is_due
    assert roster.id_of("a") == 7


def test_container_that_came_and_went_unseen_is_reported_as_removed_while_samples_wait():
    roster = Roster()
    roster.note(observation("a", "b"))
    roster.note(observation("a", at="2026-11-23T20:01:00.000+00:00"))
    assert reported(roster, {"a", "b"}) == {"a": "running", "b": "removed"}
    body = roster.report({"b"})
    assert body["containers"][1]["finished_at"] == "2026-11-23T20:01:00.000+00:00"
    roster.learn({"a": 1, "b": 2}, {"b"})
    assert roster.id_of("b") == 2
    assert reported(roster, {"b"}) == {"a": "running"}


def test_container_that_went_without_samples_is_not_reported():
    roster = Roster()
    roster.note(observation("a", "b"))
    roster.note(observation("a"))
    assert reported(roster, set()) == {"a": "running"}


def test_ids_of_what_is_gone_are_kept_only_while_samples_wait():
    roster = Roster()
    roster.note(observation("a", "b"))
    roster.learn({"a": 1, "b": 2}, set())
    roster.note(observation("a"))
    roster.learn({"a": 1}, {"b"})
    assert roster.id_of("b") == 2
    roster.learn({"a": 1}, set())
    assert roster.id_of("b") is None


def test_observation_can_be_repeated_but_not_before_there_is_one():
    roster = Roster()
    roster.repeat()
    assert not roster.is_due
    with pytest.raises(RuntimeError):
        roster.report(set())
    roster.note(observation("a"))
    roster.learn({"a": 1}, set())
    roster.repeat()
    assert roster.is_due


def test_what_the_operator_set_is_not_overwritten_by_a_host_that_reserves_nothing():
    roster = Roster()
    roster.note(observation())
    assert "reserved_cpus" not in roster.report(set())["host"]
    assert "reserved_memory_bytes" not in roster.report(set())["host"]

"""The comparison of a relist with what is stored, without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.fleet import relist

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def container(engine_id: str, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(relist.COLUMNS)
    return row | {
        "engine_id": engine_id,
        "host_id": 1,
        "name": engine_id,
        "labels": {},
        "state": "running",
        "oom_killed": False,
        **more,
    }


def stored(pk: int, engine_id: str, **more: Any) -> dict[str, Any]:
    return container(engine_id, **more) | {"id": pk, "last_seen_at": NOW - timedelta(seconds=5)}


def compare(before: list[dict[str, Any]], reported: list[dict[str, Any]]) -> relist.Relist:
    by_engine_id = {row["engine_id"]: row for row in before}
    return relist.compare(by_engine_id, reported, host_id=1, observed_at=NOW)


def test_container_that_is_not_stored_is_new() -> None:
    plan = compare([], [container("a")])
    assert [row["engine_id"] for row in plan.new] == ["a"]
    assert [plan.changed, plan.gone, plan.seen] == [[], [], []]


def test_same_report_again_changes_nothing() -> None:
    plan = compare([stored(1, "a"), stored(2, "b")], [container("b"), container("a")])
    assert plan == relist.Relist([], [], [], [])


def test_unchanged_container_is_marked_as_seen_now_and_then() -> None:
    before = stored(7, "a") | {"last_seen_at": NOW - relist.SEEN_RESOLUTION}
    assert compare([before], [container("a")]).seen == [7]


def test_changed_columns_are_named() -> None:
    plan = compare([stored(1, "a")], [container("a", state="exited", exit_code=137)])
    (change,) = plan.changed
    assert change.columns == ("state", "exit_code")
    assert change.state_before == "running"


def test_container_that_the_list_lacks_is_gone() -> None:
    assert [row["id"] for row in compare([stored(1, "a")], []).gone] == [1]


def test_removed_container_is_not_removed_twice() -> None:
    assert compare([stored(1, "a", state="removed")], []).gone == []


def test_container_of_another_host_moves_and_is_never_gone() -> None:
    elsewhere = stored(1, "a", host_id=2)
    assert compare([elsewhere], [container("a")]).changed[0].columns == ("host_id",)
    assert compare([elsewhere], []).gone == []


def test_workload_is_named_by_the_projects_own_label_first() -> None:
    labels = {"com.docker.compose.service": "compose", "stowage.workload": "own"}
    assert relist.workload_name(labels) == "own"
    assert relist.workload_name({"com.docker.compose.service": "compose"}) == "compose"
    assert relist.workload_name({"stowage.workload": ""}) is None


def test_image_of_a_container_without_digest_is_the_listed_one() -> None:
    images = [{"reference": "redis:8", "digest": "sha256:1", "size_bytes": 5}]
    keys = relist.image_keys(images, [{"image": "redis:8"}, {"image": "busybox"}, {"image": None}])
    assert keys == {("redis:8", "sha256:1"): 5, ("busybox", ""): 0}

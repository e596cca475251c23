"""What the Engine API answers, read: formulas, limits, images, labels."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from app.agent import inspections
from app.agent.counters import Reading
from app.agent.observations import Image
from tests.agent import payloads

MIB = 2**20


@pytest.mark.parametrize(
    ("stats", "reading"),
    [
        (payloads.STATS_V1, Reading(1069582288, 2411810000000, 2, 2625536 - 2027520)),
        (payloads.STATS_V2, Reading(482361000, 91243150000000, 8, 45531136 - 15314944)),
        (payloads.STATS_STOPPED, None),
        ({}, None),
    ],
    ids=["cgroup v1", "cgroup v2", "stopped", "empty"],
)
def test_stats_are_read_for_both_control_groups(stats, reading):
    assert inspections.reading_from(stats) == reading


def test_online_cpus_are_counted_where_an_old_engine_leaves_them_out():
    stats = deepcopy(payloads.STATS_V1)
    del stats["cpu_stats"]["online_cpus"]
    reading = inspections.reading_from(stats)
    assert reading is not None
    assert reading.online_cpus == 2


def test_memory_is_never_negative():
    assert inspections.used_memory_bytes({"usage": 5, "stats": {"inactive_file": 9}}) == 0


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"NanoCpus": 500_000_000}, 0.5),
        ({"NanoCpus": 0, "CpuQuota": 150_000, "CpuPeriod": 100_000}, 1.5),
        ({"CpuQuota": 50_000, "CpuPeriod": 0}, 0.5),
        ({"CpuQuota": -1, "CpuPeriod": 100_000}, None),
        ({"CpuShares": 512}, None),
        ({"NanoCpus": None, "CpuQuota": None}, None),
    ],
    ids=["cpus", "quota", "default period", "unlimited", "shares", "nulls"],
)
def test_cpu_limit(config, limit):
    assert inspections.cpu_limit_from(config) == limit


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T20:53:09.504178691Z", "2026-11-23T20:53:09.504178Z"),
        ("2026-11-23T20:53:09.5+02:00", "2026-11-23T20:53:09.5+02:00"),
        ("2026-11-23T20:53:09Z", "2026-11-23T20:53:09Z"),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_moments_lose_their_nanoseconds_and_zero_is_none(text, moment):
    assert inspections.moment_from(text) == moment


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("busybox", "busybox:latest"),
        ("busybox:stable", "busybox:stable"),
        ("registry.example:5000/web", "registry.example:5000/web:latest"),
        (f"web@{payloads.DIGEST}", f"web@{payloads.DIGEST}"),
        (payloads.BUSYBOX_ID, payloads.BUSYBOX_ID),
    ],
)
def test_references_carry_their_tag(name, reference):
    assert inspections.reference_from(name) == reference


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        ("busybox:stable", "busybox"),
        ("registry.example:5000/shop/web:1.2", "registry.example:5000/shop/web"),
        (f"registry.example:5000/web@{payloads.DIGEST}", "registry.example:5000/web"),
    ],
)
def test_repository_is_the_reference_without_tag_or_digest(reference, repository):
    assert inspections.repository_of(reference) == repository


def test_each_tag_is_an_image_and_leftovers_are_none():
    assert inspections.images_from(payloads.IMAGES) == [
        Image(reference="busybox:stable", digest=payloads.BUSYBOX_ID, size_bytes=2024570),
        Image(
            reference="registry.example:5000/shop/web:1.2",
            digest=payloads.DIGEST,
            size_bytes=1000,
        ),
        Image(reference="web:latest", digest="sha256:" + "1" * 64, size_bytes=1000),
    ]


def container(**changes: Any):
    inspected = deepcopy(payloads.INSPECTED)
    for part, values in changes.items():
        inspected[part].update(values)
    by_id = {image["Id"]: image for image in payloads.IMAGES}
    inspected = inspections.essentials_of(inspected)
    return inspections.container_from(inspected, inspections.image_of(inspected, by_id))


def test_container_is_told_with_limits_labels_and_image():
    found = container()
    assert (found.engine_id, found.name, found.state) == (payloads.ID, "cap", "running")
    assert (found.image, found.image_digest) == ("busybox:stable", payloads.BUSYBOX_ID)
    assert found.labels["com.docker.compose.service"] == "web"
    assert (found.cpu_reservation, found.cpu_limit) == (None, 0.5)
    assert found.memory_reservation_bytes == 32 * MIB
    assert found.memory_limit_bytes == 64 * MIB
    assert found.started_at == "2026-11-23T20:53:09.504178Z"
    assert (found.finished_at, found.exit_code, found.oom_killed) == (None, None, False)


def test_environment_of_a_container_is_neither_kept_nor_told():
    kept = inspections.essentials_of(payloads.INSPECTED)
    assert "never told" not in f"{kept}{container()}"


def test_container_killed_for_memory_is_told_with_exit_code_and_moment():
    found = container(
        State={
            "Status": "exited",
            "Running": False,
            "OOMKilled": True,
            "ExitCode": 137,
            "FinishedAt": "2026-11-23T20:54:00.1Z",
        }
    )
    assert (found.state, found.oom_killed, found.exit_code) == ("exited", True, 137)
    assert found.finished_at == "2026-11-23T20:54:00.1Z"


def test_restarted_container_has_no_exit_code_of_its_life_before():
    found = container(State={"ExitCode": 0, "FinishedAt": "2026-11-23T20:54:00.1Z"})
    assert found.exit_code is None


def test_no_limits_are_none_and_a_state_unknown_to_the_api_is_dead():
    found = container(
        HostConfig={"Memory": 0, "MemoryReservation": 0, "NanoCpus": 0},
        State={"Status": "removing"},
    )
    assert (found.cpu_limit, found.memory_limit_bytes) == (None, None)
    assert (found.memory_reservation_bytes, found.state) == (None, "dead")


def test_container_of_an_image_that_lost_its_tag_still_names_it():
    found = container(Config={"Image": "shop:old"})
    assert (found.image, found.image_digest) == ("shop:old", payloads.BUSYBOX_ID)


def test_container_started_by_image_id_is_given_the_images_tag():
    assert container(Config={"Image": payloads.BUSYBOX_ID}).image == "busybox:stable"


def test_swarm_service_adds_its_reservations_within_the_limit():
    services = [
        {
            "Spec": {
                "Name": "web",
                "TaskTemplate": {
                    "Resources": {
                        "Reservations": {"NanoCPUs": 2_000_000_000, "MemoryBytes": 16 * MIB}
                    }
                },
            }
        },
        {"Spec": {"Name": "plain", "TaskTemplate": {}}},
    ]
    reservations = inspections.reservations_from(services)
    assert reservations == {"web": (2.0, 16 * MIB), "plain": (None, None)}
    task = replace(
        container(),
        labels={inspections.SERVICE_LABEL: "web"},
        memory_reservation_bytes=None,
    )
    reserved = inspections.reserve(task, reservations)
    assert (reserved.cpu_reservation, reserved.memory_reservation_bytes) == (0.5, 16 * MIB)
    assert inspections.reserve(container(), reservations) == container()


def test_host_is_told_with_capacity_labels_and_engine():
    host = inspections.host_from(
        payloads.INFO, name="", reserved_cpus=None, reserved_memory_bytes=None
    )
    assert (host.name, host.cpus, host.memory_bytes) == ("vm", 2.0, 25276502016)
    assert (host.engine, host.engine_version) == ("docker", "20.10.24+dfsg1")
    assert host.labels["rack"] == "r7"
    assert host.labels["ssd"] == ""
    assert host.labels["stowage.architecture"] == "x86_64"


def test_host_in_a_swarm_takes_the_name_that_was_configured():
    info = payloads.INFO | {"Swarm": {"LocalNodeState": "active"}}
    host = inspections.host_from(info, name="dock-1", reserved_cpus=0.5, reserved_memory_bytes=7)
    assert (host.name, host.engine) == ("dock-1", "swarm")
    assert (host.reserved_cpus, host.reserved_memory_bytes) == (0.5, 7)

"""This machine's identity and capacity, from files."""

import pytest

from app.agent import machines


@pytest.fixture
def root(tmp_path):
    for folder in ("etc", "sys/fs/cgroup/cpu", "sys/fs/cgroup/memory"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "cpus", "memory_bytes"),
    [
        ({}, None, None),
        ({"cpu.max": "150000 100000\n", "memory.max": "536870912\n"}, 1.5, 512 * 2**20),
        ({"cpu.max": "max 100000\n", "memory.max": "max\n"}, None, None),
        (
            {
                "cpu/cpu.cfs_quota_us": "50000\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": "268435456\n",
            },
            0.5,
            256 * 2**20,
        ),
        (
            {
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            None,
            None,
        ),
    ],
    ids=["bare machine", "v2 limits", "v2 none", "v1 limits", "v1 none"],
)
def test_limits_of_the_control_group_are_the_capacity(root, files, cpus, memory_bytes):
    for name, text in files.items():
        (root / "sys/fs/cgroup" / name).write_text(text)
    assert machines.cpu_limit(root) == cpus
    assert machines.memory_limit_bytes(root) == memory_bytes
    assert machines.cpus(root) == min(machines.cpus(), cpus or 1e9)


def test_identity_is_the_machines_id_or_at_least_something(root):
    assert machines.machine_id(root)
    (root / "etc/machine-id").write_text("abc\n")
    assert machines.machine_id(root) == "abc"


def test_engine_id_is_stable_and_tells_hosts_and_programs_apart():
    one = machines.engine_id("m", "vm", "postgres")
    assert one == machines.engine_id("m", "vm", "postgres")
    others = {machines.engine_id("m", "vm2", "postgres"), machines.engine_id("m", "vm", "redis")}
    assert one not in others
    assert len(one) == 64

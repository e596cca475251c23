"""Answers of the Engine API, captured from engines and cut to what is read.

`STATS_V1` is from Engine 20.10 on cgroup v1, `STATS_V2` has the shape of cgroup v2 (no
percpu_usage, memory.stat's own names), `STATS_STOPPED` are those of a container that has ended.
"""

from typing import Any

ID = "c1fa90f31e19907cd849e4068667da0953d74c63a77df32d6050104dc1b151b8"
BUSYBOX_ID = "sha256:ae1bede87930fb125a25b26fb70356d10f9a7f51822a393abe50e0a536dfe778"
DIGEST = "sha256:" + "d" * 64

STATS_V1: dict[str, Any] = {
    "read": "2026-11-23T20:53:11.546916959Z",
    "preread": "0001-01-01T00:00:00Z",
    "cpu_stats": {
        "cpu_usage": {
            "total_usage": 1069582288,
            "percpu_usage": [31143923, 1038438365],
            "usage_in_kernelmode": 10000000,
            "usage_in_usermode": 1050000000,
        },
        "system_cpu_usage": 2411810000000,
        "online_cpus": 2,
    },
    "precpu_stats": {"cpu_usage": {"total_usage": 0}},
    "memory_stats": {
        "usage": 2625536,
        "max_usage": 4083712,
        "stats": {
            "cache": 2027520,
            "inactive_file": 1000000,
            "rss": 61440,
            "total_inactive_file": 2027520,
            "total_rss": 61440,
        },
        "limit": 67108864,
    },
}

STATS_V2: dict[str, Any] = {
    "read": "2026-11-23T20:53:11.546916959Z",
    "preread": "0001-01-01T00:00:00Z",
    "cpu_stats": {
        "cpu_usage": {
            "total_usage": 482361000,
            "usage_in_kernelmode": 210120000,
            "usage_in_usermode": 272241000,
        },
        "system_cpu_usage": 91243150000000,
        "online_cpus": 8,
    },
    "precpu_stats": {"cpu_usage": {"total_usage": 0}},
    "memory_stats": {
        "usage": 45531136,
        "stats": {
            "active_anon": 4096,
            "anon": 19673088,
            "file": 23068672,
            "inactive_anon": 19804160,
            "inactive_file": 15314944,
        },
        "limit": 16505466880,
    },
}

STATS_STOPPED: dict[str, Any] = {
    "read": "0001-01-01T00:00:00Z",
    "preread": "0001-01-01T00:00:00Z",
    "cpu_stats": {
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    },
    "memory_stats": {},
}

INSPECTED: dict[str, Any] = {
    "Id": ID,
    "Name": "/cap",
    "Image": BUSYBOX_ID,
    "State": {
        "Status": "running",
        "Running": True,
        "OOMKilled": False,
        "Pid": 22554,
        "ExitCode": 0,
        "StartedAt": "2026-11-23T20:53:09.504178691Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    },
    "Config": {
        "Image": "busybox:stable",
        "Env": ["SECRET=never told"],
        "Labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"},
    },
    "HostConfig": {
        "CpuShares": 512,
        "Memory": 67108864,
        "MemoryReservation": 33554432,
        "NanoCpus": 500000000,
        "CpuPeriod": 0,
        "CpuQuota": 0,
    },
}

IMAGES: list[dict[str, Any]] = [
    {"Id": BUSYBOX_ID, "RepoDigests": None, "RepoTags": ["busybox:stable"], "Size": 2024570},
    {
        "Id": "sha256:" + "1" * 64,
        "RepoDigests": [f"registry.example:5000/shop/web@{DIGEST}"],
        "RepoTags": ["registry.example:5000/shop/web:1.2", "web:latest"],
        "Size": 1000,
    },
    {"Id": "sha256:" + "2" * 64, "RepoDigests": None, "RepoTags": None, "Size": 5},
    {"Id": "sha256:" + "3" * 64, "RepoDigests": [], "RepoTags": ["<none>:<none>"], "Size": 5},
]

INFO: dict[str, Any] = {
    "Name": "vm",
    "NCPU": 2,
    "MemTotal": 25276502016,
    "ServerVersion": "20.10.24+dfsg1",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "Architecture": "x86_64",
    "KernelVersion": "6.18.44",
    "Labels": ["rack=r7", "ssd"],
    "Swarm": {"LocalNodeState": "inactive", "ControlAvailable": False},
}

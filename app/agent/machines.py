"""This machine: its identity and its capacity, from Linux's files and the standard library.

Inside a container the processes that can be seen are the container's own, so its control group's
limits, where it has any, are the capacity. `/sys/fs/cgroup` shows them only there: at the root of a
real machine these files do not exist (v2) or hold no limit (v1).
"""

import hashlib
import os
import uuid
from pathlib import Path

ROOT = Path("/")
NO_LIMIT_BYTES = 2**60  # v1 writes the largest page-aligned number for "none"


def machine_id(root: Path = ROOT) -> str:
    """What tells this machine from others, and stays over a restart."""
    for name in ("etc/machine-id", "var/lib/dbus/machine-id"):
        if text := read_text(root / name):
            return text
    return f"{uuid.getnode():x}"


def engine_id(machine: str, host_name: str, program: str) -> str:
    """The stable id of a program on a machine. Cloned machines share an id, but no name."""
    return hashlib.sha256(f"{machine}/{host_name}/{program}".encode()).hexdigest()


def cpus(root: Path = ROOT) -> float:
    """The cores that may be used here."""
    count = float(os.cpu_count() or 1)
    limit = cpu_limit(root)
    return min(count, limit) if limit else count


def cpu_limit(root: Path = ROOT) -> float | None:
    """The cores that the control group allows; None for no limit."""
    group = root / "sys/fs/cgroup"
    quota, _, period = read_text(group / "cpu.max").partition(" ")
    if not quota:
        quota = read_text(group / "cpu/cpu.cfs_quota_us")
        period = read_text(group / "cpu/cpu.cfs_period_us")
    if not quota.isdigit() or not period.isdigit():
        return None
    return int(quota) / int(period)


def memory_limit_bytes(root: Path = ROOT) -> int | None:
    """The bytes that the control group allows; None for no limit."""
    group = root / "sys/fs/cgroup"
    text = read_text(group / "memory.max") or read_text(group / "memory/memory.limit_in_bytes")
    if not text.isdigit() or int(text) >= NO_LIMIT_BYTES:
        return None
    return int(text)


def read_text(path: Path) -> str:
    """The file's text; nothing when it is not there or may not be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""

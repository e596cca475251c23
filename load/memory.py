"""What a process holds, as Linux counts it."""

from pathlib import Path


def pss_bytes(pid: int) -> int:
    """Its proportional set: what is shared counts by shares."""
    return _read(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def rss_bytes(pid: int) -> int:
    return _read(Path(f"/proc/{pid}/status"), "VmRSS:")


def peak_rss_bytes(pid: int) -> int:
    """The most since it began, or since `forget_peak`."""
    return _read(Path(f"/proc/{pid}/status"), "VmHWM:")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def _read(path: Path, name: str) -> int:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)

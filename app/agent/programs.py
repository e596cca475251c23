"""Processes gathered into programs: what stands for containers on a machine that has none.

    program   the executable's name; for an interpreter, with the script or module that it runs
    cpu       sum over its processes of the CPU time since the snapshot before; a new process
              counts whole
    memory    sum of PSS (each shared page counted once, in parts); where PSS may not be read, what
              is private to each process and once the largest shared part. A sum of RSS would count
              shared memory many times.

A program is listed on its own from the moment it is worth it, and then for as long as it runs; the
rest is one group, `other`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple

OTHER = "other"
WORTH_BYTES = 16 * 2**20
WORTH_CORES = 0.01
LONGEST_NAME = 200
START_ERROR_SECONDS = 2.0  # Linux tells the moment of its boot in whole seconds

INTERPRETER = re.compile(
    r"(python|pypy|ruby|perl|php|node|nodejs|deno|bun|java|bash|dash|sh|zsh|fish|tclsh|lua)[-\d.]*"
)
TAKES_VALUE = {
    "python": {"-W", "-X"},
    "node": {"-r", "--require", "--import", "--loader", "-C", "--conditions"},
    "ruby": {"-I", "-r", "-C"},
    "perl": {"-I"},
    "php": {"-d", "-c"},
    "java": {"-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules"},
    "sh": {"-o", "+o", "-O", "+O", "--rcfile", "--init-file"},
}
SHELLS = {"bash", "dash", "sh", "zsh", "fish"}
CODE = {"--eval", "--print", "--command", "-"}
SCRIPT = re.compile(r"[\w@.+-]{1,100}")


class Key(NamedTuple):
    """A process: its number alone is used again."""

    pid: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment. `pss_bytes` is None where it may not be read."""

    key: Key
    program: str
    cpu_seconds: float
    rss_bytes: int
    shared_bytes: int
    pss_bytes: int | None


@dataclass(slots=True)
class Group:
    """What a program's processes use together. `cpu_cores` is None before the second snapshot."""

    started_at: float
    processes: int = 0
    cpu_cores: float | None = None
    memory_bytes: int = 0


def program_of(name: str, executable: str, command: Sequence[str]) -> str:
    """The program's name. No argument but the script's name is told: others may be secret."""
    base = PurePath(executable.removesuffix(" (deleted)")).name or name
    interpreter = INTERPRETER.fullmatch(base)
    script = script_of(interpreter[1], command[1:]) if interpreter else ""
    program = " ".join(filter(None, (interpreter[1] if interpreter else base, script)))
    return printable(program)[:LONGEST_NAME] or "unnamed"


def printable(text: str) -> str:
    """The text without control characters, and without bytes that are no UTF-8."""
    return "".join(each if each.isprintable() else "?" for each in text).strip()


def script_of(interpreter: str, arguments: Sequence[str]) -> str:
    """What an interpreter with these arguments runs: module, archive or script; or nothing.

    Code on the command line is not told, for it may hold secrets; neither is what looks like none
    of the three.
    """
    family = "sh" if interpreter in SHELLS else "node" if interpreter == "nodejs" else interpreter
    waiting = iter(arguments)
    for argument in waiting:
        if argument in {"-m", "-jar"}:
            return name_of(next(waiting, ""))
        if holds_code(family, argument):
            return ""
        if argument in TAKES_VALUE.get(family, ()):
            next(waiting, None)
        elif not argument.startswith(("-", "+")):
            return name_of(argument)
    return ""


def holds_code(family: str, argument: str) -> bool:
    """Whether code follows this option: `-c`, `-e`, also among others as in `-lc` and `-ne`."""
    if argument in CODE:
        return True
    letters = {"python": "c", "sh": "c", "node": "ep", "php": "rBRE"}.get(family, "eE")
    is_cluster = argument.startswith("-") and not argument.startswith("--") and family != "java"
    return is_cluster and any(letter in argument for letter in letters)


def name_of(path: str) -> str:
    """The last part of the path; nothing for a descriptor, or for what no script is called."""
    name = PurePath(path).name
    return name if SCRIPT.fullmatch(name) and not path.startswith(("/dev/", "/proc/")) else ""


def cores_by_process(
    before: Mapping[Key, Process], after: Iterable[Process], *, since: float, seconds: float
) -> dict[Key, float]:
    """The cores that each process used between two snapshots: at `since`, and `seconds` later.

    What an older process that the first snapshot lacks has used since is not known, and counts as
    nothing: its time may go back for days.
    """
    used = {}
    for process in after:
        if last := before.get(process.key):
            spent = process.cpu_seconds - last.cpu_seconds
        else:
            is_new = process.key.started_at >= since - START_ERROR_SECONDS
            spent = process.cpu_seconds if is_new else 0.0
        used[process.key] = max(0.0, spent) / seconds
    return used


def groups_of(processes: Iterable[Process], cores: Mapping[Key, float] | None) -> dict[str, Group]:
    """The programs that run. `cores` is None for the first snapshot."""
    groups: dict[str, Group] = {}
    largest_shared: dict[str, int] = {}
    for process in processes:
        group = groups.setdefault(process.program, Group(process.key.started_at))
        group.started_at = min(group.started_at, process.key.started_at)
        group.processes += 1
        if cores is not None:
            group.cpu_cores = (group.cpu_cores or 0.0) + cores[process.key]
        if process.pss_bytes is not None:
            group.memory_bytes += process.pss_bytes
        else:
            group.memory_bytes += max(0, process.rss_bytes - process.shared_bytes)
            shared = largest_shared.get(process.program, 0)
            largest_shared[process.program] = max(shared, process.shared_bytes)
    for program, shared in largest_shared.items():
        groups[program].memory_bytes += shared
    return groups


def is_worth_it(group: Group) -> bool:
    return group.memory_bytes >= WORTH_BYTES or (group.cpu_cores or 0.0) >= WORTH_CORES


def gather_others(groups: Mapping[str, Group], named: set[str]) -> dict[str, Group]:
    """The groups in `named`, and all others as one."""
    gathered = {program: group for program, group in groups.items() if program in named}
    rest = [group for program, group in groups.items() if program not in named]
    if rest:
        cores = [group.cpu_cores for group in rest if group.cpu_cores is not None]
        gathered[OTHER] = Group(
            started_at=min(group.started_at for group in rest),
            processes=sum(group.processes for group in rest),
            cpu_cores=sum(cores) if cores else None,
            memory_bytes=sum(group.memory_bytes for group in rest),
        )
    return gathered

"""What a killed run left running: noted while it runs, stopped by the next one.

A process is known by its number and the moment it began: numbers are used again.
"""

import contextlib
import json
from pathlib import Path
from typing import Any, TypedDict

import psutil

STOP_SECONDS = 15.0


class Note(TypedDict):
    pid: int
    began_at: float


class Leftovers:
    """The processes of the latest run, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[Note] = []

    def note(self, pid: int) -> None:
        """Remember a process of this run."""
        with contextlib.suppress(psutil.NoSuchProcess):
            began_at = psutil.Process(pid).create_time()
            alive = [note for note in self.notes if _process(note)]
            self.notes = [*alive, Note(pid=pid, began_at=began_at)]
            self._write()

    def forget(self) -> None:
        """This run stopped in order."""
        self.path.unlink(missing_ok=True)

    def stop(self) -> int:
        """Stop what an earlier run left. Returns how many processes there were."""
        processes = [process for note in self._read() if (process := _process(note))]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=STOP_SECONDS)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=STOP_SECONDS)
        self.forget()
        return len(processes)

    def _read(self) -> list[Note]:
        try:
            notes: Any = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # ValueError: killed while it was written
            return []
        return notes if isinstance(notes, list) else []

    def _write(self) -> None:
        self.path.write_text(json.dumps(self.notes), encoding="utf-8")


def _process(note: Note) -> psutil.Process | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(note["pid"])
        if process.create_time() == note["began_at"] and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None

"""Cancellation at a chosen suspension point, so that every one of them can be tried in turn."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Literal

Moment = Literal["waiting", "answered"]


class Interrupted:
    """Awaits `coroutine`, and cancels the task that does so at its `at`-th suspension.

    `waiting`: while what it waits for is not there yet. `answered`: when it is there, just before
    the coroutine learns of it, which is where what was just taken is easily lost.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], at: int, moment: Moment) -> None:
        self.coroutine = coroutine
        self.at = at
        self.moment = moment
        self.suspensions = 0

    @property
    def was_reached(self) -> bool:
        return self.suspensions >= self.at

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        steps = self.coroutine.__await__()
        error: BaseException | None = None
        while True:
            try:
                future = steps.send(None) if error is None else steps.throw(error)
            except StopIteration as stop:
                return stop.value
            self.suspensions += 1
            if self.suspensions == self.at:
                self._cancel(task, future)
            error = None
            try:
                yield future
            except BaseException as raised:  # noqa: BLE001 - thrown into it
                error = raised

    def _cancel(self, task: asyncio.Task[Any], future: Any) -> None:
        if self.moment == "answered" and future is not None:
            future.add_done_callback(lambda _: task.cancel())
        else:
            asyncio.get_running_loop().call_soon(task.cancel)

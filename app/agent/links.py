"""What is said about a connection: one line for each change, however often it is tried."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger("app.agent")


class Link:
    """A connection's state. `name` begins each line; it starts as neither up nor down.

    While it is down, each new reason is told once, `reasons` at most.
    """

    def __init__(
        self, name: str, *, reasons: int = 5, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.is_up: bool | None = None
        self._reasons = reasons
        self._told: set[str] = set()
        self._lost_at = 0.0
        self._clock = clock

    def lose(self, reason: str, consequence: str = "") -> None:
        """The connection failed."""
        if self.is_up is not False:
            self.is_up, self._lost_at = False, self._clock()
            self._told.clear()
        if reason in self._told or len(self._told) >= self._reasons:
            return
        self._told.add(reason)
        logger.warning(
            "%s not available: %s%s", self.name, reason, f"; {consequence}" if consequence else ""
        )

    def restore(self, detail: str) -> None:
        """The connection works. Says so when it did not before, and for how long it did not."""
        if self.is_up:
            return
        if self.is_up is None:
            logger.info("%s connected: %s", self.name, detail)
        else:
            seconds = self._clock() - self._lost_at
            logger.info("%s back after %.0f s: %s", self.name, seconds, detail)
        self.is_up = True

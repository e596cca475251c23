"""How long to wait before trying again: exponential, capped, with full jitter.

Full jitter (a uniform draw between nothing and the cap of the moment) spreads a fleet that lost its
API together over the whole time, so that it does not come back as one. Source: Marc Brooker,
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

import random
from collections.abc import Callable

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0


class Backoff:
    """Counts failures in a row. `draw` gives a number in [0, 1): random, or a test's own."""

    def __init__(
        self,
        draw: Callable[[], float] = random.random,
        first_seconds: float = FIRST_SECONDS,
        longest_seconds: float = LONGEST_SECONDS,
    ) -> None:
        self._draw = draw
        self._first = first_seconds
        self._longest = longest_seconds
        self._failures = 0

    def fail(self, retry_after_seconds: float | None = None) -> float:
        """The seconds to wait after one more failure: never less than what the server asked for."""
        cap = min(self._longest, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return (retry_after_seconds or 0.0) + cap * self._draw()

    def fail_slowly(self) -> float:
        """The seconds to wait when only a person can help: half the longest to one and a half."""
        return self._longest * (0.5 + self._draw())

    def succeed(self) -> None:
        self._failures = 0

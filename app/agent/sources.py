"""Where observations and samples come from. Two kinds exist: `containers.py` and `processes.py`."""

from collections.abc import AsyncGenerator
from typing import Protocol

from app.agent.observations import Observation, Sample


class SourceUnavailableError(Exception):
    """The source does not answer for now. The message is the cause, and the remedy if known."""


class Source(Protocol):
    """What the agent asks of a source. Calls are bounded, and raise SourceUnavailableError."""

    async def observe(self, *, full: bool) -> Observation:
        """All that is there. `full` reads everything anew, otherwise what may have changed."""

    async def sample(self) -> list[Sample]:
        """What each running container used since the sample before; nothing on the first call."""

    def changes(self) -> AsyncGenerator[None, None]:
        """Yields when there is something new to observe."""

    async def close(self) -> None:
        """Ends connections and threads. The source is of no use afterwards."""

"""Long work in stretches, so that other requests get their turn on the loop."""

import asyncio
import time

# A stretch of work after which a long list lets other requests run.
STRETCH_SECONDS = 0.002


class Breather:
    """Gives the event loop a turn whenever `STRETCH_SECONDS` have passed since the last one."""

    def __init__(self) -> None:
        self.until = time.perf_counter() + STRETCH_SECONDS

    async def breathe(self) -> None:
        if time.perf_counter() > self.until:
            await asyncio.sleep(0)
            self.until = time.perf_counter() + STRETCH_SECONDS

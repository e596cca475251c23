"""Stopping without losing requests: first not ready, then, after a while, no longer listening.

On SIGTERM the process says at once that it is not ready (`/readyz` is 503), goes on serving for
DRAIN_SECONDS, so that load balancers notice and send nothing more, and then hands the signal to the
server, which finishes what it has and stops. A second SIGTERM is handed on at once.
"""

import asyncio
import signal
import threading
from typing import Any

from django.conf import settings


class Draining:
    """Switched on once, by whoever stops the process; never off again."""

    def __init__(self) -> None:
        self.is_on = False

    def start(self) -> None:
        self.is_on = True


draining = Draining()


async def watch() -> None:
    """Put the drain before the server's own handling of SIGTERM. For the lifespan's start-up."""
    stop = signal.getsignal(signal.SIGTERM)
    if not callable(stop) or threading.current_thread() is not threading.main_thread():
        return  # no server that handles the signal, as in tests
    loop = asyncio.get_running_loop()

    def drain(number: int, frame: Any) -> None:
        if draining.is_on or not settings.DRAIN_SECONDS:
            draining.start()
            stop(number, frame)
            return
        draining.start()
        loop.call_soon_threadsafe(loop.call_later, settings.DRAIN_SECONDS, stop, number, frame)

    signal.signal(signal.SIGTERM, drain)

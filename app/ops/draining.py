"""Stopping without losing requests: first not ready, then, after a while, no longer listening.

On SIGTERM the process says at once that it is not ready (`/readyz` is 503), goes on serving for
DRAIN_SECONDS, so that load balancers notice and send nothing more, and then hands the signal to the
server, which finishes what it has and stops. A second SIGTERM is handed on at once.

Event streams would never be finished. Their clients are told to come back, and the streams ended,
at the moment that the signal is handed on: before it, they might come back to this very process.
"""

import asyncio
import signal
import threading
from typing import Any

from django.conf import settings

from app.rest.streams import send_all_away


class Draining:
    """Switched on once, by whoever stops the process; never off again."""

    def __init__(self) -> None:
        self.is_on = False

    def start(self) -> None:
        self.is_on = True


draining = Draining()


async def watch() -> None:
    """Put the drain before the server's own handling of SIGTERM, and the end of event streams
    before that of SIGINT, too. For the lifespan's start-up.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number, seconds in ((signal.SIGTERM, settings.DRAIN_SECONDS), (signal.SIGINT, 0)):
        stop = signal.getsignal(number)
        if callable(stop) and stop is not signal.default_int_handler:
            signal.signal(number, _drain_before(stop, loop, seconds))
        # else no server handles the signal, as in tests


def _drain_before(stop: Any, loop: asyncio.AbstractEventLoop, seconds: float) -> Any:
    def hand_on(number: int, frame: Any) -> None:
        loop.call_soon_threadsafe(send_all_away)
        stop(number, frame)

    def drain(number: int, frame: Any) -> None:
        if draining.is_on or not seconds:
            draining.start()
            hand_on(number, frame)
            return
        draining.start()
        loop.call_soon_threadsafe(loop.call_later, seconds, hand_on, number, frame)

    return drain

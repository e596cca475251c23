"""What the fleet's tables need while the API runs: partitions, hours rolled up, the old forgotten.

Every worker does it; locks in the database see to it that one at a time does.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from django.db import OperationalError
from django.utils import timezone

from app.fleet import advice, density_history, partitions, rebuilds, recent, rollups
from app.fleet.partitions import AHEAD_DAYS, HOURS, SAMPLES, Maintained
from app.fleet.services import retention
from app.fleet.services.conditions import refresh_all_conditions

logger = logging.getLogger(__name__)


async def maintain(*, now: datetime) -> tuple[Maintained, Maintained]:
    """One round: roll up before days are dropped, make what is needed next, forget what is old."""
    hours = await partitions.maintain_partitions(
        now=now, keep_days=partitions.keep_hours_days(), ahead_days=AHEAD_DAYS, series=HOURS
    )
    await rollups.roll_up(now=now)
    await rebuilds.rebuild_summaries()
    await refresh_all_conditions(now=now)
    await recent.refresh(now=now)
    await density_history.keep_hour(now=now)
    await density_history.forget_hours(now=now, keep_days=partitions.keep_hours_days())
    samples = await partitions.maintain_partitions(
        now=now, keep_days=partitions.keep_days(), ahead_days=AHEAD_DAYS, series=SAMPLES
    )
    await retention.forget_events(now=now, keep_days=retention.keep_events_days())
    await retention.forget_batches(now=now)
    await retention.forget_containers(now=now, keep_days=partitions.keep_hours_days())
    return samples, hours


async def maintain_forever(
    *, clock: Callable[[], datetime] = timezone.now, every_seconds: float = 300
) -> None:
    """Maintain now and then every few minutes, until cancelled. A failure is tried again."""
    while True:
        try:
            now = clock()
            await maintain(now=now)
            await advice.carry_forward(at=now)
        except OperationalError:
            logger.warning("The fleet's tables were not maintained; next try later.", exc_info=True)
        await asyncio.sleep(every_seconds)

"""The reads of the domain, each a named method. Plain QuerySets: who awaits them runs them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.db import models

if TYPE_CHECKING:  # named in strings only, which ruff does not follow into `models`
    from app.fleet.models import (  # noqa: F401
        Container,
        Event,
        Host,
        Image,
        Revision,
        Usage,
        Workload,
    )

LIVE_STATES = ("created", "running", "paused", "restarting")


class HostQuerySet(models.QuerySet["Host"]):
    def seen_since(self, moment: datetime) -> HostQuerySet:
        """Hosts whose agent has reported at or after `moment`."""
        return self.filter(last_seen_at__gte=moment)


class ImageQuerySet(models.QuerySet["Image"]):
    def held_by(self, host_id: int) -> ImageQuerySet:
        return self.filter(hosts=host_id)


class WorkloadQuerySet(models.QuerySet["Workload"]):
    def named(self, name: str) -> WorkloadQuerySet:
        return self.filter(name=name)


class RevisionQuerySet(models.QuerySet["Revision"]):
    def of_workload(self, workload_id: int) -> RevisionQuerySet:
        return self.filter(workload_id=workload_id)


class ContainerQuerySet(models.QuerySet["Container"]):
    def live(self) -> ContainerQuerySet:
        """Containers that hold, or are about to hold, resources of their host."""
        return self.filter(state__in=LIVE_STATES)

    def on_host(self, host_id: int) -> ContainerQuerySet:
        return self.filter(host_id=host_id)

    def of_workload(self, workload_id: int) -> ContainerQuerySet:
        return self.filter(workload_id=workload_id)


class UsageQuerySet(models.QuerySet["Usage"]):
    def of_container(self, container_id: int) -> UsageQuerySet:
        return self.filter(container_id=container_id)

    def between(self, start: datetime, end: datetime) -> UsageQuerySet:
        """Samples in [start, end); both bounds let PostgreSQL skip the partitions outside."""
        return self.filter(at__gte=start, at__lt=end)


class EventQuerySet(models.QuerySet["Event"]):
    def committed(self) -> EventQuerySet:
        """Events whose place in the order is final. See `Event.position`."""
        return self.filter(position__isnull=False)

    def after(self, position: int) -> EventQuerySet:
        """What happened after the cursor `position`, in order. Nothing appears before it later."""
        return self.filter(position__gt=position).order_by("position")

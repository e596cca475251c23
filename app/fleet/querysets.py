"""The reads of the domain, each a named method. Plain QuerySets: who awaits them runs them."""

from datetime import datetime
from typing import Any, Self

from django.db.models import BigIntegerField, F, FloatField, Q, Sum
from django.db.models.functions import Coalesce

from app.db import models

LIVE_STATES = ("created", "running", "paused", "restarting")


def labelled(text: str, path: str = "labels") -> Q:
    """The condition of `?label=key=value`; without a value, that the key is there."""
    key, has_value, value = text.partition("=")
    if has_value:
        return Q(**{f"{path}__contains": {key: value}})
    return Q(**{f"{path}__has_key": key})


class HostQuerySet(models.QuerySet):
    pass


class ImageQuerySet(models.QuerySet):
    def for_listing(self) -> Self:
        return self.prefetch_related("hosts")


class WorkloadQuerySet(models.QuerySet):
    def taken(self, name: str, team_id: int | None, *, but: Any = None) -> Self:
        """The workload that has this name in this team (or none), other than `but`."""
        same = self.filter(name=name, team_id=team_id)
        return same if but is None else same.exclude(pk=but.pk)


class QuotaQuerySet(models.QuerySet):
    def with_use(self) -> Self:
        """With what the team's workloads reserve: `reserved_cpus`, `reserved_memory_bytes`."""
        replicas = F("team__workloads__replicas")
        cpus = Sum(replicas * F("team__workloads__cpu_reservation"), output_field=FloatField())
        memory = Sum(
            replicas * F("team__workloads__memory_reservation_bytes"),
            output_field=BigIntegerField(),
        )
        return self.annotate(
            reserved_cpus=Coalesce(cpus, 0.0),
            reserved_memory_bytes=Coalesce(memory, 0),
        )


class PolicyOverrideQuerySet(models.QuerySet):
    pass


class RevisionQuerySet(models.QuerySet):
    pass


class ContainerQuerySet(models.QuerySet):
    def live(self) -> Self:
        """Containers that hold, or are about to hold, resources of their host."""
        return self.filter(state__in=LIVE_STATES)

    def on_host(self, host_id: int) -> Self:
        return self.filter(host_id=host_id)

    def of_workload(self, workload_id: int) -> Self:
        return self.filter(workload_id=workload_id)

    def for_listing(self) -> Self:
        """With the names that the output shows, in the same query."""
        return self.select_related("host", "image")


class UsageQuerySet(models.QuerySet):
    pass


class UsageHourQuerySet(models.QuerySet):
    def of_workload(self, workload_id: int) -> Self:
        return self.filter(container__workload_id=workload_id)

    def between(self, start: datetime, end: datetime) -> Self:
        """Hours that begin in [start, end); both bounds let PostgreSQL pass over partitions."""
        return self.filter(hour__gte=start, hour__lt=end)


class EventQuerySet(models.QuerySet):
    def committed(self) -> Self:
        """Events whose place in the order is final. See `Event.position`."""
        return self.filter(position__isnull=False)

    def after(self, position: int) -> Self:
        """What happened after the cursor `position`, in order. Nothing appears before it later."""
        return self.filter(position__gt=position).order_by("position")

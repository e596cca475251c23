"""The reads of the domain, each a named method. Plain QuerySets: who awaits them runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Q

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


def labelled(text: str, path: str = "labels") -> Q:
    """The condition of `?label=key=value`; without a value, that the key is there."""
    key, has_value, value = text.partition("=")
    if has_value:
        return Q(**{f"{path}__contains": {key: value}})
    return Q(**{f"{path}__has_key": key})


class HostQuerySet(models.QuerySet["Host"]):
    pass


class ImageQuerySet(models.QuerySet["Image"]):
    def for_listing(self) -> ImageQuerySet:
        return self.prefetch_related("hosts")


class WorkloadQuerySet(models.QuerySet["Workload"]):
    def taken(self, name: str, team_id: int | None, *, but: Any = None) -> WorkloadQuerySet:
        """The workload that has this name in this team (or none), other than `but`."""
        same = self.filter(name=name, team_id=team_id)
        return same if but is None else same.exclude(pk=but.pk)


class RevisionQuerySet(models.QuerySet["Revision"]):
    pass


class ContainerQuerySet(models.QuerySet["Container"]):
    def live(self) -> ContainerQuerySet:
        """Containers that hold, or are about to hold, resources of their host."""
        return self.filter(state__in=LIVE_STATES)

    def on_host(self, host_id: int) -> ContainerQuerySet:
        return self.filter(host_id=host_id)

    def of_workload(self, workload_id: int) -> ContainerQuerySet:
        return self.filter(workload_id=workload_id)

    def for_listing(self) -> ContainerQuerySet:
        """With the names that the output shows, in the same query."""
        return self.select_related("host", "image")


class UsageQuerySet(models.QuerySet["Usage"]):
    pass


class EventQuerySet(models.QuerySet["Event"]):
    def committed(self) -> EventQuerySet:
        """Events whose place in the order is final. See `Event.position`."""
        return self.filter(position__isnull=False)

    def after(self, position: int) -> EventQuerySet:
        """What happened after the cursor `position`, in order. Nothing appears before it later."""
        return self.filter(position__gt=position).order_by("position")

"""Filters of the lists: by id, text, choice, label, time. None asks the database about a value."""

from typing import Any

import django_filters as base
from django import forms
from django_filters.fields import IsoDateTimeField
from django_filters.rest_framework import FilterSet

from app.fleet.history import RESOLUTIONS
from app.fleet.models import (
    Container,
    Engine,
    Event,
    Host,
    Image,
    PolicyOverride,
    Quota,
    Revision,
    State,
    Usage,
    Workload,
)
from app.fleet.querysets import LIVE_STATES, labelled
from app.rest.filters import passes_over_nothing

MAX_ID = 2**63 - 1
FIRST_YEAR, LAST_YEAR = 1970, 9000


class IdFilter(base.Filter):
    """An id as a number. One that doesn't exist matches nothing; asking would be a query more."""

    field_class = forms.IntegerField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, min_value=0, max_value=MAX_ID, **kwargs)


class MomentField(IsoDateTimeField):
    """ISO 8601, within years that leave room to reckon with."""

    def to_python(self, value: Any) -> Any:
        moment = super().to_python(value)
        if moment is not None and not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise forms.ValidationError(f"Write a year from {FIRST_YEAR} to {LAST_YEAR}.")
        return moment


class MomentFilter(base.Filter):
    field_class = MomentField


class LabelFilter(base.Filter):
    """`?label=key=value` or `?label=key`; given several times, all must match."""

    field_class = forms.CharField

    def __init__(self, *args: Any, path: str = "labels", **kwargs: Any) -> None:
        self.path = path
        super().__init__(*args, **kwargs)

    @passes_over_nothing
    def filter(self, qs: Any, value: Any) -> Any:
        for text in self._texts(value):
            qs = qs.filter(labelled(text, self.path))
        return qs

    def _texts(self, value: Any) -> list[str]:
        if not value:
            return []
        data = getattr(self.parent, "data", {})
        name = next(key for key, one in self.parent.filters.items() if one is self)
        return data.getlist(name) if hasattr(data, "getlist") else [value]


class HostFilter(FilterSet):
    name = base.CharFilter()
    engine = base.ChoiceFilter(choices=Engine.choices)
    label = LabelFilter()
    seen_since = MomentFilter("last_seen_at", lookup_expr="gte")
    seen_before = MomentFilter("last_seen_at", lookup_expr="lt")

    class Meta:
        model = Host
        fields: list[str] = []


class ImageFilter(FilterSet):
    reference = base.CharFilter()
    digest = base.CharFilter()
    host = IdFilter("hosts")

    class Meta:
        model = Image
        fields: list[str] = []


class WorkloadFilter(FilterSet):
    name = base.CharFilter()
    team = IdFilter("team_id")
    image = base.CharFilter()
    label = LabelFilter()

    class Meta:
        model = Workload
        fields: list[str] = []


class QuotaFilter(FilterSet):
    team = IdFilter("team_id")

    class Meta:
        model = Quota
        fields: list[str] = []


class PolicyFilter(FilterSet):
    team = IdFilter("team_id")
    workload = IdFilter("workload_id")

    class Meta:
        model = PolicyOverride
        fields: list[str] = []


class RevisionFilter(FilterSet):
    workload = IdFilter("workload_id")
    number = IdFilter()

    class Meta:
        model = Revision
        fields: list[str] = []


class ContainerFilter(FilterSet):
    host = IdFilter("host_id")
    workload = IdFilter("workload_id")
    image = IdFilter("image_id")
    name = base.CharFilter()
    engine_id = base.CharFilter()
    state = base.MultipleChoiceFilter(choices=State.choices)
    live = base.BooleanFilter(method="filter_live")
    oom_killed = base.BooleanFilter()
    label = LabelFilter()
    started_since = MomentFilter("started_at", lookup_expr="gte")
    started_before = MomentFilter("started_at", lookup_expr="lt")

    class Meta:
        model = Container
        fields: list[str] = []

    def filter_live(self, queryset: Any, name: str, value: bool) -> Any:
        if value:
            return queryset.filter(state__in=LIVE_STATES)
        return queryset.exclude(state__in=LIVE_STATES)


class UsageFilter(FilterSet):
    container = IdFilter("container_id")
    host = IdFilter("container__host_id")
    workload = IdFilter("container__workload_id")
    label = LabelFilter(path="container__labels")
    since = MomentFilter("at", lookup_expr="gte")
    until = MomentFilter("at", lookup_expr="lt")

    class Meta:
        model = Usage
        fields: list[str] = []


class UsedFilter(FilterSet):
    """Containers whose use is asked for; the span is the view's to read."""

    container = IdFilter("id")
    host = IdFilter("host_id")
    workload = IdFilter("workload_id")
    label = LabelFilter()
    since = MomentFilter(method="keep")
    until = MomentFilter(method="keep")

    class Meta:
        model = Container
        fields: list[str] = []

    def keep(self, queryset: Any, name: str, value: Any) -> Any:
        return queryset


class HistoryFilter(UsedFilter):
    """Containers whose use over time is asked for."""

    resolution = base.ChoiceFilter(
        choices=[(name, name) for name in RESOLUTIONS], method="keep", required=True
    )


class EventFilter(FilterSet):
    after = IdFilter("position", lookup_expr="gt")
    kind = base.CharFilter()
    object_type = base.CharFilter()
    object_id = IdFilter()
    since = MomentFilter("at", lookup_expr="gte")
    until = MomentFilter("at", lookup_expr="lt")

    class Meta:
        model = Event
        fields: list[str] = []

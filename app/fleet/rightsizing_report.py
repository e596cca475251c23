"""`/reports/rightsizing/`: what workloads and containers should reserve."""

import asyncio
import csv
import io
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils import timezone

from app.fleet import advice
from app.fleet.advice import ORDERINGS, Key, Totals
from app.fleet.bounds import BOUNDS
from app.fleet.models import Container, Workload
from app.fleet.parameters import MAX_ID, Reader, read_choice, read_ids
from app.fleet.policy import DEFAULT
from app.fleet.rightsizing import State
from app.fleet.turns import in_turns
from app.rest.pagination import SizedPageNumberPagination
from app.rest.renderers import BaseRenderer
from app.rest.request import Request
from app.rest.response import Response
from app.rest.views import APIView

SUBJECTS = ("workload", "container")
PARAMETERS = (
    "by",
    "host",
    "workload",
    "team",
    "label",
    "state",
    "ordering",
    "page",
    "page_size",
    "format",
)


class RightsizingPagination(SizedPageNumberPagination):
    max_page_size = 200


class TableRenderer(BaseRenderer):
    """The results as CSV (RFC 4180), a flat row each; an error is a row by itself."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        results = data.get("results", [data])
        rows = [advice.as_row(one) for one in results]
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]) if rows else ["id", "name", "state"])
        table.writeheader()
        table.writerows(rows)
        return text.getvalue().encode()


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a request asks of the report."""

    is_workload: bool
    hosts: tuple[str, ...]
    workloads: tuple[str, ...]
    teams: tuple[int, ...]
    labels: dict[str, str]
    states: frozenset[State]
    ordering: str

    @classmethod
    def read(cls, query: Any) -> "Parameters":
        """Raises ValidationError that names every parameter that is wrong, and the remedy."""
        reader = Reader(query, PARAMETERS)
        by = reader.choice("by", SUBJECTS, "workload")
        hosts, workloads = reader.names("host"), reader.names("workload")
        teams = reader.take("team", read_ids, query.getlist("team"))
        labels = reader.labels()
        states = [
            reader.take("state", read_choice, state, tuple(State))
            for state in query.getlist("state")
        ]
        ordering = reader.choice("ordering", tuple(ORDERINGS), "-saving")
        reader.check()
        chosen = frozenset(State(state) for state in states)
        return cls(by == "workload", hosts, workloads, teams, labels, chosen, ordering)

    @property
    def queryset(self) -> Any:
        """The containers that are live, or the workloads, that are asked for."""
        if self.is_workload:
            workloads = Workload.objects.filter(self._named("", self.workloads))
            if self.hosts:
                live = Container.objects.live().filter(self._named("host__", self.hosts))
                workloads = workloads.filter(pk__in=live.values("workload_id"))
            return self._narrowed(workloads, "team_id")
        containers = Container.objects.live().filter(
            self._named("host__", self.hosts), self._named("workload__", self.workloads)
        )
        return self._narrowed(containers, "workload__team_id")

    def _narrowed(self, queryset: Any, team: str) -> Any:
        if self.labels:
            queryset = queryset.filter(labels__contains=self.labels)
        return queryset.filter(**{f"{team}__in": self.teams}) if self.teams else queryset

    @staticmethod
    def _named(path: str, names: tuple[str, ...]) -> Q:
        """By name or by id."""
        if not names:
            return Q()
        ids = [int(name) for name in names if name.isascii() and name.isdecimal()]
        by_id = Q(**{f"{path}pk__in": [pk for pk in ids if pk <= MAX_ID]})
        return by_id | Q(**{f"{path}name__in": names})


class RightsizingReportView(APIView):
    """
    What each workload should reserve and be limited to, with the evidence: percentiles and peaks
    of its use, OOM kills, confidence, and a reason. What is known too little of is `insufficient`.

    `?by=container` tells it of each container. `?host=`, `?workload=`, `?team=`, `?label=key=value`
    and `?state=` choose; `?ordering=-saving` puts the greatest saving of memory first. As JSON, or
    as a table with `?format=csv`.
    """

    renderer_classes = [*APIView.renderer_classes, TableRenderer]
    pagination_class = RightsizingPagination

    async def get(self, request: Request, **kwargs: Any) -> Response:
        parameters = Parameters.read(request.query_params)
        at = timezone.now()
        keys, totals = await _find(parameters, at)
        paginator = self.pagination_class()
        page: list[Key] = await paginator.paginate_queryset(keys, request, view=self) or []
        told = await advice.fetch_advice(
            ids=[key.id for key in page], is_workload=parameters.is_workload, at=at
        )
        return Response(
            {
                "at": at.isoformat(),
                "by": "workload" if parameters.is_workload else "container",
                "policy": DEFAULT.as_dict(),
                "bounds": BOUNDS.as_dict(),
                "count": len(keys),
                "next": paginator.get_next_link(),
                "previous": paginator.get_previous_link(),
                "totals": totals.as_dict(),
                "results": [one.as_dict() async for one in in_turns(told)],
            }
        )


async def _find(parameters: Parameters, at: datetime) -> tuple[list[Key], Totals]:
    """The keys of what is asked for, in order, and what they come to."""
    ids = [pk async for pk in parameters.queryset.values_list("pk", flat=True)]
    found = await advice.fetch_keys(ids=ids, is_workload=parameters.is_workload, at=at)
    keys = advice.arrange(found, ordering=parameters.ordering, states=parameters.states)
    await asyncio.sleep(0)  # of a large fleet each of these takes milliseconds
    totals = Totals()
    totals.add(keys)
    return keys, totals

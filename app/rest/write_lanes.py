"""Creating by a generic view, where nothing in the way was overridden: from parsed JSON to one
INSERT, and from what it returns to output, with neither serializer nor model instance.

Theory of operation. The values come from an `Intake` (compiled validating), the statement from a
`writer` of the model's manager, if its QuerySets have any (`app.db`'s do; any other goes DRF's
way), the output from a `Record`, of which each own column is what was written, as in DRF's way it
is what the new instance holds.

The statement checks what DRF's validators would ask: the row is only written if its foreign keys
lead to rows and no unique index has it already. If it is not, DRF's own way is gone, from the
start, and says why. So it is with any value that an intake refuses.
"""

from functools import lru_cache
from operator import attrgetter
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

from django.db import models as columns
from django.utils.datastructures import MultiValueDict
from rest_framework import status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Empty

from app.rest import shortcuts, validation
from app.rest.compilation import look
from app.rest.intakes import Intake, intake_of, look_at_time_zone
from app.rest.narrow_filters import OffLaneError
from app.rest.negotiation import DefaultContentNegotiation
from app.rest.parsers import JSONParser, loads
from app.rest.records import Record, record_of
from app.rest.request import Request
from app.rest.response import Response

_LIBRARIES = ("rest_framework.", "adrf.", "app.rest.")
_HOOKS = (
    "perform_create", "perform_acreate", "get_serializer", "get_serializer_class",
    "get_serializer_context", "get_success_headers",
)  # fmt: skip
_LOOK: Any = attrgetter(*_HOOKS)
#: A default of such a column is written out as it is; of another type it is DRF that converts it.
_PLAIN: tuple[tuple[Any, type], ...] = (
    (columns.CharField, str), (columns.TextField, str), (columns.IntegerField, int),
    (columns.FloatField, float),
)  # fmt: skip


class WriteLane:
    """Of one view class and its serializer class."""

    def __init__(self, serializer_class: Any, intake: Intake, record: Record, writer: Any) -> None:
        self.serializer_class, self.intake, self.record = serializer_class, intake, record
        self.writer = writer
        options = serializer_class.Meta.model._meta
        self.names = {one.name: one.attname for one in options.concrete_fields}
        self.nullable = {one.attname for one in options.concrete_fields if one.null}
        self.keys = [(key.source, key.column.attname) for key in intake.keys]
        self.own = [path for path in record.paths if "__" not in path]
        self.below = tuple(path for path in record.paths if "__" in path)
        self.above = {path: self.names[path.partition("__")[0]] for path in self.below}
        self.plain = {
            one.attname: kind
            for one in options.concrete_fields
            for column, kind in _PLAIN
            if isinstance(one, column) and one.attname in record.paths and not one.choices
        }
        self.sources = {source: self.names[source] for _, source, _, _ in intake.steps}

    @classmethod
    def of(cls, serializer_class: Any) -> "WriteLane | None":
        intake, record = intake_of(serializer_class), record_of(serializer_class)
        if intake is None or record is None or record.is_computed:
            return None
        queryset = serializer_class.Meta.model._default_manager.all()
        writer = queryset.writer() if hasattr(queryset, "writer") else None
        if writer is None:
            return None
        lane = cls(serializer_class, intake, record, writer)
        keys = {column for _, column in lane.keys}
        can_show = all(
            path.count("__") == 1
            and lane.above[path] in keys
            and writer.can_show(lane.above[path], path.partition("__")[2])
            for path in lane.below
        )
        written = {column.name for column in writer.columns}
        return lane if can_show and written.issuperset(lane.sources.values()) else None

    def read(self, data: Any) -> dict[str, Any]:
        """The values of the new row, by column. Raises OffLaneError, and what fields raise."""
        rejects = validation.rejects_unknown(self.serializer_class)
        if self.intake.has_moments:
            look_at_time_zone()
        given = self.intake.read(data, rejects_unknown=rejects)
        named = {self.sources[source]: value for source, value in given.items()}
        values: dict[str, Any] = self.writer.complete(named)
        for name, value in values.items():
            if value is None:
                if name not in self.nullable:
                    raise OffLaneError
            elif name not in named and name in self.plain and type(value) is not self.plain[name]:
                raise OffLaneError
        return values

    async def write(self, values: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        """The row as it is now, by column, and then as the record takes it. Raises OffLaneError if
        it was not written.
        """
        checked = tuple(name for _, name in self.keys if values.get(name) is not None)
        shown = tuple(path for path in self.below if self.above[path] in checked)
        found = await self.writer.insert(values, checked, shown)
        if found is None:
            raise OffLaneError
        filled = self.writer.filled
        row = {**values, **dict(zip(filled, found, strict=False))}
        more = dict(zip(shown, found[len(filled) :], strict=True))
        return row, [row[path] if path in row else more.get(path) for path in self.record.paths]


_LOOK_AT_PARSING: Any = attrgetter(
    "get_parsers", "get_parser_context", "get_content_negotiator", "initialize_request"
)


def data_of(view: Any) -> Any:
    """`view.request.data`. Of plain JSON in memory without looking for who parses it. Raises what
    that raises.
    """
    request = view.request
    kind: Any = type(view)
    inner: Any = getattr(request, "_request", None)
    body = getattr(inner, "_body", None)
    if (
        not body
        or type(request) is not Request
        or not (request._full_data is request._data is Empty)
        or next(iter(view.parser_classes), None) is not JSONParser
        or view.content_negotiation_class is not DefaultContentNegotiation
        or inner.META.get("CONTENT_TYPE") != "application/json"
        or inner.META.get("CONTENT_LENGTH") != str(len(body))
        or (inner.encoding or shortcuts.setting("DEFAULT_CHARSET")) != "utf-8"
        or not _are_libraries(_LOOK_AT_PARSING(kind))
    ):
        return request.data
    try:
        data = loads(body.decode(), strict=JSONParser.strict)
    except (ValueError, RecursionError):
        return request.data
    request._data = request._full_data = data
    request._files = MultiValueDict()
    return data


@lru_cache(maxsize=1024)
def _are_libraries(functions: tuple[Any, ...]) -> bool:
    return all(f"{one.__module__}.".startswith(_LIBRARIES) for one in functions)


_lanes: WeakKeyDictionary[type, dict[Any, Any]] = WeakKeyDictionary()


def write_lane_of(view: Any) -> WriteLane | None:
    """The lane by which this view creates; None where it goes DRF's way."""
    serializer_class = view.serializer_class
    if serializer_class is None or not shortcuts.are_on() or _is_shaped(view):
        return None
    if not isinstance(getattr(view.request, "accepted_renderer", None), JSONRenderer):
        return None  # a renderer for people looks at the serializer
    kind: Any = type(view)
    lanes = _lanes.setdefault(kind, {})
    found = _LOOK(kind), look(serializer_class)  # what was patched since goes without it
    known = lanes.get(serializer_class)
    if known is None or known[0] != found:
        is_plain = all(_is_library(kind, name) for name in _HOOKS)
        made = WriteLane.of(serializer_class) if is_plain else None
        lanes[serializer_class] = known = found, made
    lane: WriteLane | None = known[1]
    return lane if lane is not None and lane.writer.is_free() else None


def _is_shaped(view: Any) -> bool:
    return getattr(view, "_shape", None) is not None


def _is_library(cls: type, name: str) -> bool:
    function = getattr(cls, name, None)
    return f"{getattr(function, '__module__', '')}.".startswith(_LIBRARIES)


async def created(view: Any) -> Any:
    """The response of `create`, or None: nothing was written, and DRF's way is to be gone."""
    lane = write_lane_of(view)
    if lane is None:
        return None
    told: tuple[str, ...] | None = ()
    if hasattr(view, "validator_columns"):
        told = view.validator_columns()
    data = data_of(view)
    if told is None or not lane.names.keys() >= set(told):
        return None
    try:
        values = lane.read(data)
    except Exception:  # noqa: BLE001 - DRF's own code gives its own result or error
        return None
    try:
        row, shown = await lane.write(values)
    except OffLaneError:
        return None
    if told:
        # What a conditional view looks at of its object.
        view._object = SimpleNamespace(**{name: row[name] for name in told})
    output = lane.record.represent_one(shown)
    headers = view.get_success_headers(output)
    return Response(output, status=status.HTTP_201_CREATED, headers=headers)


__all__ = ["WriteLane", "created", "write_lane_of"]

"""`?watch=true` on a list, or `Accept: text/event-stream`: what changes, as it changes.

    GET workloads/?watch=true&after=1041      ADDED, MODIFIED and DELETED after that position
    Last-Event-ID: 1077                       the same, from where a browser was cut off

What a stream is made of is in `tail`; this is the HTTP around it.
"""

from collections.abc import AsyncIterator
from typing import Any

from app import db
from app.fleet import topics
from app.fleet.models import (
    Container,
    Event,
    Host,
    Image,
    PolicyOverride,
    Quota,
    Revision,
    Workload,
)
from app.fleet.outbox import Compacted, check_position, positions
from app.fleet.predicates import UnknowableError, predicate_of
from app.fleet.tail import FAILURES, Tail, bookmark, tail
from app.fleet.topics import Topic
from app.rest.exceptions import APIException, ValidationError
from app.rest.exports import ExportMixin, StreamRenderer
from app.rest.fieldsets import PARAMETERS as SHAPES
from app.rest.request import Request
from app.rest.sse import MEDIA_TYPE, last_position
from app.rest.streams import EventStream, farewell

POSITION = "Stowage-Position"
TRUE, FALSE = {"1", "true"}, {"0", "false"}
NOT_FILTERS = {"watch", "after", "page", "page_size", "cursor", "ordering", "format"}


class Gone(APIException):
    status_code = 410
    default_code = "gone"


class EventStreamRenderer(StreamRenderer):
    media_type = MEDIA_TYPE
    format = "sse"


KINDS = {
    Host: frozenset({"host"}),
    Image: frozenset({"image"}),
    Workload: frozenset({"workload"}),
    Container: frozenset({"container"}),
    Quota: frozenset({"quota"}),
    PolicyOverride: frozenset({"policy"}),
    Revision: frozenset({"workload"}),
    Event: frozenset[str](),
}
TOPICS: dict[type, type[Topic]] = {Event: topics.EventTopic, Revision: topics.RevisionTopic}
_topics: dict[type, Topic] = {}


def topic_of(view: Any) -> Topic:
    """The topic of a viewset's list: made once, so that all its watchers share it."""
    topic = _topics.get(type(view))
    if topic is None:
        model = view.queryset.model
        make = TOPICS.get(model, Topic)
        topic = make(model, view.queryset, view.serializer_class, KINDS[model])
        _topics[type(view)] = topic
    return topic


class WatchedMixin(ExportMixin):
    """Put before a list's other classes: it tells its position, is watched, and exported whole."""

    positions = positions

    def get_renderers(self) -> list[Any]:
        renderers = super().get_renderers()
        if getattr(self, "action", None) == "list":
            renderers.append(EventStreamRenderer())
        return renderers

    async def list(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        if self.is_watched():
            return await self.watch(request)
        # Before the list is read: who watches from there misses nothing.
        position = await self.positions.get()
        response = await super().list(request, *args, **kwargs)
        response[POSITION] = str(position)
        return response

    def is_watched(self) -> bool:
        """Raises ValidationError for a `watch` that is no boolean."""
        text = self.request.query_params.get("watch")
        if text is not None and text not in TRUE | FALSE:
            raise ValidationError({"watch": ["Not a boolean. Write true or false."]})
        if text is None:
            return isinstance(self.request.accepted_renderer, EventStreamRenderer)
        return text in TRUE

    async def watch(self, request: Request) -> EventStream:
        """Raises ValidationError for what can't be watched, and Gone (410)."""
        refused = [name for name in SHAPES if name in request.query_params]
        if refused:
            message = "Watched objects are shown whole. Leave it out."
            raise ValidationError({name: [message] for name in refused})
        after = position_asked(request)
        keep_filters(request)
        view: Any = self
        queryset = view.get_queryset()
        if request.query_params or view.kwargs:  # else a thousand who come back each make a form
            queryset = await view.filter_queryset(queryset)
        try:
            matches = predicate_of(queryset)
        except UnknowableError as error:
            raise ValidationError(
                {"watch": [f"By {error} a list can be filtered, not watched. Leave that filter out"
                           " and pick from the objects that come."]}
            ) from error  # fmt: skip
        if after is not None:
            try:
                await check_position(after)
            except Compacted as error:
                raise Gone(error.detail) from error
        ids = queryset.order_by().values_list("pk", flat=True).aiterator()
        events = follow(tail, _key_of(queryset), topic_of(self), matches, ids, after=after)
        return EventStream(events, heartbeat_seconds=None)


def position_asked(request: Request) -> int | None:
    """`Last-Event-ID` is later than `?after=`, which stays in a browser's address."""
    position = last_position(request)
    if position is not None:
        return position
    text = request.query_params.get("after", "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < 2**63):
        raise ValidationError({"after": ["Write a position: a whole number, 0 or more."]})
    return int(text)


def keep_filters(request: Request) -> None:
    """What cuts and orders a list has no meaning for a stream."""
    query = request.query_params.copy()
    for name in NOT_FILTERS:
        query.pop(name, None)
    request._request.GET = query  # noqa: SLF001 - DRF's own way to Django's


def _key_of(queryset: Any) -> object:
    sql, params = queryset.order_by().values("pk").query.sql_with_params()
    return (queryset.model, sql, repr(params))


async def follow(
    tail: Tail, key: object, topic: Any, matches: Any, ids: Any, *, after: int | None
) -> AsyncIterator[bytes]:
    """What a watcher is sent, without end. While events come live it holds no more than its
    channel. `ids`: those of the whole list, read where a group begins.
    """
    group = tail.enter_group(key, topic, matches)
    try:
        await tail.enter()
        cursor = tail.position if after is None else after
        yield bookmark(cursor)
        await group.begin(ids)
        del ids, key, matches  # the group's own are the same
        with group.past.reading():
            while (channel := await tail.join(group, cursor)) is None:
                block, cursor = await group.past.page(cursor, tail.target(group))
                if block:
                    yield block
                if not cursor:
                    return
        db.let_go()
        try:
            async for chunk in channel:
                yield chunk
        finally:
            group.remove(channel)
    except FAILURES:
        yield farewell()
    finally:
        tail.leave()
        tail.leave_group(group)

"""What the events of the outbox mean for each list: which objects changed, and how they look now.

A topic turns a page of events into changes, with one query (and one for each relation that the
output shows) however many events, watchers and filters there are. A group is the watchers of one
list with the same filters; it turns changes into what they are sent. Each change is encoded once.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from app.db import models
from app.fleet.models import Event
from app.fleet.predicates import Predicate
from app.rest import sse
from app.rest.renderers import JSONRenderer

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"


class Change:
    """An event, the object it is about as it is now (None: gone), and its encodings."""

    __slots__ = ("_blocks", "body", "instance", "is_new", "is_over", "pk", "position")

    def __init__(
        self, event: Event, instance: Any, body: bytes, *, is_new: bool, is_over: bool
    ) -> None:
        assert event.position is not None
        self.position = event.position
        self.pk = event.object_id if instance is None else instance.pk
        self.instance = instance
        self.body = body
        self.is_new = is_new
        self.is_over = is_over
        self._blocks: dict[str, bytes] = {}

    def block(self, kind: str) -> bytes:
        """The server-sent event; `kind` is ADDED, MODIFIED, DELETED, or empty for an event."""
        block = self._blocks.get(kind)
        if block is None:
            body = self.body
            if kind:
                body = b'{"type":"%b","object":%b}' % (kind.encode(), body)
            block = self._blocks[kind] = sse.message(body, self.position)
        return block


@dataclass(frozen=True, eq=False)
class Topic:
    """The objects of one list. `kinds`: the types of objects whose events concern it."""

    model: type[models.Model]
    queryset: Any
    serializer_class: Any
    kinds: frozenset[str]

    async def changes(self, events: Sequence[Event]) -> list[Change]:
        concerned = [event for event in events if event.object_type in self.kinds]
        if not concerned:
            return []
        found = await self.fetch({event.object_id for event in concerned})
        return [
            Change(
                event,
                *found.get(event.object_id, (None, _last_words(event))),
                is_new=event.kind.endswith(".created"),
                is_over=event.kind.endswith(".deleted"),
            )
            for event in concerned
        ]

    async def fetch(self, ids: Collection[int]) -> dict[int, tuple[Any, bytes]]:
        """Those that are there, and how they look."""
        return await self.shown(self.queryset.filter(pk__in=ids))

    async def shown(self, queryset: Any) -> dict[int, tuple[Any, bytes]]:
        instances = [instance async for instance in queryset]
        rows = await self.serializer_class(instances, many=True).adata
        render = JSONRenderer().render
        return {
            instance.pk: (instance, render(row))
            for instance, row in zip(instances, rows, strict=True)
        }


class EventTopic(Topic):
    """The events themselves."""

    async def changes(self, events: Sequence[Event]) -> list[Change]:
        rows = await self.serializer_class(list(events), many=True).adata
        render = JSONRenderer().render
        return [
            Change(event, event, render(row), is_new=True, is_over=False)
            for event, row in zip(events, rows, strict=True)
        ]


class RevisionTopic(Topic):
    """Revisions have no events of their own: a workload's event names the generation it made."""

    async def changes(self, events: Sequence[Event]) -> list[Change]:
        made = {
            (event.object_id, event.data.get("generation")): event
            for event in reversed(events)  # the first that names a generation has made it
            if event.kind in ("workload.created", "workload.updated")
        }
        over = [event for event in events if event.kind == "workload.deleted"]
        changes = []
        if made:
            asked = self.queryset.filter(
                workload_id__in={pk for pk, _ in made}, number__in={number for _, number in made}
            )
            for revision, body in (await self.shown(asked)).values():
                event = made.get((revision.workload_id, revision.number))
                if event is not None and _makes_revision(event):
                    changes.append(Change(event, revision, body, is_new=True, is_over=False))
        for event in over:
            body = JSONRenderer().render({"workload": event.object_id})
            changes.append(Change(event, None, body, is_new=False, is_over=True))
        return sorted(changes, key=lambda change: change.position)


def _makes_revision(event: Event) -> bool:
    """Whether a workload's event is that of a new generation, and not of a new name or team."""
    changed = set(event.data.get("changed", ()))
    return event.kind == "workload.created" or not changed <= {"name", "team"}


def _last_words(event: Event) -> bytes:
    """What is left to say of an object that is gone."""
    rendered: bytes = JSONRenderer().render({"id": event.object_id, **event.data})
    return rendered


class Selection:
    """What the watchers of one list with the same filters are told of a topic's changes.

    With a filter it knows the ids that match (`members`), so that an object that comes to match is
    ADDED and one that matches no longer is DELETED.
    """

    def __init__(self, topic: Topic, matches: Predicate | None) -> None:
        self.topic = topic
        self.matches = matches
        self.members: set[int] = set()

    def select(self, changes: Sequence[Change]) -> bytes:
        """What is new for them, encoded; the members are brought up to date."""
        return b"".join(self._block(change) for change in changes)

    def select_past(self, changes: Sequence[Change]) -> bytes:
        """The same for one who comes back: whether an object matched then is not known, so one that
        does not match now is DELETED.
        """
        return b"".join(self._past_block(change) for change in changes)

    def _block(self, change: Change) -> bytes:
        if isinstance(self.topic, EventTopic):
            return self._event_block(change)
        if change.instance is None:
            return self._gone(change)
        if self.matches is None:
            return change.block(ADDED if change.is_new else MODIFIED)
        is_member = change.pk in self.members
        if self.matches(change.instance):
            self.members.add(change.pk)
            return change.block(MODIFIED if is_member else ADDED)
        self.members.discard(change.pk)
        return change.block(DELETED) if is_member else b""

    def _gone(self, change: Change) -> bytes:
        if not change.is_over:
            return b""  # its end follows
        if self.matches is None or isinstance(self.topic, RevisionTopic):
            return change.block(DELETED)
        is_member = change.pk in self.members
        self.members.discard(change.pk)
        return change.block(DELETED) if is_member else b""

    def _past_block(self, change: Change) -> bytes:
        if isinstance(self.topic, EventTopic):
            return self._event_block(change)
        if change.instance is None:
            return change.block(DELETED) if change.is_over else b""
        if self.matches is None or self.matches(change.instance):
            return change.block(ADDED if change.is_new else MODIFIED)
        return b"" if change.is_new else change.block(DELETED)

    def _event_block(self, change: Change) -> bytes:
        is_asked_for = self.matches is None or self.matches(change.instance)
        return change.block("") if is_asked_for else b""

"""Conditional requests on views: `ETag`, `Last-Modified`, and the four headers that ask for them.

    class BoatViewSet(ConditionalMixin, viewsets.ModelViewSet):
        version_field = "version"          # a counter of writes, raised by this mixin
        etag_fields = ["seen_at"]          # what else the answer follows, column by column
        last_modified_fields = ["updated_at", "seen_at"]

Rules. The tag of an object is `"<version>"`, or `"<version>-<digest>"` where there is more that the
answer follows. Declared columns give it with one narrow query, so that a 304 reads no row and
serializes nothing. With nothing declared, or `etag_fields = None`, the digest is of the answer's
bytes: that saves the client the transfer, and the server nothing.

`If-Match` of a write looks at the version alone, where there is one: whoever has seen version 3
may change it, though what agents observed has moved on since. It is checked on a row that is
locked, in the transaction of the write; a view whose services lock and check for themselves says
`locks_rows = False` and hands them `versions()`.
"""

import hashlib
from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

import orjson
from django.db.models import F
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from app.rest import views
from app.rest.databases import current_database
from app.rest.exceptions import PreconditionFailed, PreconditionRequired
from app.rest.generics import get_object_or_404
from app.rest.lanes import columns_of
from app.rest.mixins import data_of
from app.rest.permissions import look_at_objects
from app.rest.pipelines import only_writes
from app.rest.preconditions import (
    ANY,
    EntityTag,
    Outcome,
    Preconditions,
    Validators,
    preconditions_of,
)
from app.rest.renderers import JSONRenderer
from app.rest.response import Response, set_header

__all__ = ["ConditionalMixin"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_READS = frozenset({"GET", "HEAD"})
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME
# What a 304 says of the answer that it stands for (RFC 9110, 15.4.5); the rest describes a body.
_OF_THE_BODY = ("Content-Type", "Content-Length", "Content-Language", "Content-Encoding")


class ConditionalMixin:
    """Put before a view's other mixins. `etag(obj)` and `last_modified(obj)` may be overridden."""

    version_field: str | None = None
    etag_fields: Sequence[str] | None = ()
    last_modified_fields: Sequence[str] = ()
    etag_bodies = False  # answers of no single object (lists, reports) get one too: weak, of bytes
    if_match_required = False  # 428 for a change without If-Match
    locks_rows = True

    request: Any
    _object: Any = None
    _conditions: Preconditions | None = None

    # Validators

    def etag(self, obj: Any) -> EntityTag | None:
        """The tag of an object by its columns; None where only the answer's bytes can tell."""
        if not self._has_columns():
            return None
        return self._tag_of(self._version_of(obj), _values(obj, self.etag_fields or ()))

    def last_modified(self, obj: Any) -> datetime | None:
        return None if self._is_shaped() else _latest(_values(obj, self.last_modified_fields))

    def _has_columns(self) -> bool:
        is_told = self.etag_fields is not None and bool(self.version_field or self.etag_fields)
        return is_told and not self._is_shaped()

    def _is_shaped(self) -> bool:
        """Whether the answer holds more or less than the view's own (`?fields=`, `?expand=`), of
        rows that may lack the columns.
        """
        return getattr(self, "_shape", None) is not None

    def _tag_of(self, version: Any, values: Sequence[Any], body: bytes = b"") -> EntityTag:
        media_type = self.request.accepted_media_type
        is_plain = not body and media_type == JSONRenderer.media_type
        if version is not None and is_plain and all(value is None for value in values):
            return EntityTag(str(version))
        digest = _digest([*values, media_type], body)
        return EntityTag(digest if version is None else f"{version}-{digest}")

    def _validators(self, obj: Any) -> Validators:
        return Validators(self.etag(obj), self.last_modified(obj))

    # Reading

    async def retrieve(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        conditions = self._read_conditions()
        if conditions is not None and self._may_answer_from_columns():
            current = await self._fetch_validators()
            if self._judge(current, conditions) is Outcome.NOT_MODIFIED:
                return self._not_modified(current)
        answer: HttpResponseBase = await super().retrieve(request, *args, **kwargs)  # type: ignore[misc]
        return answer

    def _not_modified(self, current: Validators) -> HttpResponseBase:
        if type(self.request.accepted_renderer) is JSONRenderer:  # of nothing it makes nothing
            return Response(status=304, headers=current.headers())
        response = HttpResponse(status=304, headers=current.headers())
        del response["Content-Type"]
        return response

    def _may_answer_from_columns(self) -> bool:
        """Whether nothing needs the object itself: no permission, and no hook of a subclass."""
        kind: Any = type(self)
        if not (self._has_columns() and _has_usual_hooks(kind)) or self._is_page():
            return False
        return not look_at_objects(self)

    def validator_columns(self) -> tuple[str, ...] | None:
        """The columns that tell the answer's validators; None where only the object can."""
        own = () if self.version_field is None else (self.version_field,)
        names = (*own, *(self.etag_fields or ()), *self.last_modified_fields)
        is_plain = all("__" not in name and "." not in name for name in names)
        return names if is_plain and self._may_answer_from_columns() else None

    async def _fetch_validators(self) -> Validators:
        """By one narrow query. Raises Http404."""
        own = () if self.version_field is None else (self.version_field,)
        more, dates = tuple(self.etag_fields or ()), tuple(self.last_modified_fields)
        lookup_field: str = self.lookup_field  # type: ignore[attr-defined]
        value = self.kwargs[self.lookup_url_kwarg or lookup_field]  # type: ignore[attr-defined]
        row = await columns_of(self, (*own, *more, *dates))
        if row is None:
            queryset = await self.afilter_queryset(self.get_queryset())  # type: ignore[attr-defined]
            narrow = queryset.values_list(*own, *more, *dates)
            row = await get_object_or_404(narrow, **{lookup_field: value})
        version, row = (row[0], row[1:]) if own else (None, row)
        tag = self._tag_of(version, row[: len(more)])
        return Validators(tag, _latest(row[len(more) :]))

    # Writing

    async def get_object(self) -> Any:
        """The object; for a change, one that meets the request's preconditions.

        Raises PreconditionFailed, PreconditionRequired.
        """
        obj = await super().get_object()  # type: ignore[misc]
        if self.request.method not in _SAFE:
            obj = await self._hold(obj)
        self._object = obj
        return obj

    async def _hold(self, obj: Any) -> Any:
        conditions = self._read_conditions()
        if self.if_match_required and (conditions is None or conditions.if_match is None):
            raise PreconditionRequired
        if self._needs_transaction():
            obj = await self._lock(obj)
        if conditions is None:
            return obj
        current = self._validators(obj)
        if current.tag is None:
            body = await self._body_of(obj)
            current = Validators(self._tag_of(self._version_of(obj), (), body), current.modified_at)
        self._judge(current, conditions, self._version_of(obj))
        return obj

    def _raises_versions(self) -> bool:
        return self.locks_rows and self.version_field is not None

    async def _lock(self, obj: Any) -> Any:
        """The object as it stands, and nobody else may change it until the transaction ends."""
        locked = type(obj)._default_manager.filter(pk=obj.pk).select_for_update(of=("self",))
        row = await locked.values_list("pk").afirst()
        # Read anew: it may have been changed, or be gone, since it was found.
        return obj if row is None else await super().get_object()  # type: ignore[misc]

    async def _body_of(self, obj: Any) -> bytes:
        renderer = self.request.accepted_renderer
        data = await data_of(self.get_serializer(obj))  # type: ignore[attr-defined]
        context = self.get_renderer_context()  # type: ignore[attr-defined]
        body: bytes = renderer.render(data, self.request.accepted_media_type, context)
        return body

    def versions(self) -> Container[int] | None:
        """The versions that a service may change, for it to check on the row that it has locked;
        None: any.
        """
        conditions = self._read_conditions()
        if conditions is None:
            return None
        if conditions.if_match is not None and conditions.if_match != ANY:
            return {
                int(version)
                for tag in conditions.if_match
                if not tag.is_weak and (version := tag.opaque.partition("-")[0]).isdecimal()
            }
        if self._object is None or conditions == Preconditions(if_match=ANY):
            return None
        seen = self._version_of(self._object)  # the one that met the other conditions
        return None if seen is None else {seen}

    @only_writes
    async def call_handler(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        handle = super().call_handler  # type: ignore[misc]
        if request.method in _SAFE or not self._needs_transaction():
            unguarded: HttpResponseBase = await handle(request, *args, **kwargs)
            return unguarded
        await request.aload()  # a client that sends slowly holds no transaction open
        async with current_database().atomic():
            response: HttpResponseBase = await handle(request, *args, **kwargs)
        return response

    def _needs_transaction(self) -> bool:
        """Whether this change of one object is to lock its row."""
        names_one = self.kwargs.get(self.lookup_url_kwarg or self.lookup_field)  # type: ignore[attr-defined]
        return (
            self.locks_rows
            and names_one is not None
            and (self.version_field is not None or self._read_conditions() is not None)
        )

    async def perform_acreate(self, serializer: Any) -> None:
        await super().perform_acreate(serializer)  # type: ignore[misc]
        self._object = serializer.instance

    async def perform_aupdate(self, serializer: Any) -> None:
        if self._raises_versions():
            name, instance = self.version_field, serializer.instance
            setattr(instance, name, getattr(instance, name) + 1)  # type: ignore[arg-type]
        await super().perform_aupdate(serializer)  # type: ignore[misc]
        self._object = serializer.instance

    async def perform_bulk_update(self, serializer: Any) -> None:
        """Of `bulk`: each object's version is raised, in the transaction of the update."""
        update = super().perform_bulk_update  # type: ignore[misc]
        if not self._raises_versions():
            await update(serializer)
            return
        name: Any = self.version_field
        async with current_database().atomic():
            await update(serializer)
            by_id = {obj.pk: obj for obj in serializer.instance}
            changed = self.get_queryset().model._default_manager.filter(pk__in=by_id)  # type: ignore[attr-defined]
            await changed.aupdate(**{name: F(name) + 1})
            async for pk, version in changed.values_list("pk", name):
                setattr(by_id[pk], name, version)

    # Answering

    async def prepare_response(self, response: Any) -> None:
        """Tag the answer; turn one that the client has into a 304."""
        await super().prepare_response(response)  # type: ignore[misc]
        if self._object is None and not self.etag_bodies:
            return
        if not 200 <= response.status_code < 300 or self.request.method in {"DELETE", "OPTIONS"}:
            return
        if "ETag" in response or self._is_page() or getattr(response, "streaming", False):
            return
        if self._object is not None and self._read_conditions() is None:
            version = self._plain_version()
            if version is not None:
                set_header(response, "ETag", f'"{version}"')
                return
        current = self._validators_of(response)
        for name, value in current.headers().items():
            set_header(response, name, value)
        conditions = self._read_conditions()
        if conditions is None or response.status_code != 200 or self.request.method not in _READS:
            return
        if self._judge(current, conditions) is Outcome.NOT_MODIFIED:
            _empty(response)

    def _plain_version(self) -> int | None:
        """The version, if it alone tells the validators of the object in JSON."""
        kind: Any = type(self)
        is_plain = (
            not self.etag_fields
            and not self.last_modified_fields
            and self._has_columns()
            and _has_usual_hooks(kind)
            and self.request.accepted_media_type == JSONRenderer.media_type
        )
        return self._version_of(self._object) if is_plain else None

    def _validators_of(self, response: Any) -> Validators:
        obj = self._object
        if obj is None:
            if self.request.method not in _READS:
                return Validators()
            return Validators(EntityTag(_digest([], _rendered(response)), is_weak=True))
        current = self._validators(obj)
        if current.tag is not None:
            return current
        tag = self._tag_of(self._version_of(obj), (), _rendered(response))
        return Validators(tag, current.modified_at)

    # What both sides ask

    def _read_conditions(self) -> Preconditions | None:
        if self._conditions is None:
            self._conditions = preconditions_of(self.request.META)
        return self._conditions

    def _judge(
        self, current: Validators, conditions: Preconditions, version: int | None = None
    ) -> Outcome:
        """Raises PreconditionFailed, which says what the current version is."""
        if version is not None and conditions.if_match not in {None, ANY}:
            is_met = version in (self.versions() or ())
            conditions = Preconditions(ANY if is_met else (), conditions.if_none_match, None, None)
        outcome = conditions.evaluate(self.request.method, current)
        if outcome is Outcome.FAILED:
            message = None
            if version is not None:
                message = (
                    f"The current version is {version}. Read the object again, then repeat the"
                    " change."
                )
            raise PreconditionFailed(message, version=version, headers=current.headers())
        return outcome

    def _version_of(self, obj: Any) -> int | None:
        """None where nobody counts versions, or the row was read without."""
        name = self.version_field
        return None if name is None else getattr(obj, "__dict__", {}).get(name)

    def _is_page(self) -> bool:
        """Whether the answer is a page for people, with forms and whoever is logged in on it."""
        return self.request.accepted_renderer.media_type == "text/html"


def _has_usual_hooks(kind: Any) -> bool:
    """Whether a view class gets and tags its objects in this mixin's way."""
    return (
        kind.etag is ConditionalMixin.etag
        and kind.last_modified is ConditionalMixin.last_modified
        and kind.get_object is ConditionalMixin.get_object
        and kind.check_object_permissions is views.APIView.check_object_permissions
    )


def _rendered(response: Any) -> bytes:
    if hasattr(response, "render"):
        response.render()
    content: bytes = response.content
    return content


def _empty(response: Any) -> None:
    response.status_code = 304
    response.content = b""
    for name in _OF_THE_BODY:
        response.headers.pop(name, None)


def _values(obj: Any, names: Sequence[str]) -> list[Any]:
    return [_getter(name)(obj) for name in names]


def _latest(moments: Sequence[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _digest(values: Sequence[Any], body: bytes = b"") -> str:
    """Equal for values as they were written and as they are read back: keys have no order."""
    digest = hashlib.blake2b(body, digest_size=8)
    if values:
        digest.update(orjson.dumps(values, _plain, _OPTIONS))
    return digest.hexdigest()


def _plain(value: Any) -> str:
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    return str(value)


@lru_cache(maxsize=1024)
def _getter(name: str) -> Callable[[Any], Any]:
    """Of a column, or of one of a related row: `host__name`."""
    return attrgetter(name.replace("__", "."))

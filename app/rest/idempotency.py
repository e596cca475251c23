"""`Idempotency-Key`: a request that is sent again is not carried out again (IETF draft
httpapi-idempotency-key-header).

    POST /workloads/   Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324

    first                                  carried out, its answer kept for `IDEMPOTENCY_HOURS`
    again, with the same body              the same answer, and `Idempotency-Replayed: true`
    again, with another body               422
    while the first is running             409 with Retry-After

Theory of operation. One transaction holds a lock on the key, the write and the answer's row. So an
answer is there if and only if its write is, and a process that dies leaves neither: there is no
state "running" that somebody would have to clear up. The lock is PostgreSQL's advisory one, which
ends with the transaction; whoever finds it taken is told 409 at once.

An answer of 5xx, and one that tells of a passing state (401, 408, 409, 412, 425, 428, 429), is not
kept: the key is free again. So it is after a request that was cancelled. Another refusal (4xx) is
kept, without whatever was written before it.

A key is the caller's own: user and token, method and path are part of what it is looked up by.
"""

import asyncio
import hashlib
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.module_loading import import_string
from rest_framework import status

from app.rest.databases import Database, current_database
from app.rest.exceptions import APIException, Conflict, ValidationError

__all__ = ["Answer", "DatabaseStore", "IdempotentMixin", "Store", "current_store"]

logger = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255
MAX_BODY_BYTES = 256 * 1024
_KEY = re.compile(r'"([!#-\[\]-~]+)"|([!#-~]+)')  # a String of RFC 8941, or bare as many send it
_EXPECTED = f"Write 1 to {MAX_KEY_LENGTH} visible ASCII characters, such as a UUID, in quotes."
_PASSING = frozenset({401, 408, 409, 412, 425, 428, 429})
_KEPT_HEADERS = (
    "Content-Type", "Content-Language", "Content-Location", "ETag", "Last-Modified", "Link",
    "Location",
)  # fmt: skip
_BOUNDARY = re.compile(r'boundary="?([^";,\s]+)')


class Answer(NamedTuple):
    """What is kept of an answer; `body` is None where it was too large."""

    fingerprint: bytes
    status: int
    headers: dict[str, str]
    body: bytes | None


class RequestInProgress(Conflict):
    default_detail = "A request with this Idempotency-Key is being carried out. Try again shortly."
    default_code = "idempotency_in_progress"
    wait = 1


class KeyReused(APIException):
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_detail = (
        "This Idempotency-Key came with another request before. Send the same body, query and"
        " content type again, or choose another key."
    )
    default_code = "idempotency_key_reused"


class Store(Protocol):
    """Where answers are kept. `settings.IDEMPOTENCY_STORE` names one of your own."""

    def attempt(self, scope: uuid.UUID) -> Any:
        """An async context manager around one attempt: what is written inside is committed with the
        answer, and taken back when an exception leaves it. Gives the kept Answer, or None.

        Raises RequestInProgress while another attempt at `scope` is inside.
        """

    async def keep(self, scope: uuid.UUID, answer: Answer, expires_at: datetime) -> None:
        """Called inside of an attempt."""

    async def clear_expired(self, now: datetime) -> int:
        """Forget answers that have expired; how many."""


class DatabaseStore:
    """In the table of `StoredAnswer`, on PostgreSQL."""

    LOCK = "SELECT pg_try_advisory_xact_lock(%s) AS is_free"
    # A statement after that of the lock: it sees what the lock's last holder has committed.
    READ = """
        SELECT fingerprint, status, headers::text AS headers, body FROM rest_stored_answer
        WHERE scope = %s AND expires_at > now()
    """
    WRITE = """
        INSERT INTO rest_stored_answer (scope, fingerprint, status, headers, body, expires_at)
        VALUES (%s, %s, %s, %s::text::jsonb, %s, %s)
        ON CONFLICT (scope) DO UPDATE SET fingerprint = excluded.fingerprint,
            status = excluded.status, headers = excluded.headers, body = excluded.body,
            expires_at = excluded.expires_at
    """
    CLEAR = """
        DELETE FROM rest_stored_answer WHERE scope IN (
            SELECT scope FROM rest_stored_answer WHERE expires_at < %s LIMIT 1000
            FOR UPDATE SKIP LOCKED
        )
    """

    def __init__(self, database: Database | None = None) -> None:
        self._database = database

    @property
    def database(self) -> Database:
        return self._database or current_database()

    @asynccontextmanager
    async def attempt(self, scope: uuid.UUID) -> AsyncIterator[Answer | None]:
        async with self.database.atomic():
            (row,) = await self.database.fetch(self.LOCK, _lock_number(scope))
            if not row["is_free"]:
                raise RequestInProgress
            rows = await self.database.fetch(self.READ, scope)
            yield _answer_of(rows[0]) if rows else None

    async def keep(self, scope: uuid.UUID, answer: Answer, expires_at: datetime) -> None:
        headers = json.dumps(answer.headers)
        await self.database.execute(
            self.WRITE, scope, answer.fingerprint, answer.status, headers, answer.body, expires_at
        )

    async def clear_expired(self, now: datetime) -> int:
        cleared = 0
        while count := await self.database.execute(self.CLEAR, now):
            cleared += count
        return cleared


def _lock_number(scope: uuid.UUID) -> int:
    return int.from_bytes(scope.bytes[:8], signed=True)


def _answer_of(row: dict[str, Any]) -> Answer:
    body = row["body"]
    return Answer(
        bytes(row["fingerprint"]),
        row["status"],
        json.loads(row["headers"]),
        None if body is None else bytes(body),
    )


def current_store() -> Store:
    return _load_store(getattr(settings, "IDEMPOTENCY_STORE", None))


@lru_cache(maxsize=8)
def _load_store(name: str | None) -> Any:
    return DatabaseStore() if name is None else import_string(name)()


class _RefusedError(Exception):
    """Takes back what a request wrote before it was refused, and carries the answer out."""

    def __init__(self, response: HttpResponseBase) -> None:
        self.response = response


class IdempotentMixin:
    """Put before a view's other classes. `idempotent_methods` take a key; the others ignore it."""

    idempotent_methods = frozenset({"POST", "PUT", "PATCH", "DELETE"})
    idempotency_required = False  # 400 without a key, for these methods
    request: Any

    def takes_idempotency_key(self) -> bool:
        """Whether this request's method and action do."""
        return self.request.method in self.idempotent_methods

    def get_idempotency_caller(self) -> str:
        """Whose the key is: a text that names the user, and the token where there is one."""
        user, token = self.request.user, self.request.auth
        return f"{getattr(user, 'pk', None)}:{getattr(token, 'pk', None)}"

    async def call_handler(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        text = request.META.get("HTTP_IDEMPOTENCY_KEY")
        if (text is None and not self.idempotency_required) or not self.takes_idempotency_key():
            plain: HttpResponseBase = await super().call_handler(request, *args, **kwargs)  # type: ignore[misc]
            return plain
        key = read_key(text)
        body = await request.abody()
        caller = self.get_idempotency_caller()
        scope = _digest(caller, request.method, request.path, key)
        fingerprint = _fingerprint(request.META, body)
        try:
            return await self._attempt(uuid.UUID(bytes=scope[:16]), fingerprint, *args, **kwargs)
        except _RefusedError as refused:
            return refused.response

    async def _attempt(
        self, scope: uuid.UUID, fingerprint: bytes, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        store = current_store()
        try:
            async with store.attempt(scope) as kept:
                if kept is not None:
                    return _replayed(kept, fingerprint)
                response = await self._carry_out(*args, **kwargs)
                if response.status_code >= 400:
                    raise _RefusedError(response)  # noqa: TRY301 - what leaves rolls back
                await store.keep(scope, _kept(response, fingerprint), _expiry())
                return response
        except _RefusedError as refused:
            if refused.response.status_code < 500 and refused.response.status_code not in _PASSING:
                async with store.attempt(scope) as kept:
                    if kept is None:
                        answer = _kept(refused.response, fingerprint)
                        await store.keep(scope, answer, _expiry())
            raise

    async def _carry_out(self, *args: Any, **kwargs: Any) -> Any:
        """The answer as it will be sent. Raises what is a fault of the server."""
        view: Any = self
        request = self.request
        try:
            response = await super().call_handler(request, *args, **kwargs)  # type: ignore[misc]
        except Exception as exc:  # noqa: BLE001 - handle_exception raises what it does not know
            response = await view.handle_exception(exc)
        response = view.finalize_response(request, response, *args, **kwargs)
        await view.prepare_response(response)
        if hasattr(response, "render"):
            response.render()
        return response


def read_key(text: str | None) -> str:
    """Raises ValidationError that names the header."""
    match = _KEY.fullmatch((text or "").strip())
    key = "" if match is None else match[1] or match[2]
    if not 0 < len(key) <= MAX_KEY_LENGTH:
        raise ValidationError({HEADER: [_EXPECTED]})
    return key


def _digest(*parts: str | bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8))
        digest.update(data)
    return digest.digest()


def _fingerprint(meta: dict[str, Any], body: bytes) -> bytes:
    """Of query, content type and body, byte for byte; a form's boundary, made anew, is left out."""
    kind = meta.get("CONTENT_TYPE", "")
    boundary = _BOUNDARY.search(kind)
    if boundary is not None:
        kind = kind.replace(boundary[1], "")
        body = body.replace(boundary[1].encode(), b"")
    return _digest(meta.get("QUERY_STRING", ""), kind, body)


def _kept(response: Any, fingerprint: bytes) -> Answer:
    headers = {name: response[name] for name in _KEPT_HEADERS if name in response}
    body = None if response.streaming else response.content
    if body is not None and len(body) > MAX_BODY_BYTES:
        body = None
    return Answer(fingerprint, response.status_code, headers, body)


def _replayed(kept: Answer, fingerprint: bytes) -> HttpResponse:
    if kept.fingerprint != fingerprint:
        raise KeyReused
    if kept.body is None:
        raise Conflict(
            f"This was carried out before, with status {kept.status}; its answer was too large to"
            " keep. Read what it made.",
            "idempotency_answer_not_kept",
        )
    response = HttpResponse(kept.body, status=kept.status, headers=kept.headers)
    if "Content-Type" not in kept.headers:
        del response["Content-Type"]
    response["Idempotency-Replayed"] = "true"
    return response


async def clear_expired_forever(*, every_seconds: float = 3600) -> None:
    """Now and then once an hour. Each worker does it: rows that another one deletes are skipped."""
    while True:
        try:
            await current_store().clear_expired(timezone.now())
        except DatabaseError:
            logger.warning("Old answers were not cleared; next try later.", exc_info=True)
        await asyncio.sleep(every_seconds)


def _expiry() -> datetime:
    hours = getattr(settings, "STOWAGE", {}).get("IDEMPOTENCY_HOURS", 24)
    return timezone.now() + timedelta(hours=hours)

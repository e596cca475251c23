"""What every write of a versioned object takes: `If-Match`, and `?dry_run=all`.

    If-Match: "3"      only if the object's version is 3 still; else 412 with the current version
    ?dry_run=all       validate, run, answer as usual, and take everything back

The ETag of an answer is the object's `version` in quotes. It counts what writers change: a host
that was merely seen again keeps its version.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import asynccontextmanager
from typing import Any

from app import db
from app.fleet.services.versions import VersionMismatchError
from app.rest.exceptions import ValidationError
from app.rest.request import Request
from app.rest.response import Response

TAG = re.compile(r'\s*(W/)?"([^"]*)"\s*\Z')


class _TakenBackError(Exception):
    """Rolls a dry run back."""


def is_dry_run(request: Request) -> bool:
    """Raises ValidationError for a value other than `all`."""
    value = request.query_params.get("dry_run")
    if value not in (None, "all"):
        raise ValidationError({"dry_run": ["Write 'all', or leave it out to make the change."]})
    return value is not None


def expected_versions(request: Request) -> Container[int] | None:
    """The versions that `If-Match` names; None without it, and for `*`.

    A weak tag matches nothing (RFC 9110, 13.1.1). Raises ValidationError when it can't be read.
    """
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    versions = set()
    for part in header.split(","):
        tag = TAG.match(part)
        if tag is None:
            raise ValidationError({"If-Match": ['Write the version in quotes, such as "3".']})
        if not tag[1] and tag[2].isdecimal():
            versions.add(int(tag[2]))
    return versions


@asynccontextmanager
async def trial(request: Request) -> AsyncIterator[bool]:
    """What is written inside is taken back if the request is a dry run."""
    if not is_dry_run(request):
        yield False
        return
    try:
        async with db.atomic():
            yield True
            # Foreign keys are checked at commit, which a dry run never reaches.
            await db.execute("SET CONSTRAINTS ALL IMMEDIATE")
            raise _TakenBackError  # noqa: TRY301 - what leaves the block rolls it back
    except _TakenBackError:
        pass


class VersionedWritesMixin:
    """Put before a viewset's mixins. `perform_*` passes `versions()` to the service."""

    request: Request
    serializer_class: Any

    def versions(self) -> Container[int] | None:
        return expected_versions(self.request)

    async def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        async with trial(request) as is_dry:
            response: Response = await super().create(request, *args, **kwargs)  # type: ignore[misc]
            if is_dry:
                response.data["id"] = None  # none was given out
        return _tagged(response)

    async def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        try:
            async with trial(request):
                response: Response = await super().update(request, *args, **kwargs)  # type: ignore[misc]
        except VersionMismatchError as error:
            return _refused(error)
        return _tagged(response)

    async def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        try:
            async with trial(request):
                response: Response = await super().destroy(request, *args, **kwargs)  # type: ignore[misc]
        except VersionMismatchError as error:
            return _refused(error)
        return response

    async def answer(self, write: Callable[[], Awaitable[Any]]) -> Response:
        """The answer to an action that writes: what `write()` gives, in the viewset's words."""
        try:
            async with trial(self.request):
                instance = await write()
                serializer = self.serializer_class(instance)
                response = Response(await serializer.adata)
        except VersionMismatchError as error:
            return _refused(error)
        return _tagged(response)

    async def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return _tagged(await super().retrieve(request, *args, **kwargs))  # type: ignore[misc]


def _tagged(response: Response) -> Response:
    if "version" in response.data:  # unless it was not asked for (`?fields=`)
        response["ETag"] = f'"{response.data["version"]}"'
    return response


def _refused(error: VersionMismatchError) -> Response:
    body = {"detail": error.detail, "version": error.version}
    return Response(body, status=412, headers={"ETag": f'"{error.version}"'})

"""What every write of a versioned object takes: `If-Match`, `Idempotency-Key`, `?dry_run=all`.

    If-Match: "3"      only if the object's version is 3 still; else 412 with the current version
    ?dry_run=all       validate, run, answer as usual, and take everything back

The version counts what writers change: a host that was merely seen again keeps it. Its ETag moves
on all the same: `"3-5be1c1d0a1f2b3c4"` is version 3, as it was seen at some moment.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from app import db
from app.rest.conditional import ConditionalMixin
from app.rest.dry_runs import is_dry_run
from app.rest.idempotency import IdempotentMixin
from app.rest.request import Request
from app.rest.response import Response


@asynccontextmanager
async def trial(request: Request) -> AsyncIterator[bool]:
    """What is written inside is taken back if the request is a dry run."""
    if not is_dry_run(request):
        yield False
        return
    async with db.rehearsal():
        yield True


class VersionedWritesMixin(IdempotentMixin, ConditionalMixin):
    """Put before a viewset's mixins. `perform_*` passes `versions()` to the service, which checks
    it on the row that it has locked.
    """

    serializer_class: Any
    version_field = "version"
    locks_rows = False

    async def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        async with trial(request) as is_dry:
            response: Response = await super().create(request, *args, **kwargs)  # type: ignore[misc]
            if is_dry:
                response.data["id"] = None  # none was given out
        return response

    async def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        async with trial(request):
            response: Response = await super().update(request, *args, **kwargs)  # type: ignore[misc]
        return response

    async def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        async with trial(request):
            response: Response = await super().destroy(request, *args, **kwargs)  # type: ignore[misc]
        return response

    async def answer(self, write: Callable[[], Awaitable[Any]]) -> Response:
        """The answer to an action that writes: what `write()` gives, in the viewset's words."""
        async with trial(self.request):
            self._object = await write()
            return Response(await self.serializer_class(self._object).adata)

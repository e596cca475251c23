"""DRF's Request, authenticated and read without blocking.

The view awaits `aauthenticate()` and `aload()` before its handler runs, so that `request.user`,
`request.auth` and `request.data` are plain attributes by then, as DRF users expect.
"""

from typing import Any

from adrf.requests import AsyncRequest
from django.core.exceptions import SynchronousOnlyOperation
from rest_framework import exceptions
from rest_framework.request import Empty, ForcedAuthentication, clone_request, override_method

from app.rest.colours import Colour, call, colour_of, computes

__all__ = ["Empty", "Request", "clone_request", "override_method"]

computes(ForcedAuthentication)


class Request(AsyncRequest):
    """Adds the awaitables `aauthenticate()`, `auser()`, `abody()`, `aload()` to DRF's request."""

    async def aauthenticate(self) -> None:
        """Ask each authenticator in turn; sets `user` and `auth`. May raise an APIException."""
        if hasattr(self, "_user"):
            return
        for authenticator in self.authenticators:
            try:
                pair = await call(authenticator, "authenticate", self)
            except exceptions.APIException:
                self._not_authenticated()
                raise
            if pair is not None:
                self._authenticator = authenticator
                self.user, self.auth = pair
                return
        self._not_authenticated()

    async def auser(self) -> Any:
        """The user, authenticating first if nobody has yet."""
        await self.aauthenticate()
        return self._user

    async def abody(self) -> bytes:
        """The whole body. Raises RequestTooLarge over `DATA_UPLOAD_MAX_MEMORY_SIZE`."""
        read = getattr(self._request, "abody", None)
        return self._request.body if read is None else await read()

    async def aload(self) -> None:
        """Read the body, so that `request.data` has only to parse it."""
        read = getattr(self._request, "abody", None)
        if read is not None:
            await read()

    def _authenticate(self) -> None:
        for authenticator in self.authenticators:
            if colour_of(type(authenticator), "authenticate") is not Colour.IN_PLACE:
                raise SynchronousOnlyOperation(
                    "request.user was read before the request was authenticated. "
                    "Write `await request.auser()`."
                )
        super()._authenticate()

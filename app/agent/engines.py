"""Questions to a Docker engine: GET only, over aiodocker's session, every answer bounded in time.

The version of the API is the engine's own, asked for at each new beginning: an engine refuses
clients below its minimum (Engine 29: 1.44), and may have been upgraded while it was gone.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiodocker
import aiohttp

from app.agent.sources import SourceUnavailableError

ANSWER_SECONDS = 20.0
SAMPLE_SECONDS = 5.0
CONNECT_SECONDS = 5.0
QUIET_SECONDS = 300.0  # an event stream that says nothing for this long is opened anew
LINE_BYTES = 2**18  # an event carries all labels of its container

ERRORS = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


class EngineRefusedError(SourceUnavailableError):
    """The engine is there, but answers this question with an error."""


class Engine:
    """A Docker engine. 404 is None: it may be gone. All else raises SourceUnavailableError."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._docker: aiodocker.Docker | None = None
        self._version: str | None = None

    async def version(self) -> str:
        """The API version that the engine speaks, such as v1.41."""
        if self._version is None:
            answer = await self._read("version", {}, ANSWER_SECONDS)
            if not isinstance(answer, dict) or "ApiVersion" not in answer:
                raise SourceUnavailableError(f"what answers at {self.url} is no Docker engine")
            self._version = f"v{answer['ApiVersion']}"
        return self._version

    async def get(self, path: str, *, seconds: float = ANSWER_SECONDS, **params: str) -> Any:
        """The answer to GET, decoded; None when what `path` names is not there."""
        return await self._read(f"{await self.version()}/{path}", params, seconds)

    async def events(self, **params: str) -> AsyncGenerator[dict[str, Any] | None, None]:
        """Each event as it happens, after a None that says: from here on, nothing is missed."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=QUIET_SECONDS
        )
        path = f"{await self.version()}/events"
        async with self._asked(path, params, timeout) as answer:
            yield None
            try:
                async for line in answer.content:
                    yield json.loads(line)
            except TimeoutError:
                return  # nothing happened for QUIET_SECONDS

    async def close(self) -> None:
        docker, self._docker, self._version = self._docker, None, None
        if docker is not None:
            await docker.close()

    async def _read(self, path: str, params: dict[str, str], seconds: float) -> Any:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        async with self._asked(path, params, timeout) as answer:
            return None if answer.status == 404 else json.loads(await answer.read())

    @asynccontextmanager
    async def _asked(
        self, path: str, params: dict[str, str], limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            session, base = self._session()
            async with session.get(
                f"{base}/{path}", params=params, timeout=limits, read_bufsize=LINE_BYTES
            ) as answer:
                if answer.status >= 400 and answer.status != 404:
                    raise EngineRefusedError(await self._refusal(answer))
                yield answer
        except ERRORS as error:
            self._version = None
            raise SourceUnavailableError(self._cause(error)) from error

    def _session(self) -> tuple[aiohttp.ClientSession, str]:
        if self._docker is None:
            self._docker = aiodocker.Docker(url=self.url)
        return self._docker.session, self._docker.docker_host

    async def _refusal(self, answer: aiohttp.ClientResponse) -> str:
        if answer.status == 400:
            self._version = None  # "client version is too old": the engine has been upgraded
        text = (await answer.text(errors="replace"))[:300].strip()
        return f"the engine at {self.url} answered {answer.status}: {text}"

    def _cause(self, error: BaseException) -> str:
        root: BaseException = getattr(error, "os_error", None) or error
        if isinstance(root, PermissionError):
            return (
                f"no permission for the engine's socket {self.url}: run the agent as root, "
                "or as a member of the socket's group (usually docker)"
            )
        if isinstance(root, FileNotFoundError):
            return f"no engine at {self.url}: its socket does not exist"
        if isinstance(root, asyncio.TimeoutError):
            return f"the engine at {self.url} does not answer in time"
        return f"no answer from the engine at {self.url}: {root or type(root).__name__}"

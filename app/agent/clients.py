"""The API as the agent sees it: two calls, each bounded in time, that answer and never raise."""

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import aiohttp

from app.agent.answers import Answer, Verdict, read_answer
from app.agent.observations import Sample

TIMEOUT = aiohttp.ClientTimeout(total=60.0, sock_connect=5.0, sock_read=30.0)
ANSWER_BYTES = 8 * 2**20


class Client:
    """Speaks to one API with one token. What an idle one cut off is sent again."""

    def __init__(self, url: str, token: str, *, timeout: aiohttp.ClientTimeout = TIMEOUT) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": "stowage-agent"}
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def observe(self, observation: Mapping[str, Any]) -> Answer:
        """Sends a full list; the accepted body holds the ids of its containers."""
        content = json.dumps(observation, separators=(",", ":")).encode()
        return await self._post("/api/v1/hosts/observe/", content, "application/json")

    async def record(self, samples: Iterable[tuple[int, Sample]]) -> Answer:
        """Sends samples, each with its container's id. Bad ones are named, the rest is stored."""
        content = "".join(map(line_of, samples)).encode()
        return await self._post("/api/v1/usage/?on_error=skip", content, "application/x-ndjson")

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(self, path: str, content: bytes, media_type: str) -> Answer:
        try:
            try:
                return await self._try(path, content, media_type)
            except (aiohttp.ClientConnectorError, TimeoutError):
                raise
            except (aiohttp.ServerDisconnectedError, OSError):
                return await self._try(path, content, media_type)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(Verdict.LATER, cause_of(error))

    async def _try(self, path: str, content: bytes, media_type: str) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=1),
            )
        async with self._session.post(
            self.url + path,
            data=content,
            headers={
                "Content-Type": media_type,
                "Date": format_datetime(datetime.now(UTC), usegmt=True),  # tells our clock's skew
            },
            allow_redirects=False,  # a redirect would carry the token elsewhere
        ) as response:
            answer = await response.content.read(ANSWER_BYTES)
            while chunk := await response.content.read(ANSWER_BYTES - len(answer)):
                answer += chunk
            now = datetime.now(UTC)
            return read_answer(response.status, response.headers, answer, url=self.url, now=now)


def line_of(item: tuple[int, Sample]) -> str:
    """One line of NDJSON."""
    container, sample = item
    fields = {
        "container": container,
        "at": sample.at,
        "cpu_cores": sample.cpu_cores,
        "memory_bytes": sample.memory_bytes,
    }
    return json.dumps(fields, separators=(",", ":")) + "\n"


def cause_of(error: BaseException) -> str:
    """Why there is no answer, in few words, always the same for the same cause."""
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError):
        return "it cut the connection"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__

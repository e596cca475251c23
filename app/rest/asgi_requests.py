"""Django's ASGIRequest, made in fewer steps, whose body is read by `await request.abody()`.

What it offers is Django's. Three things are looked up once instead of for each request: how a
header is spelt in META, whether a host is allowed, and (`Later`) what middleware puts on a request
for views that may never look at it.
"""

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.core.handlers.asgi import ASGIRequest as DjangoASGIRequest
from django.core.handlers.asgi import get_script_prefix

from app.rest.bodies import Body
from app.rest.shortcuts import setting

MOST_HOSTS = 256
_PLAIN_TYPES = {"", "application/json", "application/x-ndjson"}


@lru_cache(maxsize=512)
def meta_key(name: bytes) -> str:
    """A header's name as META spells it; empty for one that could pass for another."""
    text = name.decode("latin1")
    if "_" in text:
        return ""
    if text in {"content-length", "content-type"}:
        return text.upper().replace("-", "_")
    return f"HTTP_{text.upper().replace('-', '_')}"


class Later:
    """An attribute that middleware promised, made when somebody looks at it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, request: Any, owner: Any = None) -> Any:
        make = None if request is None else request.promises.get(self.name)
        if make is None:
            raise AttributeError(self.name)
        value = request.__dict__[self.name] = make(request)
        return value


class _AllowedHosts:
    """Hosts that passed, for as long as ALLOWED_HOSTS is what it was."""

    def __init__(self) -> None:
        self.allowed: list[str] | None = None
        self.hosts: set[str] = set()

    def has(self, host: str) -> bool:
        if self.allowed != setting("ALLOWED_HOSTS"):
            self.allowed, self.hosts = list(setting("ALLOWED_HOSTS")), set()
        return bool(self.allowed) and host in self.hosts

    def add(self, host: str) -> None:
        if len(self.hosts) >= MOST_HOSTS:
            self.hosts.clear()
        self.hosts.add(host)


_allowed_hosts = _AllowedHosts()


class ASGIRequest(DjangoASGIRequest):
    """See the module. `promises`: what makes each of the attributes that come `Later`."""

    promises: dict[str, Callable[[Any], Any]] = {}
    session: Any = Later("session")
    user: Any = Later("user")
    auser: Any = Later("auser")

    def __init__(self, scope: dict[str, Any], body: Body) -> None:
        self.scope = scope
        self.body_source = body
        self._post_parse_error = self._read_started = False
        self.resolver_match = None
        self.path = self.path_info = scope["path"]
        self.script_name = get_script_prefix(scope)
        if self.script_name:
            self.path_info = scope["path"].removeprefix(self.script_name)
        self.method = scope["method"].upper()
        self.META = self._read_meta(scope)
        content_type = self.META.get("CONTENT_TYPE", "")
        if content_type in _PLAIN_TYPES:
            self.content_type, self.content_params = content_type, {}
        else:
            self._set_content_type_params(self.META)  # type: ignore[attr-defined]
        self._stream = io.BytesIO()
        if "HTTP_TRANSFER_ENCODING" in self.META and not self.META.get("CONTENT_LENGTH"):
            # DRF takes a request without a length for one without a body.
            self.META["CONTENT_LENGTH"] = "-1"
        # No server writes these two into a scope, only the test client does.
        self._dont_enforce_csrf_checks = not scope.get("enforce_csrf_checks", True)
        forced = scope.get("force_authenticate")
        if forced is not None:
            self._force_auth_user, self._force_auth_token = forced

    def _read_meta(self, scope: dict[str, Any]) -> dict[str, Any]:
        query_string = scope.get("query_string", "")
        if isinstance(query_string, bytes):
            query_string = query_string.decode()
        server = scope.get("server")
        meta: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "QUERY_STRING": query_string,
            "SCRIPT_NAME": self.script_name,
            "PATH_INFO": self.path_info,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "SERVER_NAME": server[0] if server else "unknown",
            "SERVER_PORT": str(server[1]) if server else "0",
        }
        client = scope.get("client")
        if client:
            meta["REMOTE_ADDR"] = meta["REMOTE_HOST"] = client[0]
            meta["REMOTE_PORT"] = client[1]
        seen = set()
        for name, value in scope.get("headers", ()):
            key = meta_key(name)
            if key in seen:
                meta[key] = f"{meta[key]},{value.decode('latin1')}"
            elif key:
                seen.add(key)
                meta[key] = value.decode("latin1")
        return meta

    def get_host(self) -> str:
        """Django's. Raises DisallowedHost."""
        host: str = self._get_raw_host()  # type: ignore[attr-defined]
        if not _allowed_hosts.has(host):
            super().get_host()
            _allowed_hosts.add(host)
        return host

    async def abody(self) -> bytes:
        """Read the body, if nobody has. `request.body`, `.POST` and `.read()` work from then on."""
        content = await self.body_source.read()
        if not hasattr(self, "_body"):
            self._body = content
            self._stream = io.BytesIO(content)
            if self.META.get("CONTENT_LENGTH") == "-1":
                self.META["CONTENT_LENGTH"] = str(len(content))
        return content


__all__ = ["ASGIRequest", "Later"]

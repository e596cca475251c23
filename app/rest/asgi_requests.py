"""Django's ASGIRequest, made in fewer steps, whose body is read by `await request.abody()`.

What it offers is Django's. What its headers say is read once for all that are alike (`heads`), and
whether a host is allowed is asked once; what middleware puts on a request for views that may never
look at it comes `Later`.
"""

import io
from collections.abc import Callable
from typing import Any

from django.core.handlers.asgi import ASGIRequest as DjangoASGIRequest
from django.utils.functional import cached_property
from rest_framework.request import Request as DRFRequest

from app.rest.bodies import Body
from app.rest.body_headers import check_body_headers
from app.rest.callers import take_caller
from app.rest.query_strings import items_of, parsed, readable
from app.rest.shortcuts import setting, settings_read

MOST_HOSTS = 256


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


class _OfCaller(Later):
    """Likewise, of a caller who was recognized (`callers`)."""

    def __get__(self, request: Any, owner: Any = None) -> Any:
        if request is not None and take_caller(request) is not None:
            return request.__dict__[self.name]
        return super().__get__(request, owner)


class _AllowedHosts:
    """Hosts that passed, for as long as ALLOWED_HOSTS is what it was."""

    def __init__(self) -> None:
        self.allowed: list[str] | None = None
        self.hosts: set[str] = set()

    def has(self, host: str) -> bool:
        """Whether it passed; forgets those that passed when others may."""
        if self.allowed != setting("ALLOWED_HOSTS"):
            self.allowed, self.hosts = list(setting("ALLOWED_HOSTS")), set()
        return bool(self.allowed) and host in self.hosts

    def add(self, host: str) -> None:
        if len(self.hosts) >= MOST_HOSTS:
            self.hosts.clear()
        self.hosts.add(host)


_allowed_hosts = _AllowedHosts()
_hosts_settings = settings_read("ALLOWED_HOSTS", "USE_X_FORWARDED_HOST")


def script_prefix(scope: dict[str, Any]) -> str:
    """Django's `get_script_prefix`."""
    prefix: str = setting("FORCE_SCRIPT_NAME") or scope.get("root_path", "") or ""
    return prefix


class _EmptyStream:
    """What is read of a request before its body is: nothing. Made for whoever asks."""

    def __get__(self, request: Any, owner: Any = None) -> Any:
        if request is None:
            return self
        stream = request.__dict__["_stream"] = io.BytesIO()
        return stream


class ASGIRequest(DjangoASGIRequest):
    """See the module. `promises`: what makes each of the attributes that come `Later`."""

    promises: dict[str, Callable[[Any], Any]] = {}
    session: Any = Later("session")
    user: Any = _OfCaller("user")
    auth: Any = _OfCaller("auth")
    auser: Any = Later("auser")
    _stream: Any = _EmptyStream()

    # Django's constructor sets them on each request.
    resolver_match = None
    _post_parse_error = _read_started = _dont_enforce_csrf_checks = False

    def __init__(self, scope: dict[str, Any], body: Body) -> None:
        head = body.head
        self.scope = scope
        self.body_source = body
        self.path = self.path_info = path = scope["path"]
        self.script_name = prefix = script_prefix(scope)
        if prefix:
            self.path_info = path.removeprefix(prefix)
        self.method = scope["method"].upper()
        self.content_type = head.content_type
        self.content_params = head.content_params.copy()
        if head.codec is not None:
            self.encoding = head.codec
        query_string = scope.get("query_string", "")
        if isinstance(query_string, bytes):
            query_string = readable(query_string)
        server, client = scope.get("server"), scope.get("client")
        self.META = meta = head.meta.copy()
        meta["REQUEST_METHOD"] = self.method
        meta["QUERY_STRING"] = query_string
        meta["SCRIPT_NAME"] = prefix
        meta["PATH_INFO"] = self.path_info
        if server:
            meta["SERVER_NAME"], meta["SERVER_PORT"] = server[0], str(server[1])
        if client:
            meta["REMOTE_ADDR"] = meta["REMOTE_HOST"] = client[0]
            meta["REMOTE_PORT"] = client[1]
        else:
            del meta["REMOTE_ADDR"], meta["REMOTE_HOST"], meta["REMOTE_PORT"]
        # No server writes these two into a scope, only the test client does.
        if "enforce_csrf_checks" in scope:
            self._dont_enforce_csrf_checks = not scope["enforce_csrf_checks"]
        if "force_authenticate" in scope and scope["force_authenticate"] is not None:
            self._force_auth_user, self._force_auth_token = scope["force_authenticate"]

    @cached_property
    def GET(self) -> Any:  # type: ignore[override]  # noqa: N802 - Django's name
        return parsed(self.META["QUERY_STRING"])

    def check_body(self) -> None:
        """Raises an APIException if the headers speak of a body that can't be read."""
        if self.body_source.length or self.META.get("CONTENT_LENGTH"):
            check_body_headers(self.META)

    def get_host(self) -> str:
        """Django's. Raises DisallowedHost."""
        host: str | None = self.META.get("HTTP_HOST")
        if host is None or setting("USE_X_FORWARDED_HOST"):
            host = self._get_raw_host()  # type: ignore[attr-defined]
        if not _allowed_hosts.has(host):
            super().get_host()
            _allowed_hosts.add(host)
        return host

    def has_known_host(self) -> bool:
        """Whether its host is one that passed; if not, `get_host` is to be asked."""
        host = self.META.get("HTTP_HOST")
        allowed, is_forwarded = _hosts_settings()
        return (
            host in _allowed_hosts.hosts and not is_forwarded and allowed == _allowed_hosts.allowed
        )

    async def abody(self) -> bytes:
        """Read the body, if nobody has. `request.body`, `.POST` and `.read()` work from then on.
        Raises an APIException for one that can't be read.
        """
        self.check_body()
        content = await self.body_source.read()
        if not hasattr(self, "_body"):
            self._body = content
            self._stream = io.BytesIO(content)
            if self.META.get("CONTENT_LENGTH") == "-1":
                self.META["CONTENT_LENGTH"] = str(len(content))
        return content


def untouched_query(request: Any) -> str | None:
    """The query of DRF's request, while nobody has looked at its parameters or put others there;
    None from then on.
    """
    inner = getattr(request, "_request", request)
    is_untouched = (
        type(inner) is ASGIRequest
        and "GET" not in inner.__dict__
        and type(request).query_params is _QUERY_PARAMS
    )
    return inner.META["QUERY_STRING"] if is_untouched else None


def parameter_of(request: Any, name: str) -> str | None:
    """`request.query_params.get(name)`, without making those."""
    query = untouched_query(request)
    items = None if query is None else items_of(query)
    if items is None:
        value: str | None = request.query_params.get(name)
        return value
    texts = items.get(name)
    return None if texts is None else texts[-1]


_QUERY_PARAMS = DRFRequest.query_params

__all__ = ["ASGIRequest", "Later", "parameter_of", "script_prefix", "untouched_query"]

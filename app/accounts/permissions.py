"""What the caller may do, by scope.

    caller                     has
    token                      its scopes (write includes read), as far as its user's role reaches
    session of a viewer        read
    session of an operator     read, write   (staff and superusers are operators)

GET, HEAD and OPTIONS need `read`, everything else `write`; a view asks for another scope by action
or by method: `required_scopes = {"observe": "agent"}` or `{"POST": "agent"}`; `ANY` is served to
whoever is authenticated.
"""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission

from app.accounts.models import Scope
from app.rest.callers import at_once

ANY = "any"
READ, WRITE = Scope.READ.value, Scope.WRITE.value  # an enumeration takes a while to say


def _may_at_once(permission: Any, caller: Any, request: Any, view: Any) -> bool:
    """Whether the caller's scopes alone say so."""
    needed = required_scope(request.method, view)
    return needed == ANY or needed in getattr(caller, "scopes", ())


class HasScope(BasePermission):
    @at_once(_may_at_once)
    async def has_permission(self, request: Any, view: Any) -> bool:
        user = request.user
        if not user or not user.is_authenticated:
            return False
        needed = required_scope(request.method, view)
        granted = granted_scopes(request)
        if needed == ANY or needed in granted:
            return True
        self.message = _refusal(needed, granted, request)
        self.code = "scope_missing"
        return False


class ManagesOwnTokens(HasScope):
    """Someone logged in may manage their own tokens, viewers too; a token needs `write` to make
    others."""

    async def has_permission(self, request: Any, view: Any) -> bool:
        is_in_session = request.auth is None and request.user and request.user.is_authenticated
        return is_in_session or await super().has_permission(request, view)


def required_scope(method: str, view: Any) -> str:
    """The scope that a request needs: what the view says of its action, else of the method."""
    asked: dict[str, str] | None = getattr(view, "required_scopes", None)
    default = READ if method in SAFE_METHODS else WRITE
    if not asked:
        return default
    action = getattr(view, "action", None) or ""
    return asked.get(action) or asked.get(method) or default


def granted_scopes(request: Any) -> frozenset[str]:
    """Of the credential when there is one (one that names no scopes has none), else of the user."""
    credential = request.auth
    if credential is None:
        return getattr(request.user, "scopes", frozenset())
    return getattr(credential, "effective_scopes", frozenset())


def _refusal(needed: str, granted: frozenset[str], request: Any) -> str:
    has = ", ".join(sorted(granted)) or "none"
    if request.auth is not None:
        return f"This needs a token with the scope '{needed}'; this one has: {has}."
    if needed == Scope.AGENT:
        return f"This needs a token with the scope '{needed}': it is for agents, not for a session."
    return f"This needs the scope '{needed}'; as a {request.user.role} you have: {has}."

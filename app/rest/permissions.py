"""DRF's permissions. `has_permission` and `has_object_permission` may be `async def`.

Permissions compose with `&`, `|` and `~` whatever their colour; as in DRF, what is not needed to
know the answer is not asked.
"""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_backends
from rest_framework.permissions import (
    AND,
    NOT,
    OR,
    SAFE_METHODS,
    AllowAny,
    BasePermission,
    IsAdminUser,
    IsAuthenticated,
    IsAuthenticatedOrReadOnly,
)
from rest_framework.permissions import (
    DjangoModelPermissions as DRFDjangoModelPermissions,
)
from rest_framework.permissions import (
    DjangoObjectPermissions as DRFDjangoObjectPermissions,
)

from app.rest.bridges import bridged
from app.rest.colours import call

__all__ = [
    "AND",
    "NOT",
    "OR",
    "SAFE_METHODS",
    "AllowAny",
    "BasePermission",
    "DjangoModelPermissions",
    "DjangoModelPermissionsOrAnonReadOnly",
    "DjangoObjectPermissions",
    "IsAdminUser",
    "IsAuthenticated",
    "IsAuthenticatedOrReadOnly",
    "look_at_objects",
]


async def permits(permission: Any, request: Any, view: Any) -> bool:
    """`permission.has_permission(request, view)`, through operators, in each operand's colour."""
    if isinstance(permission, AND):
        return await permits(permission.op1, request, view) and await permits(
            permission.op2, request, view
        )
    if isinstance(permission, OR):
        return await permits(permission.op1, request, view) or await permits(
            permission.op2, request, view
        )
    if isinstance(permission, NOT):
        return not await permits(permission.op1, request, view)
    return bool(await call(permission, "has_permission", request, view))


async def permits_object(permission: Any, request: Any, view: Any, obj: Any) -> bool:
    """`permission.has_object_permission(request, view, obj)`, likewise."""
    if isinstance(permission, AND):
        return await permits_object(permission.op1, request, view, obj) and await permits_object(
            permission.op2, request, view, obj
        )
    if isinstance(permission, OR):
        # DRF: an operand permits the object only if it permits the request at all.
        for operand in (permission.op1, permission.op2):
            if await permits(operand, request, view) and await permits_object(
                operand, request, view, obj
            ):
                return True
        return False
    if isinstance(permission, NOT):
        return not await permits_object(permission.op1, request, view, obj)
    return bool(await call(permission, "has_object_permission", request, view, obj))


def look_at_objects(view: Any) -> bool:
    """Whether any permission that this request needs is about the object."""
    plain = BasePermission.has_object_permission
    return any(
        getattr(type(one), "has_object_permission", None) is not plain
        for one in view.get_permissions()
    )


async def _has_permissions(user: Any, names: list[str], obj: Any = None) -> bool:
    """Django's `ahas_perms`; it passes over backends without `ahas_perm`, which need a thread."""
    ask = getattr(user, "ahas_perms", None)
    backends = get_backends()
    if ask is None or any(hasattr(one, "has_perm") > hasattr(one, "ahas_perm") for one in backends):
        return bool(await sync_to_async(user.has_perms)(names, obj))
    return bool(await ask(names, obj))


class DjangoModelPermissions(DRFDjangoModelPermissions):
    """As DRF's; the user's permissions are asked with Django's `ahas_perms`."""

    @bridged
    async def has_permission(self, request: Any, view: Any) -> bool:
        if not request.user or (
            not request.user.is_authenticated and self.authenticated_users_only
        ):
            return False
        if getattr(view, "_ignore_model_permissions", False):
            return True
        model = self._queryset(view).model
        names = self.get_required_permissions(request.method, model)
        return await _has_permissions(request.user, names)


class DjangoModelPermissionsOrAnonReadOnly(DjangoModelPermissions):
    authenticated_users_only = False


class DjangoObjectPermissions(DjangoModelPermissions, DRFDjangoObjectPermissions):
    """As DRF's: 404 rather than 403 to someone who may not even read the object."""

    @bridged
    async def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        from django.http import Http404

        model = self._queryset(view).model
        names = self.get_required_object_permissions(request.method, model)
        if await _has_permissions(request.user, names, obj):
            return True
        if request.method in SAFE_METHODS:
            raise Http404
        names = self.get_required_object_permissions("GET", model)
        if not await _has_permissions(request.user, names, obj):
            raise Http404
        return False

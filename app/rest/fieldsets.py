"""Answers as narrow or as wide as the client asks: `?fields=`, `?omit=`, `?expand=`.

    ?fields=id,name,host.name      only these; naming a part of a relation expands it
    ?omit=labels,host.labels       all but these
    ?expand=host,workload.team     the related object in place of its key

A view opts in with `FieldsetsMixin`; what may be expanded a serializer declares:

    class Meta:
        expandable_fields = {"host": HostSerializer, "team": Expandable("app.x.TeamSerializer")}

Theory of operation. What is asked for is read once, before any query, into a `Shape`: a tree of
names, checked against the serializers. From a serializer class and a shape a subclass is made
(`shaped`), and kept: so the compiled reading of `compilation` serves it like any other class. From
the subclass follows what it reads (`reads_of`), and the QuerySet is narrowed to that: the columns
with `only()`, the joins with `select_related()`, relations to many with a `Prefetch` of their own.
A request with none of the parameters pays one look at its query string.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.utils.module_loading import import_string
from rest_framework import serializers as drf
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.permissions import SAFE_METHODS

from app.rest.narrowing import narrowed
from app.rest.permissions import look_at_objects, permits, permits_object

__all__ = ["Expandable", "FieldsetsMixin", "Shape", "expandables_of", "names_of", "shaped"]

PARAMETERS = ("fields", "omit", "expand")
MAX_NAMES = 200
KEPT_CLASSES = 256
"""How many shapes are remembered, of all serializers together; the one not used longest goes."""


class Expandable:
    """A relation that may be shown as the object itself.

    `serializer` is a class or its dotted path; further arguments go to it (`many`, `source`).
    `permission_classes` guard it beside the view's own: who may not see such objects at all gets a
    403 that names the relation; one that refuses a certain object leaves its key in its place.
    """

    def __init__(
        self, serializer: Any, *, permission_classes: Iterable[Any] = (), **kwargs: Any
    ) -> None:
        self._serializer = serializer
        self.permission_classes = tuple(permission_classes)
        self.kwargs = {"read_only": True, **kwargs}

    @property
    def serializer_class(self) -> Any:
        if isinstance(self._serializer, str):
            self._serializer = import_string(self._serializer)
        return self._serializer


@dataclass(frozen=True)
class Shape:
    """`names`: of the fields, in the serializer's order. `below`: the shapes of those that are
    objects; `expanded`: which of these stand in place of a key.
    """

    names: tuple[str, ...]
    below: tuple[tuple[str, "Shape"], ...] = ()
    expanded: frozenset[str] = frozenset()


# Reading the parameters

Tree = dict[str, "Tree"]


def _tree(parameter: str, texts: list[str]) -> Tree:
    """`a,b.c` as `{"a": {}, "b": {"c": {}}}`. Raises ValidationError."""
    tree: Tree = {}
    names = [name for text in texts for name in text.split(",") if name]
    if len(names) > MAX_NAMES:
        raise ValidationError({parameter: [f"At most {MAX_NAMES} names; got {len(names)}."]})
    for name in names:
        level = tree
        for part in name.split("."):
            level = level.setdefault(part, {})
    return tree


def read_shape(serializer_class: Any, query: Mapping[str, Any], depth: int) -> Shape | None:
    """The shape that the parameters ask for; None if they ask for nothing.

    Raises ValidationError for a name that is unknown, with those that are known, and for a path
    that is too deep.
    """
    getlist: Any = query.getlist  # type: ignore[attr-defined]
    fields, omit, expand = (_tree(name, getlist(name)) for name in PARAMETERS)
    if not fields and not omit and not expand:
        return None
    return _build(serializer_class, _Asked(fields, omit, expand), (), depth)


@dataclass(frozen=True)
class _Asked:
    fields: Tree
    omit: Tree
    expand: Tree

    def below(self, name: str) -> "_Asked":
        return _Asked(*(tree.get(name, {}) for tree in (self.fields, self.omit, self.expand)))


def _build(cls: Any, asked: _Asked, path: tuple[str, ...], depth: int) -> Shape:
    names, nested, expandables = names_of(cls), nested_of(cls), expandables_of(cls)
    _check_known("fields", asked.fields, [*names, *expandables], path)
    _check_known("omit", asked.omit, [*names, *expandables], path)
    _check_known("expand", asked.expand, [*expandables, *nested], path)
    for parameter, tree in (("fields", asked.fields), ("omit", asked.omit)):
        for name, parts in tree.items():
            if parts and name not in expandables and name not in nested:
                _refuse(parameter, (*path, name), "has no parts to choose from.")
    expanded = {
        name
        for name in expandables
        if name in asked.expand or asked.fields.get(name)  # a part of it is asked for
    }
    if expanded and len(path) >= depth:
        parameter = "expand" if asked.expand else "fields"
        _refuse(parameter, (*path, *sorted(expanded)[:1]), f"is deeper than {depth} levels.")
    left_out = {name for name, parts in asked.omit.items() if not parts}
    wanted = set(asked.fields) | expanded if asked.fields else {*names, *expanded}
    chosen = tuple(name for name in dict.fromkeys([*names, *expandables]) if name in wanted)
    chosen = tuple(name for name in chosen if name not in left_out)
    below = []
    for name in chosen:
        if name in expanded:
            child = expandables[name].serializer_class
        elif name in nested:
            child = nested[name]
        else:
            continue
        below.append((name, _build(child, asked.below(name), (*path, name), depth)))
    return Shape(chosen, tuple(below), frozenset(expanded & set(chosen)))


def _check_known(parameter: str, tree: Tree, known: Iterable[str], path: tuple[str, ...]) -> None:
    unknown = [name for name in tree if name not in known]
    if unknown:
        names = ", ".join(".".join((*path, name)) for name in dict.fromkeys(known)) or "none"
        _refuse(parameter, (*path, unknown[0]), f"is unknown. Known are: {names}.")


def _refuse(parameter: str, path: tuple[str, ...], why: str) -> None:
    raise ValidationError({parameter: [f"'{'.'.join(path)}' {why}"]})


# What serializers declare


@lru_cache(maxsize=KEPT_CLASSES)
def names_of(cls: Any) -> tuple[str, ...]:
    """The names of what the serializer answers with."""
    return tuple(name for name, field in cls().fields.items() if not field.write_only)


@lru_cache(maxsize=KEPT_CLASSES)
def nested_of(cls: Any) -> dict[str, Any]:
    """The serializer classes of the fields that are objects as it is."""
    return {
        name: type(getattr(field, "child", field))
        for name, field in cls._declared_fields.items()
        if isinstance(field, drf.BaseSerializer) and not field.write_only
        and isinstance(getattr(field, "child", field), drf.Serializer)
    }  # fmt: skip


def expandables_of(cls: Any) -> dict[str, Expandable]:
    declared = getattr(getattr(cls, "Meta", None), "expandable_fields", {})
    return {
        name: one if isinstance(one, Expandable) else Expandable(one)
        for name, one in declared.items()
    }


# Making classes


@lru_cache(maxsize=KEPT_CLASSES)
def shaped(cls: Any, shape: Shape) -> Any:
    """The subclass of a serializer that answers in this shape."""
    attributes: dict[str, Any] = {"__module__": cls.__module__, "shape": shape}
    expandables = expandables_of(cls)
    for name, inner in shape.below:
        if name in shape.expanded:
            attributes[name] = _expanded(expandables[name], inner)
        else:
            attributes[name] = _renewed(cls._declared_fields[name], inner)
    meta: Any = getattr(cls, "Meta", object)
    if issubclass(cls, drf.ModelSerializer):
        attributes["Meta"] = type("Meta", (meta,), {"fields": list(shape.names), "exclude": None})
    else:
        attributes |= {name: None for name in cls._declared_fields if name not in shape.names}
    return type(cls.__name__, (cls,), attributes)


def _expanded(expandable: Expandable, shape: Shape) -> Any:
    child = shaped(expandable.serializer_class, shape)
    if expandable.permission_classes:
        child = _guarded(child, expandable.permission_classes)
    return child(**expandable.kwargs)


def _renewed(field: Any, shape: Shape) -> Any:
    """A nested serializer as it was declared, in this shape."""
    own: Any = type(getattr(field, "child", field))
    child = shaped(own, shape)
    return child(*field._args, **field._kwargs)


def _guarded(cls: Any, permission_classes: tuple[Any, ...]) -> Any:
    """Shows an object's key where one of the permissions refuses the object."""

    async def ato_representation(self: Any, instance: Any) -> Any:
        request, view = self.context["request"], self.context["view"]
        for permission in permission_classes:
            if not await permits_object(permission(), request, view, instance):
                return instance.pk
        return await cls.ato_representation(self, instance)

    # `representation` passes over what is app.rest's own; this must be awaited for each object.
    ato_representation.__module__ = cls.__module__
    attributes = {"ato_representation": ato_representation, "reads_all": True}
    return type(cls.__name__, (cls,), attributes)


# The view


class FieldsetsMixin:
    """Put before a generic view's other classes. Reads the parameters of safe methods."""

    max_expand_depth = 3
    request: Any
    _shape: Shape | None = None

    async def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        await super().initial(request, *args, **kwargs)  # type: ignore[misc]
        if request.method in SAFE_METHODS and request._request.META.get("QUERY_STRING"):
            query = request.query_params
            if any(name in query for name in PARAMETERS):
                cls: Any = super().get_serializer_class()  # type: ignore[misc]
                self._shape = read_shape(cls, query, self.max_expand_depth)
                if self._shape is not None:
                    await self._check_expanded(cls, self._shape, ())

    async def _check_expanded(self, cls: Any, shape: Shape, path: tuple[str, ...]) -> None:
        """Raises PermissionDenied for an expansion that this caller may not have at all."""
        for name, inner in shape.below:
            child = nested_of(cls).get(name)
            if name in shape.expanded:
                expandable = expandables_of(cls)[name]
                child = expandable.serializer_class
                for permission in expandable.permission_classes:
                    if not await permits(permission(), self.request, self):
                        what = ".".join((*path, name))
                        raise PermissionDenied(f"You may not expand '{what}'. Leave it out.")
            await self._check_expanded(child, inner, (*path, name))

    def get_serializer_class(self) -> Any:
        cls: Any = super().get_serializer_class()  # type: ignore[misc]
        if self._shape is None or self.request.method not in SAFE_METHODS:
            return cls
        return shaped(cls, self._shape)

    async def filter_queryset(self, queryset: Any) -> Any:
        queryset = await super().filter_queryset(queryset)  # type: ignore[misc]
        if self._shape is None or self.request.method not in SAFE_METHODS:
            return queryset
        keep = None if self._asks_of_objects() else self._ordering_of(queryset)
        return narrowed(queryset, self.get_serializer_class(), keep)

    def _asks_of_objects(self) -> bool:
        """Whether a permission looks at the object that the URL names: it may read all of it."""
        view: Any = self
        if (view.lookup_url_kwarg or view.lookup_field) not in view.kwargs:
            return False
        return look_at_objects(view)

    def _ordering_of(self, queryset: Any) -> set[str]:
        """What the paginator reads of the rows."""
        view: Any = self
        if not hasattr(view.paginator, "get_ordering"):
            return set()
        return {
            name.lstrip("-") for name in view.paginator.get_ordering(self.request, queryset, view)
        }

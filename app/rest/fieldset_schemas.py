"""What the OpenAPI schema says of `app.rest.fieldsets`: parameters, and answers that may lack any
field and hold objects in place of keys.
"""

from functools import lru_cache
from typing import Any

from drf_spectacular.plumbing import is_serializer
from rest_framework.serializers import ModelSerializer

from app.rest.fieldsets import FieldsetsMixin, expandables_of, names_of, nested_of

Schema = dict[str, Any]

_DESCRIPTIONS = {
    "fields": "Only these fields; a part of a related object, `host.name`, expands it.",
    "omit": "All fields but these.",
    "expand": "The related objects in place of their keys.",
}


def applies(auto_schema: Any) -> bool:
    """Whether the operation answers in the shape that is asked for."""
    view = auto_schema.view
    is_reading = auto_schema.method == "GET" and isinstance(view, FieldsetsMixin)
    return is_reading and issubclass(view.get_serializer_class(), ModelSerializer)


def response(auto_schema: Any, serializer: Any) -> Any:
    """The view's own serializer made sparse; any other answer is as it was told of."""
    if not is_serializer(serializer) or not applies(auto_schema):
        return serializer
    is_own = type(serializer) is auto_schema.view.get_serializer_class()
    own: Any = type(serializer)
    return sparse(own)() if is_own else serializer


def parameters(view: Any) -> list[Schema]:
    """The parameters, each with every name that it takes."""
    cls = view.get_serializer_class()
    names = _paths(cls, view.max_expand_depth, ())
    known = {"fields": names["all"], "omit": names["all"], "expand": names["expanded"]}
    return [
        {
            "in": "query",
            "name": parameter,
            "schema": {"type": "array", "items": {"type": "string", "enum": known[parameter]}},
            "style": "form",
            "explode": False,
            "allowEmptyValue": True,
            "description": _DESCRIPTIONS[parameter],
        }
        for parameter in _DESCRIPTIONS
        if known[parameter]
    ]


def _paths(cls: Any, depth: int, path: tuple[str, ...]) -> dict[str, list[str]]:
    """`all` names of fields, with those of related objects; and what may be `expanded`."""
    expandables, nested = expandables_of(cls), nested_of(cls)
    found: dict[str, list[str]] = {"all": [], "expanded": []}
    for name in dict.fromkeys([*names_of(cls), *expandables]):
        here = (*path, name)
        found["all"].append(".".join(here))
        child = nested.get(name)
        if name in expandables:
            child = expandables[name].serializer_class if len(path) < depth else None
        if child is not None:
            below = _paths(child, depth, here)
            found["all"] += below["all"]
            found["expanded"] += [".".join(here), *below["expanded"]]
    return found


@lru_cache
def sparse(cls: Any) -> Any:
    """A class of the same fields, whose schema requires none of them."""
    return type(f"Sparse{cls.__name__}", (cls,), {"is_sparse": True, "__doc__": _DOC})


_DOC = "As asked for with `fields`, `omit` and `expand`: any field may be left out."


def loosened(auto_schema: Any, serializer: Any, schema: Schema) -> Schema:
    """The schema of a sparse answer, made of that of a whole one."""
    schema = {key: value for key, value in schema.items() if key != "required"}
    properties = dict(schema.get("properties", {}))
    for name, one in expandables_of(type(serializer)).items():
        child = sparse(one.serializer_class)(**one.kwargs)
        inner = getattr(child, "child", child)
        below: Schema = auto_schema.resolve_serializer(inner, "response").ref
        if inner is not child:
            below = {"type": "array", "items": below}
        properties[name] = {"anyOf": [properties[name], below]} if name in properties else below
    return schema | {"properties": properties}


def is_sparse(serializer: Any) -> bool:
    return isinstance(serializer, ModelSerializer) and getattr(serializer, "is_sparse", False)

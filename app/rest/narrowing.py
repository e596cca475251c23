"""What a serializer class reads of its model, and QuerySets narrowed to that.

`reads_of` says which columns, joins and relations to many a class reads. What can't be known (a
method, a property) counts as every column of its model, unless the serializer says what it reads:

    class Meta:
        reads = {"allocatable": ["cpus", "reserved_cpus"]}
"""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Prefetch
from rest_framework import fields as drf
from rest_framework import serializers
from rest_framework.relations import (
    HyperlinkedRelatedField,
    ManyRelatedField,
    PrimaryKeyRelatedField,
    RelatedField,
    SlugRelatedField,
)


@dataclass
class Reads:
    """`columns` and `joins` in Django's spelling (`host__name`, `host`); `many`: what is read of
    the rows of each relation to many (None: all). `others`: names that are no columns, and may be
    annotations of the QuerySet.
    """

    columns: set[str] = field(default_factory=set)
    joins: set[str] = field(default_factory=set)
    many: dict[str, tuple[Any, "Reads | None"]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)

    def merge(self, prefix: str, below: "Reads", model: Any) -> None:
        """What is read of the object that `prefix` leads to."""
        self.joins.add(prefix)
        self.joins |= {f"{prefix}__{join}" for join in below.joins}
        columns = _all_columns(model) if below.others else below.columns
        self.columns |= {f"{prefix}__{column}" for column in columns}
        self.many |= {f"{prefix}__{name}": one for name, one in below.many.items()}


_reads: WeakKeyDictionary[type, Reads] = WeakKeyDictionary()


def reads_of(cls: Any) -> Reads:
    """What every object of a ModelSerializer class reads; worked out once."""
    if cls not in _reads:
        _reads[cls] = _reads_of(cls(), cls.Meta.model)
    return _reads[cls]


def _reads_of(serializer: Any, model: Any) -> Reads:
    reads = Reads({model._meta.pk.name})
    if getattr(serializer, "reads_all", False):
        reads.others.add("*")
    told = getattr(serializer.Meta, "reads", {}) if hasattr(serializer, "Meta") else {}
    for one in serializer.fields.values():
        if one.write_only:
            continue
        if one.field_name in told:
            reads.columns |= set(told[one.field_name])
        else:
            _follow(reads, one, model)
    return reads


def _follow(reads: Reads, one: Any, model: Any) -> None:
    """Add what a field reads: its path over foreign keys, and what is at the end of it."""
    attrs, prefix = list(one.source_attrs) or ["*"], ""  # none: the whole object
    for place, attr in enumerate(attrs):
        is_last, column = place == len(attrs) - 1, _column(model, attr)
        if column is None and prefix:
            reads.columns |= {prefix + name for name in _all_columns(model)}
        elif column is None or (column.is_relation and _is_many(column)):
            is_simple = column is not None and is_last and not prefix
            _add_many(reads, one, attr, column) if is_simple else reads.others.add(attr)
        else:
            reads.columns.add(prefix + column.name)
            if column.is_relation and not (is_last and _reads_key(one)):
                reads.joins.add(prefix + column.name)
                prefix, model = f"{prefix}{column.name}__", column.related_model
                continue
        return
    _add_target(reads, one, prefix.removesuffix("__"), model)


def _column(model: Any, attr: str) -> Any:
    try:
        return model._meta.get_field(model._meta.pk.name if attr == "pk" else attr)
    except FieldDoesNotExist:
        return None


def _is_many(column: Any) -> bool:
    """Whether it leads to rows that no column of the model's own names."""
    return not column.concrete or column.many_to_many


def _reads_key(one: Any) -> bool:
    if isinstance(one, HyperlinkedRelatedField):
        return one.lookup_field == "pk"
    return isinstance(one, PrimaryKeyRelatedField)


def _add_target(reads: Reads, one: Any, path: str, model: Any) -> None:
    """What is read of the object that a foreign key leads to."""
    if isinstance(one, serializers.Serializer):
        reads.merge(path, _reads_of(one, model), model)
    elif isinstance(one, SlugRelatedField) and "__" not in one.slug_field:
        reads.columns |= {f"{path}__{one.slug_field}", f"{path}__{model._meta.pk.name}"}
    elif isinstance(one, RelatedField | drf.Field):
        reads.merge(path, Reads(_all_columns(model)), model)


def _add_many(reads: Reads, one: Any, name: str, column: Any) -> None:
    related = column.related_model
    if isinstance(one, ManyRelatedField):
        key = Reads({related._meta.pk.name}) if _reads_key(one.child_relation) else None
        reads.many[name] = (related, key)
    elif isinstance(child := getattr(one, "child", None), serializers.Serializer):
        below = _reads_of(child, related)
        back = getattr(column, "field", None)
        if column.one_to_many and back is not None and back.concrete:
            below.columns.add(back.name)  # by which the rows are given to their objects
        reads.many[name] = (related, below)
    else:
        reads.others.add("*")


def _all_columns(model: Any) -> set[str]:
    return {column.name for column in model._meta.concrete_fields}


def narrowed(queryset: Any, cls: Any, keep: set[str] | None) -> Any:
    """The QuerySet with the columns, joins and relations that `cls` reads, and no others.

    `keep`: columns that somebody else reads of the rows; None if that can't be known, and then
    every column is fetched.
    """
    if not issubclass(cls, serializers.ModelSerializer):
        return queryset
    reads = reads_of(cls)
    queryset = _without_unread(queryset, reads)
    if keep is None:
        return _related(queryset, reads)
    return _narrow(queryset, reads, keep & _all_columns(queryset.model))


def _narrow(queryset: Any, reads: Reads, keep: set[str]) -> Any:
    queryset = _related(queryset, reads)
    if reads.others - set(queryset.query.annotations):
        return queryset
    return queryset.only(*sorted(reads.columns | keep))


def _related(queryset: Any, reads: Reads) -> Any:
    """With the joins and the rows of the relations to many that are read."""
    if reads.joins:
        queryset = queryset.select_related(*sorted(reads.joins))
    taken = {_path(lookup) for lookup in queryset._prefetch_related_lookups}
    more = [
        Prefetch(name, queryset=_narrow(model._default_manager.all(), below, set()))
        for name, (model, below) in reads.many.items()
        if name not in taken and below is not None
    ]
    return queryset.prefetch_related(*more) if more else queryset


def _without_unread(queryset: Any, reads: Reads) -> Any:
    """Without the joins and prefetches that were there for what is not read now."""
    queryset = queryset.select_related(None)
    kept = [one for one in queryset._prefetch_related_lookups if _path(one) in reads.many]
    if len(kept) < len(queryset._prefetch_related_lookups):
        queryset = queryset.prefetch_related(None).prefetch_related(*kept)
    return queryset


def _path(lookup: Any) -> str:
    return str(getattr(lookup, "prefetch_to", lookup))

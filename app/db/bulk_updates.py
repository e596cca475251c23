"""`bulk_update` in one statement that costs little to make, however many objects there are.

Django writes a CASE with a WHEN for each object into every column: three seconds of compiling for a
few thousand objects, in one piece. Here the values are sent as arrays, as Django itself does for
inserts, or where a column has no array type (an array itself, a range) as rows:

    UPDATE t SET a = u.c1 FROM UNNEST($1::bigint[], $2::varchar[]) AS u (c0, c1) WHERE t.id = u.c0

Rule: what is out of the ordinary is Django's to do, and its errors are Django's to raise. So
`plan_of` says None to expressions as values, QuerySets that are narrowed, inherited tables,
composite keys, the same object twice, and fields that write their own SQL.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.transaction import atomic

from app.db.bridges import Stretch

#: PostgreSQL's protocol counts parameters in 16 bits; asyncpg takes half of them.
MOST_PARAMETERS = 32_767


@dataclass(frozen=True)
class Plan:
    """`fields`: the key, then what is written."""

    table: str
    fields: Sequence[Any]
    is_unnested: bool

    def run(self, rows: list[list[Any]], batch_size: int, connection: Any) -> int:
        """Write the prepared rows, all or none; how many there were to write to."""
        statements = list(self.statements(rows, batch_size, connection))
        several = len(statements) > 1  # one is all or none by itself
        count = 0
        with atomic(using=connection.alias, savepoint=False) if several else nullcontext():
            cursor = connection.cursor()
            for sql, params in statements:
                cursor.execute(sql, params)
                count += cursor.rowcount
        return count

    def statements(
        self, rows: list[list[Any]], batch_size: int, connection: Any
    ) -> Iterator[tuple[str, list[Any]]]:
        """The SQL and parameters of each batch of prepared rows."""
        if not self.is_unnested:
            batch_size = min(batch_size, MOST_PARAMETERS // len(self.fields))
        types = [field.db_type(connection) for field in self.fields]
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            if self.is_unnested:
                # Without its length, so that a text which is too long is refused and not cut.
                marks = ", ".join(f"(%s)::{each.split('(')[0]}[]" for each in types)
                source = f"UNNEST({marks})"
                params = [list(column) for column in zip(*batch, strict=True)]
            else:
                marks = ", ".join(f"(%s)::{each}" for each in types)
                source = f"(VALUES {', '.join([f'({marks})'] * len(batch))})"
                params = [value for row in batch for value in row]
            yield self._sql(source, connection.ops.quote_name), params

    def _sql(self, source: str, quote: Any) -> str:
        table, (key, *written) = quote(self.table), self.fields
        names = ", ".join(f"c{place}" for place in range(len(self.fields)))
        changes = ", ".join(
            f"{quote(field.column)} = u.c{place}" for place, field in enumerate(written, 1)
        )
        return (
            f"UPDATE {table} SET {changes} FROM {source} AS u ({names}) "  # noqa: S608 - quoted
            f"WHERE {table}.{quote(key.column)} = u.c0"
        )


def plan_of(queryset: Any, names: Sequence[str], connection: Any) -> Plan | None:
    """How to write these fields of a QuerySet's model; None when that is Django's to do."""
    options, query = queryset.model._meta, queryset.query
    narrowed = query.where or query.annotations or query.is_sliced or query.combinator
    if narrowed or options.parents or len(options.pk_fields) != 1 or not names:
        return None
    try:
        fields = [options.pk, *(options.get_field(name) for name in names)]
    except FieldDoesNotExist:
        return None
    written = fields[1:]
    if len({*fields}) != len(fields) or not all(_is_written_plainly(field) for field in fields):
        return None
    if not all(field in options.local_concrete_fields for field in written):
        return None
    is_unnested = all(_has_array_type(field, connection) for field in fields)
    return Plan(options.db_table, fields, is_unnested)


def _is_written_plainly(field: Any) -> bool:
    is_column = getattr(field, "concrete", False) and not field.many_to_many
    write = getattr(type(field), "get_placeholder", None)
    has_own_sql = write is not None and (write.__module__, write.__qualname__) not in _ONLY_CAST
    return is_column and not has_own_sql and not getattr(field, "generated", False)


#: What these write around a value is a cast to the column's type, as is done here. By their names:
#: importing ranges would import psycopg, which a worker leaves out (`dialects`).
_ONLY_CAST = {
    ("django.contrib.postgres.fields.array", "ArrayField.get_placeholder"),
    ("django.contrib.postgres.fields.ranges", "RangeField.get_placeholder"),
    ("django.db.models.fields", "BinaryField.get_placeholder"),
}


def _has_array_type(field: Any, connection: Any) -> bool:
    own = field.target_field if field.is_relation else field
    has_own_sql = hasattr(field, "get_placeholder")
    return not has_own_sql and own.get_internal_type() in connection.data_types


def rows_of(plan: Plan, objects: Sequence[Any], connection: Any) -> list[list[Any]] | None:
    """The values of each object as the database is to read them; None when a value is more than a
    value, a key is missing or comes twice.
    """
    stretch = Stretch()
    rows: list[list[Any]] = []
    keys = set()
    written = plan.fields[1:]
    is_related = (
        any(field.is_relation for field in written) or plan.fields[0].model._meta.private_fields
    )
    for instance in objects:
        if not instance._is_pk_set():
            return None
        if is_related:
            instance._prepare_related_fields_for_save("bulk_update", fields=written)
        row = []
        for field in plan.fields:
            value = getattr(instance, field.attname)
            if hasattr(value, "resolve_expression"):
                return None
            row.append(field.get_db_prep_save(value, connection=connection))
        keys.add(row[0])
        rows.append(row)
        stretch.pause()
    return rows if len(keys) == len(rows) else None


__all__ = ["Plan", "plan_of", "rows_of"]

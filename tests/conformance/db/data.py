"""The data that both sides read. Deterministic, with explicit keys."""

import datetime as dt
from decimal import Decimal

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange, NumericRange

from tests.conformance.db import models as m

UTC = dt.UTC
NAMES = ["Ada", "Bo", "Cem", "Dot", "Eve", "Fay", "Gus", "Hal", "Ida", "Jo", "Kit", "100%_Lu"]


def load() -> None:
    """Fill the tables, synchronously."""
    publishers = [
        m.Publisher(id=n, name=name, country=country, made_at=at(n))
        for n, (name, country) in enumerate(
            [("Anchor", "NL"), ("Bollard", "DE"), ("Capstan", "NL"), ("Dock", "US")], 1
        )
    ]
    m.Publisher.objects.bulk_create(publishers)
    authors = [
        m.Author(
            id=n,
            name=name,
            age=None if n % 5 == 0 else 20 + n * 3 % 17,
            email=f"{name.lower()}@example.org" if n % 3 else "",
            rating=n / 7,
            joined=dt.date(2000 + n, 1 + n % 12, n),
            active=n % 4 != 0,
            mentor_id=n // 2 or None,
        )
        for n, name in enumerate(NAMES, 1)
    ]
    m.Author.objects.bulk_create(authors)
    m.Book.objects.bulk_create(book(n) for n in range(1, 21))
    m.Book.authors.through.objects.bulk_create(
        m.Book.authors.through(id=n * 2 + k, book_id=n, author_id=(n * (k + 3)) % 12 + 1)
        for n in range(1, 19)
        for k in (range(2) if (n * 3) % 12 != (n * 4) % 12 else range(1))
    )
    m.Award.objects.bulk_create(
        m.Award(id=n, author_id=n % 5 + 1, book_id=n * 2, year=2000 + n) for n in range(1, 9)
    )
    m.Profile.objects.bulk_create(
        m.Profile(author_id=n, site=None if n == 3 else f"https://{n}.example.org")
        for n in range(1, 7)
    )
    for n in range(1, 4):
        m.Place(id=n, name=f"Place {n}", city="Delft").save(force_insert=True)
        m.Restaurant(
            id=n + 10, name=f"Inn {n}", city="Bremen", stars=n, owner_id=n if n < 3 else None
        ).save()
    m.Bistro(id=21, name="Le Port", city="Brest", stars=2, terrace=True).save()
    ContentType.objects.clear_cache()  # it may remember a row that a test rolled back
    kind = ContentType.objects.get_for_model(m.Book)
    m.Mark.objects.bulk_create(
        m.Mark(id=n, text=f"mark {n % 3}", content_type=kind, object_id=n % 4 + 1)
        for n in range(1, 10)
    )
    m.Reading.objects.bulk_create(
        m.Reading(sensor_id=s, hour=h, value=None if h == 3 else s * h / 3)
        for s in (1, 2)
        for h in range(5)
    )
    m.Happening.objects.bulk_create(happening(n) for n in range(1, 9))
    m.Berth.objects.bulk_create(berth(n) for n in range(1, 6))
    with connection.cursor() as cursor:  # keys that are given by the database are never ours
        for model in apps.get_app_config("conformance").get_models(include_auto_created=True):
            sequence = connection.introspection.get_sequences(cursor, model._meta.db_table)
            for entry in sequence:
                name = f"'{entry['table']}', '{entry['column']}'"
                cursor.execute(f"SELECT setval(pg_get_serial_sequence({name}), 10000)")


def at(n: int) -> dt.datetime:
    return dt.datetime(2024, 1, 30, 22, 15, 30, 123456, tzinfo=UTC) + dt.timedelta(days=17.3 * n)


def book(n: int) -> m.Book:
    return m.Book(
        id=n,
        title=f"Volume {n}" if n != 7 else 'Quote "7" \\ 50%_',
        publisher_id=n % 3 + 1,
        price=Decimal(n * 7) / 4 + Decimal("0.01"),
        pages=n * 37 % 400,
        published=dt.date(1990 + n, n % 12 + 1, n),
        tags=[tag for tag, every in (("sea", 2), ("land", 3), ("air", 5)) if n % every == 0],
        details={
            "n": n,
            "deep": {"list": [n, {"x": n % 3}], "null": None},
            "word": ["one", "two", None][n % 3],
            "é": n % 2 == 0,
            **({"only": "here"} if n == 4 else {}),
        },
        sequel_id=n + 1 if n in (1, 2, 5) else None,
        made_at=at(n) if n % 6 else None,
    )


def happening(n: int) -> m.Happening:
    start = at(n)
    return m.Happening(
        id=n,
        name=f"H{n % 3}",
        starts_at=start,
        lasts=dt.timedelta(hours=n * 5, microseconds=n) if n % 4 else None,
        daily_at=dt.time(n * 2, 30, n, 999) if n % 5 else None,
        day=start.date() if n != 6 else None,
        period=DateTimeTZRange(start, start + dt.timedelta(days=n)) if n % 3 else None,
        seats=NumericRange(n, n * 3, "[)") if n % 4 else NumericRange(empty=True),
        prices=NumericRange(Decimal(n), None, "(]") if n % 2 else None,
    )


def berth(n: int) -> m.Berth:
    return m.Berth(
        id=n,
        quay="NS"[n % 2],
        number=n,
        kind=["ro", "co"][n % 2],
        vessel=f"v{n}",
        taken=n % 2 == 0,
        day=dt.date(2024, 1, n),
        pilot=f"p{n}",
        depth=Decimal(n * 2) if n < 5 else None,
        owner_id=n,
    )


def unload() -> None:
    """Empty the tables."""
    tables = ", ".join(
        f'"{model._meta.db_table}"'
        for model in apps.get_app_config("conformance").get_models(include_auto_created=True)
    )
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
    connection.close()

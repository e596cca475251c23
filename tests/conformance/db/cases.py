"""The conformance table: what is asked of stock Django and of app.db alike.

Each case is a function of `q`, which turns a model into a QuerySet of the one or the other. It
gives a QuerySet (to be iterated), or a call: (QuerySet, method, arguments, keyword arguments).
"""

import datetime as dt
import uuid
from decimal import Decimal

from django.contrib.postgres import aggregates as pg
from django.contrib.postgres import search
from django.contrib.postgres.expressions import ArraySubquery
from django.db.backends.postgresql.psycopg_any import NumericRange
from django.db.models import (
    Avg,
    BooleanField,
    Case,
    CharField,
    Count,
    DateTimeField,
    DecimalField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    FilteredRelation,
    FloatField,
    IntegerField,
    JSONField,
    Max,
    Min,
    OuterRef,
    Prefetch,
    Q,
    StdDev,
    Subquery,
    Sum,
    Value,
    Variance,
    When,
    Window,
)
from django.db.models import functions as f
from django.db.models.fields.json import KT

from tests.conformance.db.data import at
from tests.conformance.db.models import (
    ActiveAuthor,
    Author,
    Award,
    Bistro,
    Book,
    Happening,
    Mark,
    Place,
    Profile,
    Publisher,
    Reading,
    Restaurant,
)

CASES = {}


def add(name, case):
    assert name not in CASES, name
    CASES[name] = case


def call(queryset, method, *args, **kwargs):
    return queryset, method, args, kwargs


# Every lookup on every kind of column.

LOOKUPS = [
    (Author, "name", ["exact", "iexact", "gt", "lte"], "Eve"),
    (Author, "name", ["contains", "icontains", "startswith", "istartswith"], "a"),
    (Author, "name", ["endswith", "iendswith", "regex", "iregex"], "A"),
    (Author, "name", ["contains", "startswith", "endswith", "icontains"], "%_"),
    (Author, "name", ["in"], ["Ada", "Jo", "nobody"]),
    (Author, "age", ["exact", "gt", "gte", "lt", "lte"], 29),
    (Author, "age", ["in"], [26, None, 32]),
    (Author, "age", ["range"], (21, 30)),
    (Author, "age", ["isnull"], True),
    (Author, "age", ["contains", "startswith"], 2),
    (Author, "rating", ["exact", "gt", "lte"], 0.5),
    (Author, "rating", ["in"], [1 / 7, 2.0]),
    (Author, "active", ["exact"], False),
    (Author, "joined", ["exact", "gt", "lte"], dt.date(2005, 6, 5)),
    (Author, "joined__year", ["exact", "gt", "in"], 2005),
    (Author, "joined__month", ["exact", "lte"], 6),
    (Author, "joined__week_day", ["exact"], 2),
    (Author, "joined__quarter", ["exact"], 2),
    (Author, "mentor", ["exact", "in"], 2),
    (Author, "mentor__mentor__name", ["exact"], "Ada"),
    (Author, "mentor", ["isnull"], True),
    (Book, "price", ["exact", "gt", "lt"], Decimal("10.51")),
    (Book, "price", ["range"], (Decimal(5), Decimal(20))),
    (Book, "pages", ["gte", "lt"], 200),
    (Book, "pages", ["gt"], 2.5),
    (Book, "published", ["range"], (dt.date(1995, 1, 1), dt.date(2003, 1, 1))),
    (Book, "published__iso_year", ["exact"], 1999),
    (Book, "made_at", ["gt", "lte"], at(9)),
    (Book, "made_at__date", ["exact", "gt"], dt.date(2024, 7, 4)),
    (Book, "made_at__hour", ["lt"], 12),
    (Book, "made_at__time", ["gt"], dt.time(12, 30)),
    (Book, "tags", ["contains", "contained_by", "overlap", "exact"], ["sea", "land"]),
    (Book, "tags__0", ["exact"], "sea"),
    (Book, "tags__len", ["exact", "gt"], 1),
    (Book, "tags__0_2", ["exact"], ["sea", "air"]),
    (Book, "details__n", ["exact", "gt", "lte", "in"], 5),
    (Book, "details__deep__list__1__x", ["exact"], 2),
    (Book, "details__word", ["exact", "icontains", "startswith", "iexact"], "two"),
    (Book, "details__deep__null", ["exact"], None),
    (Book, "details__é", ["exact"], True),
    (Book, "details__only", ["isnull"], False),
    (Book, "details", ["has_key"], "only"),
    (Book, "details", ["has_keys", "has_any_keys"], ["only", "n"]),
    (Book, "details", ["contains"], {"word": "one"}),
    (Book, "details__deep", ["contains"], {"null": None}),
    (Book, "details", ["contained_by"], {"n": 3}),
    (Book, "publisher__country", ["exact"], "NL"),
    (Book, "authors__name", ["exact"], "Fay"),
    (Book, "authors__mentor__name__length", ["gt"], 2),
    (Book, "sequel__title", ["exact"], "Volume 3"),
    (Book, "prequel__title", ["exact"], "Volume 1"),
    (Book, "marks__text", ["exact"], "mark 1"),
    (Happening, "lasts", ["gt", "exact"], dt.timedelta(hours=15, microseconds=3)),
    (Happening, "daily_at", ["gt", "lte"], dt.time(6, 30)),
    (Happening, "daily_at__hour", ["exact"], 6),
    (Happening, "starts_at", ["range"], (at(2), at(5))),
    (Happening, "period", ["contains"], at(4)),
    (Happening, "period__startswith", ["gt"], at(3)),
    (Happening, "period", ["isnull"], True),
    (Happening, "seats", ["contains"], 5),
    (
        Happening,
        "seats",
        ["overlap", "contained_by", "fully_lt", "adjacent_to"],
        NumericRange(1, 6),
    ),
    (Happening, "seats__isempty", ["exact"], True),
    (Happening, "prices__upper_inf", ["exact"], True),
    (Reading, "value", ["gt"], 0.5),
    (Reading, "pk", ["exact"], (1, 2)),
    (Reading, "pk", ["in"], [(1, 2), (2, 4), (9, 9)]),
    (Restaurant, "name", ["startswith"], "Inn"),
    (Bistro, "stars", ["exact"], 2),
]
CharField.register_lookup(f.Length)

for number, (model, column, lookups, value) in enumerate(LOOKUPS):
    for lookup in lookups:
        needs_list = lookup == "in" and not isinstance(value, list)
        operand = [value, value] if needs_list else value
        for method in ("filter", "exclude"):
            add(
                f"{method} {number} {model.__name__}.{column}__{lookup}",
                lambda q, model=model, key=f"{column}__{lookup}", operand=operand, method=method: (
                    getattr(q(model), method)(**{key: operand}).order_by("pk")
                ),
            )

# Shapes of QuerySets.

SHAPES = {
    "all in default order": lambda q: q(Author).order_by("id"),
    "none": lambda q: q(Author).none(),
    "empty in": lambda q: q(Author).filter(pk__in=[]),
    "order by two": lambda q: q(Author).order_by("-active", "name"),
    "order by related": lambda q: q(Book).order_by("publisher__name", "-price", "id"),
    "order by expression": lambda q: q(Author).order_by(f.Lower("name").desc()),
    "nulls last": lambda q: q(Author).order_by(F("age").asc(nulls_last=True), "id"),
    "nulls first": lambda q: q(Author).order_by(F("age").desc(nulls_first=True), "id"),
    "reverse": lambda q: q(Author).order_by("name").reverse(),
    "first slice": lambda q: q(Author).order_by("id")[:3],
    "middle slice": lambda q: q(Author).order_by("id")[3:7],
    "last slice": lambda q: q(Author).order_by("id")[7:],
    "slice past the end": lambda q: q(Author).order_by("id")[100:200],
    "slice of a slice": lambda q: q(Author).order_by("id")[2:10][1:4],
    "distinct": lambda q: q(Author).values_list("active").distinct().order_by("active"),
    "distinct on": lambda q: q(Book).order_by("publisher", "-price").distinct("publisher"),
    "distinct over a join": lambda q: q(Book).filter(authors__age__gt=20).distinct().order_by("id"),
    "or": lambda q: q(Author).filter(Q(age=26) | Q(name__startswith="J")).order_by("id"),
    "xor": lambda q: q(Author).filter(Q(active=True) ^ Q(age__gt=28)).order_by("id"),
    "not": lambda q: q(Author).filter(~Q(active=True) & ~Q(age=None)).order_by("id"),
    "and of querysets": lambda q: (
        q(Author).filter(active=True) & q(Author).filter(age__gt=25)
    ).order_by("id"),
    "or of querysets": lambda q: (
        q(Author).filter(active=False) | q(Author).filter(age__gt=30)
    ).order_by("id"),
    "F against F": lambda q: q(Book).filter(pages__gt=F("price") * 5).order_by("id"),
    "F over a join": lambda q: q(Award).filter(year__gt=F("book__pages")).order_by("id"),
    "F of a date": lambda q: (
        q(Book).filter(made_at__gt=F("published") + dt.timedelta(days=9000)).order_by("id")
    ),
    "union": lambda q: q(Author).filter(id__lt=4).union(q(Author).filter(id=9)).order_by("id"),
    "union all": lambda q: (
        q(Author).filter(id__lt=4).union(q(Author).filter(id__lt=3), all=True).order_by("id")
    ),
    "union of values": lambda q: (
        q(Author).values_list("name").union(q(Publisher).values_list("name")).order_by("name")
    ),
    "union sliced": lambda q: (
        q(Author).order_by("-id")[:2].union(q(Author).order_by("id")[:2]).order_by("id")[1:3]
    ),
    "intersection": lambda q: (
        q(Author).filter(id__lt=6).intersection(q(Author).filter(active=True)).order_by("id")
    ),
    "difference": lambda q: q(Author).difference(q(Author).filter(active=True)).order_by("id"),
    "union with an annotation": lambda q: (
        q(Author)
        .annotate(kind=Value(1))
        .values("name", "kind")
        .union(q(Publisher).annotate(kind=Value(2)).values("name", "kind"))
        .order_by("kind", "name")
    ),
    "select related": lambda q: q(Book).select_related("publisher").order_by("id"),
    "select related deep": lambda q: q(Author).select_related("mentor__mentor").order_by("id"),
    "select related one to one": lambda q: q(Author).select_related("profile").order_by("id"),
    "select related backwards": lambda q: (
        q(Book).select_related("prequel", "sequel").order_by("id")
    ),
    "select related all": lambda q: q(Award).select_related().order_by("id"),
    "select related none": lambda q: (
        q(Book).select_related("publisher").select_related(None).order_by("id")
    ),
    "select related of a child": lambda q: q(Restaurant).select_related("owner").order_by("id"),
    "select related to a child": lambda q: (
        q(Place).select_related("restaurant__bistro").order_by("id")
    ),
    "select related through a composite key": lambda q: (
        q(Reading).select_related("sensor").order_by("sensor_id", "hour")
    ),
    "prefetch many to many": lambda q: q(Book).prefetch_related("authors").order_by("id"),
    "prefetch backwards": lambda q: q(Publisher).prefetch_related("books").order_by("id"),
    "prefetch deep": lambda q: (
        q(Publisher).prefetch_related("books__authors__profile").order_by("id")
    ),
    "prefetch forward": lambda q: q(Book).prefetch_related("publisher").order_by("id"),
    "prefetch generic relation": lambda q: q(Book).prefetch_related("marks").order_by("id"),
    "prefetch generic key": lambda q: q(Mark).prefetch_related("subject").order_by("id"),
    "prefetch through": lambda q: q(Author).prefetch_related("awarded").order_by("id"),
    "prefetch with a queryset": lambda q: (
        q(Publisher)
        .prefetch_related(
            Prefetch("books", q(Book).filter(pages__gt=200).order_by("-price"), to_attr="thick")
        )
        .order_by("id")
    ),
    "prefetch of a slice": lambda q: (
        q(Publisher)
        .prefetch_related(Prefetch("books", q(Book).order_by("-price")[:2], to_attr="dear"))
        .order_by("id")
    ),
    "prefetch with select related": lambda q: (
        q(Author)
        .prefetch_related(Prefetch("books", q(Book).select_related("publisher").order_by("id")))
        .order_by("id")
    ),
    "defer": lambda q: q(Book).defer("details", "tags").order_by("id"),
    "defer over a join": lambda q: (
        q(Book).select_related("publisher").defer("publisher__name").order_by("id")
    ),
    "only": lambda q: q(Book).only("title").order_by("id"),
    "only over a join": lambda q: (
        q(Book).select_related("publisher").only("title", "publisher__name").order_by("id")
    ),
    "values": lambda q: q(Book).values().order_by("id"),
    "values of some": lambda q: q(Book).values("id", "title").order_by("id"),
    "values over joins": lambda q: (
        q(Book).values("title", "publisher__name", "authors__name").order_by("id", "authors__name")
    ),
    "values of a json key": lambda q: q(Book).values("details__deep__list").order_by("id"),
    "values of an array item": lambda q: q(Book).values("tags__0").order_by("id"),
    "values of an expression": lambda q: q(Author).values(upper=f.Upper("name")).order_by("id"),
    "values list": lambda q: q(Book).values_list("id", "price", "published").order_by("id"),
    "values list flat": lambda q: q(Book).values_list("price", flat=True).order_by("id"),
    "values list named": lambda q: q(Book).values_list("id", "title", named=True).order_by("id"),
    "values list of a composite key": lambda q: (
        q(Reading).values_list("pk", "value").order_by("pk")
    ),
    "dates": lambda q: q(Book).dates("published", "year", order="DESC"),
    "datetimes": lambda q: q(Book).filter(made_at__isnull=False).datetimes("made_at", "month"),
    "in bulk": lambda q: call(q(Author), "in_bulk", [1, 3, 99]),
    "in bulk by name": lambda q: call(q(Publisher), "in_bulk", ["Dock"], field_name="name"),
    "in bulk of all": lambda q: call(q(Publisher), "in_bulk"),
    "get": lambda q: call(q(Author), "get", pk=4),
    "get of a composite key": lambda q: call(q(Reading), "get", pk=(2, 3)),
    "get nothing": lambda q: call(q(Author), "get", pk=99),
    "get too many": lambda q: call(q(Author), "get", active=True),
    "first": lambda q: call(q(Author).order_by("name"), "first"),
    "first of none": lambda q: call(q(Author).filter(pk=0), "first"),
    "last": lambda q: call(q(Author).order_by("name"), "last"),
    "latest": lambda q: call(q(Author), "latest", "joined"),
    "earliest": lambda q: call(q(Book), "earliest", "price", "id"),
    "earliest of none": lambda q: call(q(Book).filter(id=0), "earliest", "price"),
    "count": lambda q: call(q(Author), "count"),
    "count distinct": lambda q: call(q(Book).filter(authors__age__gt=1).distinct(), "count"),
    "count of a slice": lambda q: call(q(Author).order_by("id")[2:5], "count"),
    "count of groups": lambda q: call(q(Book).values("publisher").annotate(n=Count("id")), "count"),
    "exists": lambda q: call(q(Author).filter(name="Eve"), "exists"),
    "exists not": lambda q: call(q(Author).filter(name="Eva"), "exists"),
    "contains": lambda q: call(q(Author), "contains", Author(pk=3)),
    "contains not": lambda q: call(q(Author), "contains", Author(pk=33)),
    "proxy": lambda q: q(ActiveAuthor).order_by("id"),
    "parent": lambda q: q(Place).order_by("id"),
    "child": lambda q: q(Restaurant).order_by("id"),
    "grandchild": lambda q: q(Bistro).order_by("id"),
    "child by its parent's field": lambda q: q(Bistro).filter(city="Brest").values("name", "stars"),
    "parent by its child's field": lambda q: (
        q(Place).filter(restaurant__stars__gt=1).order_by("id")
    ),
    "one to one as a key": lambda q: q(Profile).order_by("pk"),
    "one to one backwards is null": lambda q: q(Author).filter(profile=None).order_by("id"),
    "generic key by type": lambda q: q(Mark).filter(content_type__model="book").order_by("id"),
    "extra": lambda q: (
        q(Author)
        .extra(select={"double": "age * %s"}, select_params=[2], where=["id > %s"], params=[3])
        .order_by("id")
    ),
    "extra order": lambda q: q(Author).extra(select={"l": "length(name)"}, order_by=["-l", "id"]),
    "raw": lambda q: q(Author).raw(
        "SELECT id, name, age * 2 AS double FROM conformance_author WHERE id < %s ORDER BY id", [5]
    ),
    "raw by names": lambda q: q(Author).raw(
        "SELECT * FROM conformance_author WHERE name = %(name)s", {"name": "Jo"}
    ),
    "raw with percents": lambda q: q(Author).raw(
        "SELECT * FROM conformance_author WHERE name LIKE '%%\\%%%%' AND id > %s", [0]
    ),
    "select for update": lambda q: q(Author).select_for_update().filter(id__lt=3).order_by("id"),
    "select for update of": lambda q: (
        q(Book)
        .select_related("publisher")
        .select_for_update(of=("self",), no_key=True)
        .order_by("id")[:2]
    ),
    "select for update skipping": lambda q: (
        q(Author).select_for_update(skip_locked=True).order_by("id")[:1]
    ),
    "filtered relation": lambda q: (
        q(Publisher)
        .annotate(thick=FilteredRelation("books", condition=Q(books__pages__gt=200)))
        .filter(thick__isnull=False)
        .distinct()
        .order_by("id")
    ),
    "alias": lambda q: q(Author).alias(n=Count("books")).filter(n__gt=2).order_by("id"),
    "reuse of one parameter": lambda q: (
        q(Author).annotate(a=Value("x"), b=Value("x")).values("a", "b").distinct()
    ),
}

# Expressions and functions: each an annotation.

EXPRESSIONS = {
    "value int": (Author, Value(1)),
    "value big int": (Author, Value(2**40)),
    "value text": (Author, Value("it's 100% $1")),
    "value float": (Author, Value(1.5)),
    "value decimal": (Author, Value(Decimal("1.50"))),
    "value bool": (Author, Value(True)),
    "value none": (Author, Value(None, output_field=CharField())),
    "value date": (Author, Value(dt.date(2020, 2, 29))),
    "value datetime": (Author, Value(at(1))),
    "value time": (Author, Value(dt.time(1, 2, 3))),
    "value duration": (Author, Value(dt.timedelta(days=3, seconds=1))),
    "value uuid": (Author, Value(uuid.UUID(int=7))),
    "value bytes": (Author, Value(b"\x00\xff")),
    "value json": (Author, Value({"a": [1]}, output_field=JSONField())),
    "add": (Author, F("age") + 1),
    "subtract": (Author, F("age") - F("id")),
    "multiply by a float": (Author, ExpressionWrapper(F("age") * 1.5, FloatField())),
    "divide": (Author, F("age") / 2),
    "modulo": (Author, F("id") % 3),
    "power": (Author, F("id") ** 2),
    "negate": (Author, -F("id")),
    "bit and": (Author, F("id").bitand(5)),
    "bit shift": (Author, F("id").bitleftshift(2)),
    "decimal arithmetic": (Book, F("price") * 2 + Decimal("0.005")),
    "mixed arithmetic": (
        Book,
        ExpressionWrapper(
            F("price") * F("pages"), DecimalField(max_digits=20, decimal_places=4)
        ),
    ),
    "date plus duration": (Happening, F("day") + dt.timedelta(days=1)),
    "datetime plus duration": (Happening, F("starts_at") + F("lasts")),
    "datetime minus datetime": (
        Happening, ExpressionWrapper(F("starts_at") - Value(at(1)), DurationField())
    ),
    "duration times": (Happening, ExpressionWrapper(F("lasts") * 2, DurationField())),
    "case": (Author, Case(When(age__gt=30, then=Value("old")), default=Value("young"))),
    "case of numbers": (
        Author, Case(When(active=True, then=1), When(age=None, then=2), output_field=IntegerField())
    ),
    "case of lookups": (
        Author, Case(When(Q(name__contains="%") | Q(age__in=[26, 29]), then=F("id")), default=None)
    ),
    "comparison": (Author, ExpressionWrapper(Q(age__gt=25), BooleanField())),
    "exists": (Author, Exists(Book.objects.filter(authors=OuterRef("pk"), pages__gt=300))),
    "not exists": (Author, ~Exists(Award.objects.filter(author=OuterRef("pk")))),
    "subquery": (
        Publisher,
        Subquery(Book.objects.filter(publisher=OuterRef("pk")).order_by("-price").values("title")[:1]),
    ),
    "subquery of an aggregate": (
        Publisher,
        Subquery(
            Book.objects.filter(publisher=OuterRef("pk")).order_by().values("publisher")
            .annotate(n=Sum("pages")).values("n")
        ),
    ),
    "array subquery": (
        Publisher,
        ArraySubquery(Book.objects.filter(publisher=OuterRef("pk")).order_by("id").values("price")),
    ),
    "cast to text": (Author, f.Cast("age", CharField())),
    "cast to int": (Author, f.Cast(Value("12"), IntegerField())),
    "coalesce": (Author, f.Coalesce("age", 0)),
    "coalesce text": (Author, f.Coalesce(f.NullIf("email", Value("")), Value("none"))),
    "greatest": (Author, f.Greatest("age", "id")),
    "least with a value": (Author, f.Least("id", 5)),
    "collate": (Author, f.Collate("name", "C")),
    "json object": (Author, f.JSONObject(n="name", a="age", lit=Value("x"))),
    "json array": (Author, f.JSONArray("name", "age", Value(3))),
    "now": (Author, f.Now() - f.Now()),
    **{
        f"text {name}": (Author, expression)
        for name, expression in {
            "chr": f.Chr(F("id") + 64),
            "concat": f.Concat("name", Value(" <"), "email", Value(">")),
            "concat with null": f.Concat("name", f.Cast("age", CharField())),
            "left": f.Left("name", 2),
            "length": f.Length("name"),
            "lower": f.Lower("name"),
            "lpad": f.LPad("name", 8, Value("*")),
            "ltrim": f.LTrim(Value("  x ")),
            "md5": f.MD5("name"),
            "ord": f.Ord("name"),
            "repeat": f.Repeat("name", 3),
            "replace": f.Replace("name", Value("a"), Value("%s")),
            "reverse": f.Reverse("name"),
            "right": f.Right("name", 2),
            "rpad": f.RPad("name", 6, Value(".")),
            "sha256": f.SHA256("name"),
            "str index": f.StrIndex("name", Value("e")),
            "substr": f.Substr("name", 2, 2),
            "trim": f.Trim(Value(" y ")),
            "upper": f.Upper("name"),
        }.items()
    },
    **{
        f"math {name}": (Author, expression)
        for name, expression in {
            "abs": f.Abs(F("id") - 6),
            "acos": f.ACos(F("rating") / 4.0),
            "atan2": f.ATan2("rating", "id"),
            "ceil": f.Ceil("rating"),
            "cos": f.Cos("rating"),
            "degrees": f.Degrees("rating"),
            "exp": f.Exp("rating"),
            "floor": f.Floor("rating"),
            "ln": f.Ln("rating"),
            "log": f.Log(10, "id"),
            "mod": f.Mod("id", 4),
            "pi": f.Pi(),
            "power": f.Power("rating", 2),
            "round": f.Round("rating", 2),
            "sign": f.Sign(F("id") - 5),
            "sqrt": f.Sqrt("rating"),
        }.items()
    },
    **{
        f"extract {part}": (Happening, f.Extract("starts_at", part))
        for part in ("year", "iso_year", "quarter", "month", "day", "week", "week_day",
                     "iso_week_day", "hour", "minute", "second")
    },
    **{
        f"trunc {part}": (Happening, f.Trunc("starts_at", part, output_field=DateTimeField()))
        for part in ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
    },
    "trunc in a zone": (
        Happening, f.TruncDay("starts_at", tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=45)))
    ),
    "trunc date": (Happening, f.TruncDate("starts_at")),
    "trunc time": (Happening, f.TruncTime("starts_at")),
    "extract of a date": (Happening, f.ExtractYear("day")),
    "extract of a time": (Happening, f.ExtractHour("daily_at")),
    "key transform": (Book, F("details__deep__list__0")),
    "key text": (Book, KT("details__word")),
    "array slice": (Book, F("tags__0_1")),
    "range bound": (Happening, F("seats__startswith")),
    "range of dates": (Happening, F("period")),
    "search rank": (
        Book,
        search.SearchRank(search.SearchVector("title"), search.SearchQuery("volume")),
    ),
    "search headline": (Book, search.SearchHeadline("title", search.SearchQuery("volume"))),
    "search vector": (Book, search.SearchVector("title", config="simple")),
}  # fmt: skip

for _name, (_model, _expression) in EXPRESSIONS.items():
    add(
        f"annotate {_name}",
        lambda q, model=_model, expression=_expression: (
            q(model).annotate(x=expression).values_list("pk", "x").order_by("pk")
        ),
    )
    add(
        f"instances with {_name}",
        lambda q, model=_model, expression=_expression: (
            q(model).annotate(x=expression).order_by("pk")
        ),
    )

WINDOWS = {
    "row number": f.RowNumber(),
    "rank": f.Rank(),
    "dense rank": f.DenseRank(),
    "percent rank": f.PercentRank(),
    "cume dist": f.CumeDist(),
    "ntile": f.Ntile(3),
    "lag": f.Lag("price", 1, Decimal(0)),
    "lead": f.Lead("price"),
    "first value": f.FirstValue("price"),
    "last value": f.LastValue("price"),
    "nth value": f.NthValue("price", 2),
    "sum": Sum("price"),
    "average": Avg("pages"),
}
for _name, _function in WINDOWS.items():
    add(
        f"window {_name}",
        lambda q, function=_function: (
            q(Book)
            .annotate(x=Window(function, partition_by="publisher", order_by="id"))
            .values_list("id", "x")
            .order_by("id")
        ),
    )

AGGREGATES = {
    "count": Count("id"),
    "count distinct": Count("publisher", distinct=True),
    "count filtered": Count("id", filter=Q(pages__gt=200)),
    "sum": Sum("pages"),
    "sum decimal": Sum("price"),
    "sum of none": Sum("pages", filter=Q(id=0)),
    "sum with a default": Sum("pages", filter=Q(id=0), default=7),
    "average": Avg("pages"),
    "average decimal": Avg("price"),
    "min": Min("published"),
    "max": Max("made_at"),
    "deviation": StdDev("pages"),
    "variance": Variance("pages", sample=True),
    "of an expression": Sum(F("price") * F("pages"), output_field=DecimalField()),
    "over a join": Avg("authors__age"),
    "array": pg.ArrayAgg("title", order_by="id"),
    "array filtered": pg.ArrayAgg("id", filter=Q(id__lt=4), default=Value([])),
    "strings": pg.StringAgg("title", delimiter=", ", order_by="-id"),
    "json": pg.JSONBAgg("title", order_by="id"),
    "bits": pg.BitOr("pages"),
    "every": pg.BoolAnd(Q(pages__gt=10)),
    "correlation": pg.Corr("price", "pages"),
    "any value": Max("title"),
}
for _name, _aggregate in AGGREGATES.items():
    add(f"aggregate {_name}", lambda q, a=_aggregate: call(q(Book), "aggregate", x=a))
    add(
        f"group by publisher {_name}",
        lambda q, a=_aggregate: (
            q(Book).values("publisher__name").annotate(x=a).order_by("publisher__name")
        ),
    )

GROUPS = {
    "annotated instances": lambda q: q(Publisher).annotate(n=Count("books")).order_by("id"),
    "two counts": lambda q: (
        q(Publisher)
        .annotate(b=Count("books", distinct=True), a=Count("books__authors", distinct=True))
        .order_by("id")
    ),
    "having": lambda q: q(Publisher).annotate(n=Count("books")).filter(n__gt=6).order_by("id"),
    "group by an expression with a parameter": lambda q: (
        q(Author).annotate(k=f.Concat("active", Value("-x"), output_field=CharField()))
        .values("k").annotate(n=Count("id")).order_by("k")
    ),
    "group by a case": lambda q: (
        q(Author).annotate(k=Case(When(age__gt=28, then=Value("a")), default=Value("b")))
        .values("k").annotate(n=Count("id"), r=Avg("rating")).order_by("k")
    ),
    "group by a trunc": lambda q: (
        q(Book).annotate(y=f.TruncYear("published")).values("y").annotate(n=Count("id")).order_by("y")
    ),
    "group by a json key": lambda q: (
        q(Book).values("details__word").annotate(n=Count("id")).order_by("n", "details__word")
    ),
    "group by a json text key": lambda q: (
        q(Book).annotate(w=KT("details__word")).values("w").annotate(n=Count("id")).order_by("w")
    ),
    "aggregate of an annotation": lambda q: call(
        q(Publisher).annotate(n=Count("books")), "aggregate", Max("n"), total=Sum("n")
    ),
    "aggregate of a slice": lambda q: call(q(Book).order_by("id")[:4], "aggregate", s=Sum("pages")),
    "aggregate of distinct": lambda q: call(
        q(Book).values("publisher").distinct(), "aggregate", n=Count("publisher")
    ),
    "aggregate of none": lambda q: call(q(Book).none(), "aggregate", n=Count("id"), s=Sum("pages")),
    "aggregate arithmetic": lambda q: call(
        q(Book), "aggregate", x=Max("price") - Min("price") + Value(Decimal(1))
    ),
    "order by an aggregate": lambda q: q(Author).annotate(n=Count("books")).order_by("-n", "id"),
    "filter in a window": lambda q: (
        q(Book).annotate(r=Window(f.Rank(), partition_by="publisher", order_by="-price"))
        .filter(r__lte=2).values_list("id", "r").order_by("id")
    ),
    "in of a subquery": lambda q: (
        q(Book).filter(publisher__in=q(Publisher).filter(country="NL")).order_by("id")
    ),
    "in of values": lambda q: (
        q(Author).filter(name__in=q(Author).filter(age__gt=28).values("name")).order_by("id")
    ),
    "in of a sliced subquery": lambda q: (
        q(Book).filter(id__in=q(Book).order_by("-price").values("id")[:3]).order_by("id")
    ),
    "greater than a subquery": lambda q: (
        q(Book).filter(price__gt=Subquery(q(Book).filter(id=9).values("price"))).order_by("id")
    ),
    "in of composite keys": lambda q: (
        q(Reading).filter(pk__in=q(Reading).filter(hour__gt=2).values("pk")).order_by("pk")
    ),
    "full text": lambda q: (
        q(Book).annotate(v=search.SearchVector("title")).filter(v=search.SearchQuery("volume"))
        .order_by("id")
    ),
    "full text lookup": lambda q: q(Book).filter(title__search="volume 3").order_by("id"),
    "iterate a related manager": lambda q: q(Book).filter(publisher=Publisher(pk=1)).order_by("id"),
    "explain": lambda q: call(q(Author).filter(id=1), "explain"),
}  # fmt: skip

for _table in (SHAPES, GROUPS):
    for _name, _case in _table.items():
        add(_name, _case)

"""Generated model serializers, DRF's and app.rest's side by side, on the same rows: validation with
uniqueness and relations, output, OpenAPI. DRF's run in a thread, on psycopg.

A serializer is drawn as a recipe: the model, all options of Meta, and fields of its own: relations
of each kind, nested serializers, methods, dotted sources and "*".
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hypothesis
import pytest
from django.db import connection
from django.test import RequestFactory
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import serializers as drf

from app.rest import serializers as ours
from tests.conformance.db import models as m
from tests.conformance.db.conftest import library
from tests.rest.test_generated import EXAMPLES, as_drf, generated, outcome, schema_of, told

__all__ = ["as_drf", "library"]

pytestmark = [
    pytest.mark.urls("tests.rest.test_generated_models"),
    pytest.mark.timeout(600),  # as many serializers as are asked for
]

MODELS = {
    m.Book: ["id", "title", "publisher", "authors", "price", "pages", "published", "tags",
             "details", "sequel", "made_at", "winners"],
    m.Author: ["id", "name", "age", "email", "rating", "joined", "active", "mentor", "pupils",
               "books", "profile"],
    m.Publisher: ["id", "name", "country", "made_at", "books"],
    m.Berth: ["id", "quay", "number", "kind", "vessel", "taken", "day", "pilot", "mark", "depth",
              "owner"],
    m.Profile: ["author", "site"],
    m.Restaurant: ["id", "name", "city", "stars", "owner", "place_ptr"],
    m.Happening: ["id", "name", "starts_at", "lasts", "daily_at", "day"],
}  # fmt: skip
STEMS = [model.__name__.lower() for model in MODELS]
urlpatterns = [path(f"{stem}s/<int:pk>/", lambda _: None, name=f"{stem}-detail") for stem in STEMS]
urlpatterns.append(path("named/<name>/", lambda _: None, name="publisher-named"))

keys = st.sampled_from([1, 2, 3, "2", 99, "x", None, 1.5, True, 2**70, [1], {}])
flag = st.booleans()


def links(model: Any) -> st.SearchStrategy[Any]:
    stem = f"/{model.__name__.lower()}s"
    return st.sampled_from([f"{stem}/1/", f"http://testserver{stem}/2/", f"{stem}/99/", "/a/", 1])


FITTING: dict[str, Any] = {
    "title": st.sampled_from(["Volume 1", "Volume 2", "New", "", "x" * 101]),
    "publisher": keys | links(m.Publisher) | st.sampled_from(["Anchor", "Nobody", {"name": "N"}]),
    "authors": st.lists(keys | links(m.Author) | st.sampled_from(["Ada", "Nobody"]), max_size=3),
    "price": st.sampled_from(["1.50", 3, "1.555", "x", "1e9"]),
    "pages": st.sampled_from([1, "7", -1, "x"]),
    "published": st.sampled_from(["2020-01-01", "2020-13-01", 7]),
    "tags": st.sampled_from([[], ["a"], "a", ["x" * 21], [1]]),
    "details": st.sampled_from([{}, [1], None, "x"]),
    "sequel": keys | links(m.Book),
    "made_at": st.sampled_from(["2020-01-01T00:00:00Z", "x", None]),
    "name": st.sampled_from(["Anchor", "Ada", "New", "", "n" * 61]),
    "age": st.sampled_from([1, None, "x", 2**40]),
    "email": st.sampled_from(["a@b.example", "", "a"]),
    "rating": st.sampled_from([1, 2.5, "x"]),
    "joined": st.sampled_from(["2020-01-01", None, ""]),
    "active": st.sampled_from([True, "false", "x", None]),
    "mentor": keys | links(m.Author),
    "country": st.sampled_from(["NL", "NLD", ""]),
    "quay": st.sampled_from(["N", "S", "E"]),
    "number": st.sampled_from([1, 2, 3, 9]),
    "kind": st.sampled_from(["ro", "co", "x"]),
    "vessel": st.sampled_from(["v2", "v3", "v4", "new", ""]),
    "taken": flag,
    "day": st.sampled_from(["2024-01-01", "2024-01-02", "2024-02-02", None]),
    "pilot": st.sampled_from(["p1", "p2", "new", None, "a b"]),
    "mark": st.sampled_from([None, "00000000-0000-0000-0000-000000000001", "x"]),
    "depth": st.sampled_from(["4.00", "6", 8, None, "1000"]),
    "owner": keys | links(m.Author),
    "author": keys | links(m.Author),
    "site": st.sampled_from([None, "https://a.example", "a"]),
    "city": st.sampled_from(["Delft", ""]),
    "stars": st.sampled_from([1, "x"]),
    "starts_at": st.sampled_from(["2020-01-01T00:00:00Z", "x"]),
    "lasts": st.sampled_from(["1 02:00:00", 5, None]),
}
JUNK = st.sampled_from([None, True, 5, "x", [], {}, [None], {"a": 1}])

# Fields of one's own. `Nested` stands for a serializer of that library with these fields.
Own = tuple[str, dict[str, Any]]
OWN: dict[Any, dict[str, list[Own]]] = {
    m.Book: {
        "publisher": [
            ("SlugRelatedField", {"slug_field": "name", "queryset": m.Publisher}),
            ("SlugRelatedField", {"slug_field": "name", "read_only": True}),
            ("StringRelatedField", {}),
            ("PrimaryKeyRelatedField", {"queryset": m.Publisher, "allow_null": True}),
            ("HyperlinkedRelatedField", {"view_name": "publisher-detail", "queryset": m.Publisher}),
            ("HyperlinkedRelatedField", {"view_name": "publisher-named", "lookup_field": "name",
                                         "read_only": True}),
            ("Nested", {"model": m.Publisher, "fields": ["id", "name"]}),
            ("Nested", {"model": m.Publisher, "fields": ["name", "books"], "read_only": True}),
        ],
        "authors": [
            ("SlugRelatedField", {"slug_field": "name", "queryset": m.Author, "many": True}),
            ("StringRelatedField", {"many": True}),
            ("PrimaryKeyRelatedField", {"queryset": m.Author, "many": True, "allow_empty": False}),
            ("HyperlinkedRelatedField", {"view_name": "author-detail", "queryset": m.Author,
                                         "many": True}),
            ("Nested", {"model": m.Author, "fields": ["name", "mentor"], "many": True}),
            ("Nested", {"model": m.Author, "fields": ["id", "age"], "many": True,
                        "read_only": True}),
        ],
        "publisher_name": [
            ("CharField", {"source": "publisher.name", "read_only": True}),
            ("ReadOnlyField", {"source": "publisher.country"}),
        ],
        "before": [
            ("PrimaryKeyRelatedField", {"source": "prequel", "read_only": True}),
            ("CharField", {"source": "sequel.title", "read_only": True, "default": "none"}),
        ],
        "sizes": [("Nested", {"model": m.Book, "fields": ["pages", "price"], "source": "*"})],
        "told": [("SerializerMethodField", {}), ("SerializerMethodField", {"async": True})],
    },
    m.Author: {
        "pupils": [
            ("PrimaryKeyRelatedField", {"many": True, "queryset": m.Author}),
            ("Nested", {"model": m.Author, "fields": ["id", "name"], "many": True,
                        "read_only": True}),
        ],
        "boss": [("CharField", {"source": "mentor.name", "required": False}),
                 ("SlugRelatedField", {"slug_field": "email", "source": "mentor",
                                       "queryset": m.Author})],
        "told": [("SerializerMethodField", {}), ("SerializerMethodField", {"async": True})],
        "link": [("HyperlinkedIdentityField", {"view_name": "author-detail"})],
    },
    m.Berth: {
        "owner": [("Nested", {"model": m.Author, "fields": ["name"], "allow_null": True})],
        "number": [("IntegerField", {"min_value": 2})],
    },
}  # fmt: skip

EXTRA = st.fixed_dictionaries({}, optional={
    "required": flag, "allow_null": flag, "read_only": flag, "write_only": flag,
    "help_text": st.just("Help."), "label": st.just("Label"), "validators": st.just([]),
    "default": st.just(None), "error_messages": st.just({"required": "Say it."}),
})  # fmt: skip


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    model = draw(st.sampled_from(list(MODELS)))
    names = MODELS[model]
    own = {
        name: draw(st.sampled_from(ways))
        for name, ways in OWN.get(model, {}).items()
        if draw(st.integers(0, 2)) == 0
    }
    meta: dict[str, Any] = {"model": model}
    way = draw(st.sampled_from(["fields", "fields", "fields", "__all__", "exclude"]))
    if way == "__all__":
        meta["fields"] = "__all__"
    else:
        some = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
        meta[way] = list(dict.fromkeys([*some, *own])) if way == "fields" else some
    if draw(flag):
        meta["read_only_fields"] = draw(st.lists(st.sampled_from(names), max_size=2))
    if draw(flag):
        meta["extra_kwargs"] = draw(st.dictionaries(st.sampled_from(names), EXTRA, max_size=2))
    if draw(st.integers(0, 2)) == 0:
        meta["depth"] = draw(st.integers(0, 2))
    if draw(st.integers(0, 4)) == 0:
        meta["validators"] = []
    base = draw(st.sampled_from(["ModelSerializer"] * 3 + ["HyperlinkedModelSerializer"]))
    return {"base": base, "meta": meta, "own": own}


def make(library: Any, recipe: dict[str, Any]) -> Any:
    attributes = {name: _field(library, one) for name, one in recipe["own"].items()}
    if "told" in attributes:
        is_async = library is ours and recipe["own"]["told"][1].get("async")
        attributes["get_told"] = _told_later if is_async else _told
    attributes["Meta"] = type("Meta", (), recipe["meta"])
    return type("GeneratedSerializer", (getattr(library, recipe["base"]),), attributes)


def _told(self: Any, instance: Any) -> str:
    return f"{instance.pk}!"


async def _told_later(self: Any, instance: Any) -> str:
    await asyncio.sleep(0)
    return _told(self, instance)


def _field(library: Any, one: Own) -> Any:
    kind, its = one
    its = {name: value for name, value in its.items() if name != "async"}
    if "queryset" in its:
        its["queryset"] = its["queryset"].objects.all()
    if kind != "Nested":
        return getattr(library, kind)(**its)
    meta = type("Meta", (), {"model": its.pop("model"), "fields": its.pop("fields")})
    return type("InnerSerializer", (library.ModelSerializer,), {"Meta": meta})(**its)


def payloads(recipe: dict[str, Any]) -> st.SearchStrategy[Any]:
    names = {*MODELS[recipe["meta"]["model"]], *recipe["own"]}
    inner = st.dictionaries(st.sampled_from(["name", "id", "age", "pages", "price"]), JUNK)
    known = {name: FITTING.get(name, JUNK) for name in names}
    full = st.fixed_dictionaries({name: value for name, value in known.items() if name in FITTING})
    some = st.fixed_dictionaries({}, optional={n: v | JUNK | inner for n, v in known.items()})
    return full | some | JUNK


class Side:
    """One library's outcomes, in the order in which a view would ask for them."""

    def __init__(self, serializer: Any, instance: Any, payload: Any, options: dict[str, Any]):
        request = RequestFactory().get("/")
        self.read = lambda one: serializer(one, many=True, context={"request": request})
        self.write = lambda: serializer(
            instance, data=payload, context={"request": request}, **options
        )


async def asked(coroutine: Any) -> Any:
    try:
        return await coroutine
    except Exception as exc:  # noqa: BLE001 - compared with the other's
        return type(exc).__name__, str(exc)


def written(serializer: Any) -> Any:
    return told(serializer.errors), told(serializer.validated_data)


def shown(value: Any) -> Any:
    """Output by value and type; rows of a relation come in any order."""
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted(map(shown, value), key=repr)
    return told(value)


def theirs(recipe: Any, key: Any, payload: Any, options: Any) -> Any:
    model = recipe["meta"]["model"]
    instance = model._base_manager.filter(pk=key).first()

    def write() -> Any:
        serializer = side.write()
        return serializer.is_valid(), *written(serializer)

    def made() -> Side:
        return Side(make(drf, recipe), instance, payload, options)

    side = made()
    rows = list(model._base_manager.order_by("pk")[:5])
    return outcome(write), outcome(lambda: shown(side.read(rows).data))


async def mine(recipe: Any, key: Any, payload: Any, options: Any) -> Any:
    model = recipe["meta"]["model"]
    instance = await model.objects.filter(pk=key).afirst()
    side = Side(make(ours, recipe), instance, payload, options)

    async def write() -> Any:
        serializer = side.write()
        return await serializer.ais_valid(), *written(serializer)

    async def read() -> Any:
        rows = [row async for row in model.objects.order_by("pk")[:5]]
        return shown(await side.read(rows).adata)

    return await asked(write()), await asked(read())


@pytest.fixture(scope="module")
def thread() -> Any:
    """Where DRF's side runs: one thread, with one connection."""
    with ThreadPoolExecutor(1) as executor:
        yield executor
        executor.submit(lambda: connection.close()).result()  # noqa: PLW0108 - that thread's


@pytest.mark.asyncio(loop_scope="session")
@hypothesis.settings(generated, max_examples=max(EXAMPLES // 10, 3))
@given(data=st.data(), recipe=recipes(), key=st.sampled_from([None, 1, 2]), partial=flag)
async def test_validation_and_output_are_drfs(  # noqa: PLR0917 - what is drawn, and fixtures
    data: Any, recipe: Any, key: Any, partial: bool, library: None, database: None, thread: Any
) -> None:
    many = key is None and data.draw(st.integers(0, 3)) == 0
    payload = data.draw(st.lists(payloads(recipe), max_size=3) if many else payloads(recipe))
    options = {"partial": partial} | ({"many": True} if many else {})
    run = asyncio.get_running_loop().run_in_executor
    expected = await run(thread, theirs, recipe, key, payload, options)
    found = await mine(recipe, key, payload, options)
    assert found == expected


@pytest.mark.filterwarnings("ignore")
@hypothesis.settings(generated, max_examples=max(EXAMPLES // 15, 3))
@given(recipe=recipes())
def test_openapi_is_that_of_drfs_classes(recipe: Any) -> None:
    expected = outcome(lambda: schema_of(make(drf, recipe), drf))
    assert outcome(lambda: schema_of(make(ours, recipe), ours)) == expected

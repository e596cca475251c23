"""Generated serializers, DRF's and app.rest's side by side: same validation, output and OpenAPI.

A field is drawn as a recipe (its class's name and its options), from which both libraries make
theirs; the input is drawn to fit it more often than not. Two differences are meant and are not
drawn: NaN and infinities, and text that PostgreSQL can't hold. `GENERATED_EXAMPLES=3000` draws
more.
"""

import asyncio
import datetime
from contextlib import closing
from decimal import Decimal
from typing import Any

import hypothesis
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from rest_framework import generics as drf_generics
from rest_framework import serializers as drf

from app.rest import generics
from app.rest import serializers as ours
from settings import env
from tests.running import ROOT

EXAMPLES = env.integer("GENERATED_EXAMPLES", 150, minimum=3)
NAMES = ["alpha", "beta", "gamma", "delta"]
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
NUMBERS = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
JUNK = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
FILES = st.builds(SimpleUploadedFile, st.sampled_from(["a.txt", "long.txt"]), st.binary(max_size=2))
PICTURE = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
IMAGES = st.builds(
    SimpleUploadedFile,
    st.sampled_from(["a.gif", "a.png", "a.txt", "long.gif"]),
    st.sampled_from([PICTURE, PICTURE, PICTURE[:12], b"GIF89a", b""]),
)
CHOICES = st.sampled_from([[("a", "Alpha"), ("b", "Beta")], [(1, "One"), (3, "Three")]])


@pytest.fixture(autouse=True)
def as_drf(settings: Any) -> None:
    settings.STOWAGE = {"REJECT_UNKNOWN_FIELDS": False}


Recipe = tuple[str, dict[str, Any], Any]
"""The name of a field's class, its options, a strategy of what it takes."""


def options(**strategies: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Some of these options."""
    return st.fixed_dictionaries({}, optional=strategies)


def recipe(name: str, fitting: Any, **strategies: Any) -> st.SearchStrategy[Recipe]:
    return st.tuples(st.just(name), options(**strategies), st.just(fitting))


small, flag = st.integers(1, 5), st.booleans()
moments = st.datetimes(datetime.datetime(1900, 1, 2), datetime.datetime(2200, 1, 1))  # noqa: DTZ001
iso = st.builds(lambda one: one.isoformat(), moments)
simple: st.SearchStrategy[Recipe] = st.one_of(
    recipe("CharField", TEXT, max_length=small, min_length=small, allow_blank=flag,
           trim_whitespace=flag, help_text=TEXT, label=TEXT),
    recipe("EmailField", st.sampled_from(["a@b.example", "a", "@"]), max_length=small),
    recipe("SlugField", st.sampled_from(["a-b", "a b", "ä"]), allow_unicode=flag),
    recipe("URLField", st.sampled_from(["http://a.example/", "a", "ftp://x"])),
    recipe("UUIDField", st.uuids().map(str), format=st.sampled_from(["hex", "int", "urn"])),
    recipe("IPAddressField", st.ip_addresses().map(str), protocol=st.just("ipv4")),
    recipe("IntegerField", st.integers(-9, 9), min_value=st.integers(-5, 0), max_value=small),
    recipe("FloatField", NUMBERS, min_value=st.integers(-5, 0), max_value=small),
    recipe("BooleanField", st.sampled_from(["true", "off", 1, 0, "null", True])),
    recipe("DateField", iso.map(lambda text: text[:10]), format=st.sampled_from(["%d.%m", None])),
    recipe("TimeField", iso.map(lambda text: text[11:])),
    recipe("DateTimeField", iso, format=st.sampled_from(["%Y", None])),
    recipe("DurationField", st.timedeltas().map(str)),
    recipe("JSONField", JUNK, binary=flag),
    recipe("BigIntegerField", st.integers(-(2**70), 2**70), coerce_to_string=flag,
           max_value=small),
    recipe("HStoreField", st.dictionaries(TEXT, TEXT | st.none(), max_size=2), allow_empty=flag),
    recipe("FileField", FILES, max_length=small, allow_empty_file=flag, use_url=flag),
    recipe("ImageField", IMAGES, max_length=small, allow_empty_file=flag, use_url=flag),
    st.tuples(
        st.just("RegexField"),
        st.fixed_dictionaries({"regex": st.sampled_from(["^a+$", "[0-9]"])}),
        st.just(st.sampled_from(["aa", "a1", ""])),
    ),
    st.tuples(
        st.just("FilePathField"),
        st.fixed_dictionaries(
            {"path": st.just(str(ROOT / "docs"))},
            optional={"match": st.just(r".*\.md$"), "recursive": flag, "allow_folders": flag},
        ),
        st.just(st.sampled_from([str(ROOT / "docs/rest.md"), "rest.md", str(ROOT / "docs/adr")])),
    ),
    st.tuples(
        st.just("HiddenField"), st.just({"default": "hidden"}), st.just(TEXT)
    ),
    recipe("ReadOnlyField", TEXT, help_text=TEXT),
    st.tuples(
        st.just("DecimalField"),
        st.fixed_dictionaries(
            {"max_digits": st.integers(3, 6), "decimal_places": st.integers(0, 2)},
            optional={"coerce_to_string": flag, "min_value": st.just(Decimal(-5)),
                      "localize": st.just(False), "normalize_output": flag},
        ),
        st.just(st.decimals(-99, 99, places=1).map(str)),
    ),
    *[
        st.tuples(
            st.just(name),
            st.fixed_dictionaries({"choices": CHOICES}, optional={"allow_blank": flag}),
            st.just(fitting),
        )
        for name, fitting in (
            ("ChoiceField", st.sampled_from(["a", "b", 3, "3", ""])),
            ("MultipleChoiceField", st.lists(st.sampled_from(["a", "b", 3, "z"]))),
        )
    ],
)  # fmt: skip


def in_list(inner: Recipe) -> st.SearchStrategy[Recipe]:
    fitting = st.lists(inner[2], max_size=3)
    more = options(min_length=st.integers(1, 2), max_length=small, allow_empty=flag)
    return st.tuples(
        st.just("ListField"), more.map(lambda o: o | {"child": inner}), st.just(fitting)
    )


def in_dict(inner: Recipe) -> st.SearchStrategy[Recipe]:
    fitting = st.dictionaries(TEXT, inner[2], max_size=2)
    more = options(allow_empty=flag)
    return st.tuples(
        st.just("DictField"), more.map(lambda o: o | {"child": inner}), st.just(fitting)
    )


@st.composite
def common(draw: Any, fields: Any) -> Recipe:
    """A field, with what any may be told. DRF refuses some of it together."""
    name, its, fitting = draw(fields)
    its = dict(its)
    way = draw(st.sampled_from(["", "", "", "read_only", "write_only", "optional", "default"]))
    if way in {"read_only", "write_only"} and name not in {"ReadOnlyField", "HiddenField"}:
        its[way] = True
    elif way == "optional":
        its["required"] = False
    elif way == "default" and name in {"CharField", "IntegerField"}:
        its["default"] = "d" if name == "CharField" else 4
    if draw(flag):
        its["allow_null"] = True
    if draw(st.integers(0, 5)) == 0:
        its["source"] = "other"
    return name, its, fitting


fields = common(simple | simple.flatmap(in_list) | simple.flatmap(in_dict))
plain = st.dictionaries(st.sampled_from(NAMES), fields, min_size=1, max_size=4)


@st.composite
def shapes(draw: Any) -> dict[str, Any]:
    """The fields of a serializer; one of them may be a serializer, or a list of such."""
    shape: dict[str, Any] = dict(draw(plain))
    if draw(st.integers(0, 2)) == 0:
        more = draw(options(required=st.just(False), allow_null=flag))
        shape["nested"] = (draw(plain), more | ({"many": True} if draw(flag) else {}))
    return shape


def make(library: Any, shape: dict[str, Any], name: str = "Generated") -> Any:
    """The serializer class of one of the libraries."""
    attributes = {
        key: _nested(library, one) if len(one) == 2 else _field(library, one)
        for key, one in shape.items()
    }
    return type(f"{name}Serializer", (library.Serializer,), attributes)


def _nested(library: Any, one: Any) -> Any:
    shape, its = one
    return make(library, shape, "Inner")(**its)


def _field(library: Any, one: Recipe) -> Any:
    name, its, _ = one
    if "child" in its:
        its = its | {"child": _field(library, its["child"])}
    return getattr(library, name)(**its)


def fitting(shape: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Input that fits more often than not."""
    known = {key: _input(one) | JUNK for key, one in shape.items()}
    return st.fixed_dictionaries({}, optional=known) | JUNK


def _input(one: Any) -> st.SearchStrategy[Any]:
    if len(one) == 3:
        return one[2]
    shape, its = one
    return st.lists(fitting(shape), max_size=3) if its.get("many") else fitting(shape)


def run(coroutine: Any) -> Any:
    """On a loop of its own: only images wait, for a thread."""
    with closing(asyncio.new_event_loop()) as loop:
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())


def told(value: Any) -> Any:
    """By value and type; a set in any order."""
    if isinstance(value, dict):
        return {str(key): told(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [told(item) for item in value]
    if isinstance(value, set):
        return sorted(map(repr, value))
    return type(value).__name__, str(value), getattr(value, "code", None)


generated = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.generate],
)


def outcome(check: Any) -> Any:
    """What `check` gives, or the exception that it raises."""
    try:
        return check()
    except Exception as exc:  # noqa: BLE001 - compared with the other's
        return type(exc).__name__, str(exc)


@pytest.mark.timeout(600)  # as many serializers as are asked for
@generated
@given(st.data(), shapes(), flag, flag)
def test_validation_and_output_are_drfs(data: Any, shape: Any, partial: bool, many: bool) -> None:
    payload = data.draw(st.lists(fitting(shape), max_size=3) if many else fitting(shape))
    kwargs = {"data": payload, "partial": partial} | ({"many": True} if many else {})
    theirs, mine = make(drf, shape)(**kwargs), make(ours, shape)(**kwargs)
    expected = outcome(theirs.is_valid)
    assert outcome(lambda: run(mine.ais_valid())) == expected
    if not isinstance(expected, bool):
        return
    assert told(mine.errors) == told(theirs.errors)
    assert told(mine.validated_data) == told(theirs.validated_data)
    expected = outcome(lambda: told(theirs.data))
    assert outcome(lambda: told(run(mine._adata()))) == expected
    if expected and theirs.validated_data and not many:
        instance = dict(theirs.validated_data)
        read = outcome(lambda: told(make(drf, shape)(instance).data))
        assert outcome(lambda: told(run(make(ours, shape)(instance)._adata()))) == read


def schema_of(serializer: Any, view: Any) -> Any:
    from django.urls import path

    attributes = {"serializer_class": serializer, "schema": AutoSchema(), "queryset": None}
    base: Any = {
        drf: drf_generics.ListCreateAPIView, ours: generics.ListCreateAPIView,
    }[view]  # fmt: skip
    made = type("GeneratedView", (base,), attributes | {"filter_backends": []})
    return SchemaGenerator(patterns=[path("generated/", made.as_view())]).get_schema(public=True)


@pytest.mark.timeout(600)  # a schema of each
@pytest.mark.filterwarnings("ignore")
@hypothesis.settings(generated, max_examples=EXAMPLES // 3)
@given(shapes())
def test_openapi_is_that_of_drfs_classes(shape: Any) -> None:
    theirs, mine = make(drf, shape), make(ours, shape)
    expected = outcome(lambda: schema_of(theirs, drf))  # some, drf-spectacular cannot describe
    assert outcome(lambda: schema_of(mine, ours)) == expected


def test_the_recipes_reach_every_field_of_drf() -> None:
    """The others need a model or a method (`test_generated_models`)."""
    drawn = {
        "CharField", "EmailField", "SlugField", "URLField", "UUIDField", "IPAddressField",
        "IntegerField", "FloatField", "BooleanField", "DateField", "TimeField", "DateTimeField",
        "DurationField", "JSONField", "DecimalField", "ChoiceField", "MultipleChoiceField",
        "ListField", "DictField", "BigIntegerField", "HStoreField", "FileField", "RegexField",
        "FilePathField", "HiddenField", "ReadOnlyField", "ImageField",
    }  # fmt: skip
    other = {"Field", "ModelField", "SerializerMethodField"}
    known = {
        name
        for name, value in vars(drf).items()
        if isinstance(value, type)
        and issubclass(value, drf.Field)
        and value.__module__ == "rest_framework.fields"
    }
    assert known == drawn | other

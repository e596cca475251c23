"""A resource as the command line of `manage.py startresource` describes it. Pure.

    crane name:char:100:unique lifts_tonnes:positive host:fk:fleet.Host:optional

A field is its name, its kind (`KINDS`), the kind's arguments, and any of `FLAGS`, with colons
between them.
"""

import keyword
import re
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Model

from app.errors import Invalid

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
FLAGS = {"index", "optional", "unique"}


@dataclass(frozen=True)
class Kind:
    """What a word of the command line becomes: a model field, and values to test it with."""

    field: str
    arguments: tuple[str, ...] = ()
    """The field's arguments by name, in the order in which they may be given."""
    defaults: tuple[str, ...] = ()
    sample: Any = None
    """A value as JSON carries it; `{n}` in a text tells several objects apart."""
    wrong: Any = "no such value"
    is_text: bool = False


KINDS: dict[str, Kind] = {
    "bigint": Kind("BigIntegerField", sample=1),
    "bool": Kind("BooleanField", sample=True, wrong="maybe"),
    "char": Kind("CharField", ("max_length",), ("200",), "text {n}", {}, is_text=True),
    "date": Kind("DateField", sample="2026-01-31"),
    "datetime": Kind("DateTimeField", sample="2026-01-31T12:00:00Z"),
    "decimal": Kind("DecimalField", ("max_digits", "decimal_places"), ("12", "2"), "1.00"),
    "duration": Kind("DurationField", sample="01:00:00"),
    "email": Kind("EmailField", sample="name{n}@example.com", is_text=True),
    "fk": Kind("ForeignKey", ("to",), wrong=0),
    "float": Kind("FloatField", sample=1.5),
    "int": Kind("IntegerField", sample=1),
    "ip": Kind("GenericIPAddressField", sample="192.0.2.{n}"),
    "json": Kind("JSONField", sample={"key": "value"}, wrong=None),
    "positive": Kind("PositiveIntegerField", sample=1, wrong=-1),
    "slug": Kind("SlugField", ("max_length",), ("50",), "slug-{n}", "no slug", is_text=True),
    "text": Kind("TextField", sample="text {n}", wrong={}, is_text=True),
    "time": Kind("TimeField", sample="12:00:00"),
    "url": Kind("URLField", sample="https://example.com/{n}", is_text=True),
    "uuid": Kind("UUIDField", sample="00000000-0000-4000-8000-{n:012d}"),
}


@dataclass(frozen=True)
class Field:
    """A field of the resource."""

    name: str
    kind: Kind
    arguments: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()

    @property
    def target(self) -> type[Model] | None:
        """The model that a foreign key leads to."""
        return apps.get_model(self.arguments[0]) if self.kind.field == "ForeignKey" else None

    @property
    def is_optional(self) -> bool:
        return "optional" in self.flags

    def declaration(self, related_name: str) -> str:
        """Its line in the model."""
        if self.target is None:
            named = zip(self.kind.arguments, self.arguments, strict=True)
            words = [f"{name}={value}" for name, value in named]
        else:
            words = [f'"{self.arguments[0]}"', "models.PROTECT", f'related_name="{related_name}"']
        words += ["unique=True"] if "unique" in self.flags else []
        words += ["db_index=True"] if "index" in self.flags else []
        if self.is_optional:
            words += ["blank=True", 'default=""' if self.kind.is_text else "null=True"]
        return f"{self.name} = models.{self.kind.field}({', '.join(words)})"

    def sample(self, number: int) -> Any:
        """Its value in the object of this number."""
        value = self.kind.sample
        if self.kind.field == "DecimalField":
            return f"{1:.{self.arguments[1]}f}"
        return value.format(n=number) if isinstance(value, str) else value


@dataclass(frozen=True)
class Resource:
    """An app `app.<plural>` with one model, to be."""

    name: str
    plural: str
    fields: tuple[Field, ...]

    @property
    def model(self) -> str:
        return "".join(word.capitalize() for word in self.name.split("_"))

    @property
    def title(self) -> Field | None:
        """The field that names an object to people."""
        return next((one for one in self.fields if one.kind.is_text), None)


def parse_resource(name: str, specs: list[str], plural: str | None = None) -> Resource:
    """What the command line describes. Raises Invalid, with the argument that is to blame."""
    singular = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    plural = plural or pluralized(singular)
    for label, word in (("NAME", singular), ("--plural", plural)):
        if not NAME.fullmatch(word) or keyword.iskeyword(word):
            raise _wrong(label, f"{word!r} can't name a module. Write a noun such as crane.")
    if singular == plural:
        raise _wrong("--plural", f"It must differ from {name!r}: it names the module.")
    fields = tuple(parse_field(spec) for spec in specs)
    if not fields:
        raise _wrong("FIELD", "A resource needs at least one. Write it like name:char:100.")
    names = [one.name for one in fields]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise _wrong(twice, "The field is there twice. Give each its own name.")
    return Resource(singular, plural, fields)


def parse_field(spec: str) -> Field:
    """`name:kind:argument…:flag…`. Raises Invalid, by the field's name."""
    name, *words = spec.split(":")
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise _wrong(spec, "A field begins with its name in small letters: lifts_tonnes:positive.")
    if name in {"id", "pk"} or hasattr(Model, name) or name == "objects":
        raise _wrong(name, "Django's models have this name already. Choose another.")
    if not words or words[0] not in KINDS:
        raise _wrong(name, f"Say of what kind it is, one of {', '.join(KINDS)}: {name}:char.")
    kind = KINDS[words[0]]
    given = [word for word in words[1:] if word not in FLAGS]
    if len(given) > len(kind.arguments):
        raise _wrong(name, f"{given[-1]!r} is unknown. Flags are {', '.join(sorted(FLAGS))}.")
    arguments = (*given, *kind.defaults[len(given) :])
    flags = frozenset(words[1:]) & FLAGS
    _check_arguments(name, kind, arguments)
    if "unique" in flags and not isinstance(kind.sample, str):
        raise _wrong(name, f"A field of the kind {words[0]} is not made unique here.")
    return Field(name, kind, arguments, flags)


def pluralized(noun: str) -> str:
    """The regular plural in English; for another there is `--plural`."""
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if re.search(r"(s|x|z|ch|sh)$", noun) else f"{noun}s"


def _check_arguments(name: str, kind: Kind, arguments: tuple[str, ...]) -> None:
    if kind.field == "ForeignKey":
        try:
            apps.get_model(arguments[0])
        except (IndexError, LookupError, ValueError):
            known = ", ".join(sorted(model._meta.label for model in apps.get_models()))
            remedy = f"Name the model that it leads to, as in {name}:fk:fleet.Host. There are"
            raise _wrong(name, f"{remedy} {known}.") from None
        return
    for word, value in zip(kind.arguments, arguments, strict=True):
        if not value.isdecimal() or (int(value) < 1 and word != "decimal_places"):
            raise _wrong(name, f"{word} is a whole number, not {value!r}.")


def _wrong(name: str, text: str) -> Invalid:
    return Invalid("The resource can't be made.", fields={name: [text]})

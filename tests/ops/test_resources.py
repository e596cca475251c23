"""What the command line of `startresource` means, and what is wrong with it."""

import pytest

from app.errors import Invalid
from app.ops.resources import KINDS, parse_field, parse_resource, pluralized


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("name:char", "name = models.CharField(max_length=200)"),
        ("name:char:40:unique", "name = models.CharField(max_length=40, unique=True)"),
        ("note:text:optional", 'note = models.TextField(blank=True, default="")'),
        ("load:int:index", "load = models.IntegerField(db_index=True)"),
        ("price:decimal:8", "price = models.DecimalField(max_digits=8, decimal_places=2)"),
        ("at:datetime:optional", "at = models.DateTimeField(blank=True, null=True)"),
        (
            "host:fk:fleet.Host",
            'host = models.ForeignKey("fleet.Host", models.PROTECT, related_name="berths")',
        ),
    ],
)
def test_field_becomes_a_line_of_the_model(spec: str, line: str) -> None:
    assert parse_field(spec).declaration("berths") == line


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"fk"}))
def test_every_kind_is_a_field_of_django(kind: str) -> None:
    from app.db import models

    field = parse_field(f"one:{kind}")
    namespace = {"models": models}
    exec(field.declaration("many"), namespace)  # the line as the model will have it
    assert isinstance(namespace["one"], models.Field)


@pytest.mark.parametrize(
    ("name", "fields", "blamed", "remedy"),
    [
        ("9crane", ["a:int"], "NAME", "Write a noun"),
        ("class", ["a:int"], "NAME", "Write a noun"),
        ("crane", [], "FIELD", "name:char:100"),
        ("crane", ["a:int", "a:char"], "a", "its own name"),
        ("crane", ["A:int"], "A:int", "small letters"),
        ("crane", ["id:int"], "id", "Choose another"),
        ("crane", ["save:int"], "save", "Choose another"),
        ("crane", ["a__b:int"], "a__b:int", "small letters"),
        ("crane", ["a"], "a", "one of bigint"),
        ("crane", ["a:varchar"], "a", "one of bigint"),
        ("crane", ["a:int:nullable"], "a", "Flags are index, optional, unique"),
        ("crane", ["a:char:long"], "a", "whole number"),
        ("crane", ["a:char:0"], "a", "whole number"),
        ("crane", ["a:fk"], "a", "fleet.Host"),
        ("crane", ["a:fk:fleet.Nothing"], "a", "fleet.Host"),
        ("crane", ["a:bool:unique"], "a", "not made unique"),
    ],
)
def test_mistake_is_named_with_its_remedy(
    name: str, fields: list[str], blamed: str, remedy: str
) -> None:
    with pytest.raises(Invalid) as caught:
        parse_resource(name, fields)
    ((field, texts),) = caught.value.fields.items()
    assert field == blamed
    assert remedy in texts[0]


@pytest.mark.parametrize(
    ("noun", "plural"),
    [("crane", "cranes"), ("quay", "quays"), ("ferry", "ferries"), ("box", "boxes")],
)
def test_plural_is_english(noun: str, plural: str) -> None:
    assert pluralized(noun) == plural


def test_name_may_be_written_like_a_class() -> None:
    resource = parse_resource("TowBoat", ["name:char"])
    assert (resource.name, resource.plural, resource.model) == ("tow_boat", "tow_boats", "TowBoat")

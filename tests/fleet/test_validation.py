"""The rules for texts and structures, as tables."""

from typing import Any

import pytest

from app.fleet import validation


@pytest.mark.parametrize(
    "reference",
    [
        "redis",
        "redis:8-trixie",
        "library/redis",
        "registry.example.org/team/app:1.2",
        "registry.example.org:5000/team/app",
        "localhost:5000/a/b/c:d",
        "app@sha256:" + "a" * 64,
        "app:1@sha256:" + "0" * 64,
        "a__b/c--d.e",
        "[::1]:5000/app",
    ],
)
def test_image_reference_is_accepted(reference: str) -> None:
    assert validation.image_problems(reference) == []


@pytest.mark.parametrize(
    "reference",
    [
        "",
        " ",
        "Redis",
        "redis:",
        "redis::8",
        "redis:8 ",
        "a//b",
        "/a",
        "a/",
        "redis@",
        "a:-b",
        "re\0dis",
        "redis\n",
    ],
)
def test_image_reference_is_refused_with_an_example(reference: str) -> None:
    (problem,) = validation.image_problems(reference)
    assert "registry.example.org" in problem


LABELS = [
    ([], "Expected an object"),
    ("a=b", "Expected an object"),
    ({"": "x"}, "letters, digits"),
    ({"-a": "x"}, "start and end"),
    ({"a b": "x"}, "letters, digits"),
    ({"a" * 129: "x"}, "up to 128"),
    ({"a\0b": "x"}, "letters, digits"),
    ({"a": 1}, "not a string"),
    ({"a": None}, "not a string"),
    ({"a": {"b": "c"}}, "not a string"),
    ({"a": "x" * 256}, "up to 255"),
    ({"a": "x\0"}, "control characters"),
    ({"a": "\ud800"}, "control characters"),
    ({f"k{n}": "" for n in range(65)}, "At most 64"),
]


@pytest.mark.parametrize(("value", "message"), LABELS)
def test_labels_are_refused_with_a_remedy(value: Any, message: str) -> None:
    assert message in validation.label_problems(value)[0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "Expected an object"),
        ({"A B": "x"}, "without spaces"),
        ({"A=B": "x"}, "without spaces"),
        ({"": "x"}, "1 to 255"),
        ({"A": 1}, "Put it in quotes"),
        ({"A": "\0"}, "without NUL"),
        ({"A": "x" * 40_000}, "up to 32768"),
        ({f"K{n}": "" for n in range(513)}, "At most 512"),
    ],
)
def test_env_is_refused_with_a_remedy(value: Any, message: str) -> None:
    assert message in validation.env_problems(value)[0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("sleep 60", "Split the command"),
        ({}, "list of strings"),
        ([1], "Item 0 is not a string"),
        (["ok", None], "Item 1 is not a string"),
        (["\0"], "NUL"),
        (["x"] * 257, "At most 256"),
    ],
)
def test_command_is_refused_with_a_remedy(value: Any, message: str) -> None:
    assert message in validation.command_problems(value)[0]


def test_every_problem_of_labels_is_told() -> None:
    assert len(validation.label_problems({"a b": "x", "c": 1, "d": "fine"})) == 2


def test_engine_labels_may_hold_any_text() -> None:
    labels = {"org.opencontainers.image.description": "Some\nlong text", "com/x y=z": ""}
    assert validation.observed_label_problems(labels) == []


def test_reservation_above_limit_names_both() -> None:
    values = {"memory_reservation_bytes": 2, "memory_limit_bytes": 1}
    problems = validation.resource_problems(values, "memory", "_bytes")
    assert "raise memory_limit_bytes" in problems["memory_reservation_bytes"][0]


@pytest.mark.parametrize(
    "values", [{}, {"cpu_limit": 1}, {"cpu_limit": None, "cpu_reservation": 9}]
)
def test_reservation_without_limit_is_fine(values: dict[str, Any]) -> None:
    assert validation.resource_problems(values, "cpu") == {}

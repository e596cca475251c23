"""Keys that stand twice are found wherever they stand, and nothing else is taken for one."""

import json
from collections import Counter
from random import Random

import pytest

from app.rest import duplicates
from app.rest.duplicates import find_duplicate_key


def find(text):
    return find_duplicate_key(text, json.loads(text))


@pytest.mark.parametrize(
    ("text", "key", "place"),
    [
        ('{"a": 1, "a": 1}', "a", "line 1 column 10"),
        ('{"a":1,\n "b":2,\n "a":3}', "a", "line 3 column 2"),
        ('{"a" :1,"b"\t:2,"b"\n:3}', "b", "line 1 column 16"),
        ('{"a": {"b": [1, {"c": 1, "c": {}}]}}', "c", "line 1 column 26"),
        ('[{"a": 1}, {"a": 1, "a": 2}]', "a", "line 1 column 21"),
        ('[{"a": {"b": 1}, "a": 2}, {"a": ":"}]', "a", "line 1 column 18"),
        ('{"\\u0061": 1, "a": 2}', "a", "line 1 column 15"),
        ('{"": 1, "": 2}', "", "line 1 column 9"),
        ('{"\\ud800": 1, "\\ud800": 2}', "\ud800", "line 1 column 15"),
        ('{"a\\"": 1, "b": "\\":", "a\\"": 2}', 'a"', "line 1 column 24"),
        ('{"x": ":", "y": "", "x": 1}', "x", "line 1 column 21"),
    ],
)
def test_key_that_stands_twice_is_named_with_its_place(text, key, place):
    said = find(text)
    assert said is not None
    assert json.dumps(key) in said
    assert place in said
    assert "Write each key" in said


@pytest.mark.parametrize(
    "text",
    [
        "{}", "[]", "1", '"a"', '":"', '{"a": ":"}', '[{"a": 1}, {"a": 1}]', '{"a": {"a": 1}}',
        '[":", {"a": 1}, ":"]', '{"a": "\\":", "b": "\\\\"}', '{"a" : 1, "b": " :"}', '[{}, 1]',
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_no_fault(text):
    assert find(text) is None


def test_long_body_is_not_searched_for_the_place():
    text = json.dumps({"text": "x" * duplicates.MOST_CHARACTERS})[:-1] + ', "a": 1, "a": 2}'
    said = find(text)
    assert said is not None
    assert '"a"' in said
    assert "line" not in said


def test_long_key_is_shown_cut():
    key = "k" * 10_000
    assert len(find(f'{{"{key}": 1, "{key}": 2}}')) < 300


KEYS = ("a", "b", ":", '":', "{", "", "\\", '"')
LEAVES = (1, ":", '":', "{}", '"a":', " :", None, "")


class Pairs(list):
    """An object as what is written, key by key."""


def anything(chance, depth):
    """Any JSON value; objects may hold a key twice."""
    kind = chance.randrange(3) if depth else 0
    inner = [anything(chance, depth - 1) for _ in range(chance.randrange(4))] if kind else []
    if kind == 0:
        return chance.choice(LEAVES)
    return inner if kind == 1 else Pairs((chance.choice(KEYS), one) for one in inner)


def written(value, space):
    if isinstance(value, Pairs):
        pairs = (f"{json.dumps(k)}{space}:{space}{written(v, space)}" for k, v in value)
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(one, space) for one in value) + "]"
    return json.dumps(value)


def is_doubled(value):
    keys = [key for key, _ in value] if isinstance(value, Pairs) else []
    inner = [v for _, v in value] if isinstance(value, Pairs) else value
    below = isinstance(value, list) and any(is_doubled(one) for one in inner)
    return below or len(set(keys)) < len(keys)


@pytest.mark.parametrize("space", ["", " ", "\n", "\t "])
def test_any_json_is_judged_rightly(space):
    chance = Random(space)
    judged = Counter()
    for _ in range(500):
        value = anything(chance, 4)
        said = find(written(value, space))
        assert (said is not None) is is_doubled(value), written(value, space)
        assert said is None or "line" in said
        judged[said is None] += 1
    assert min(judged.values()) > 30

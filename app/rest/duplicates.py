"""Keys that a JSON object holds twice. Parsers keep the last value and say nothing: what the sender
wrote first would be lost, and two readers of one body could see two values (RFC 8259, 4).

Theory of operation. Finding them while parsing costs a call for each object, several times what the
parse costs. So keys are counted: those that stand in the text, by searches at C's speed, and those
that were read. As many read as stand there means that none was lost. Only where the counts differ
(a key is doubled, or a text starts with a colon and looks like a key) is the body parsed once more,
slowly, to say which key, and where.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["find_duplicate_key"]

MOST_CHARACTERS = 2**16
"""Of a body in which the place of a doubled key is looked for: 20 ms at most. In a longer one the
key is named, and not its place."""

_SPACED_KEY = re.compile(r'"[ \n\r\t]*:')
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|[{}\[\],:]')


class _DuplicateKeyError(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def find_duplicate_key(text: str, value: Any) -> str | None:
    """A sentence about the first key that an object of the JSON `text`, which was read as `value`,
    holds twice; None where there is none.
    """
    written = text.count('":')
    if _has_spaced_colon(text):
        written = len(_SPACED_KEY.findall(text))
    if written == _count_keys(text, value):
        return None
    try:
        json.loads(text, object_pairs_hook=_check)
    except _DuplicateKeyError as doubled:
        return _describe(text, doubled.key)
    return None


def _has_spaced_colon(text: str) -> bool:
    """Whether a key may be apart from its colon. A search for one character costs next to nothing
    where it is not there, one for two does.
    """
    return (
        (" " in text and " :" in text)
        or ("\n" in text and "\n:" in text)
        or ("\t" in text and "\t:" in text)
        or ("\r" in text and "\r:" in text)
    )


def _count_keys(text: str, value: Any) -> int:
    """The keys of all objects that `value`, read from `text`, holds."""
    objects = text.count("{")
    if objects == 1 and type(value) is dict:
        return len(value)
    if type(value) is list and objects == len(value) and set(map(type, value)) == {dict}:
        return sum(map(len, value))  # objects that hold no others: a batch
    keys, rest = 0, [value]
    while rest:
        holder = rest.pop()
        if type(holder) is dict:
            keys += len(holder)
            rest += [one for one in holder.values() if type(one) is dict or type(one) is list]
        elif type(holder) is list:
            rest += [one for one in holder if type(one) is dict or type(one) is list]
    return keys


def _check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(key)
            seen.add(key)
    return read


def _describe(text: str, key: str) -> str:
    place = next(_places(text), None) if len(text) <= MOST_CHARACTERS else None
    if place is not None:
        key, offset = place
        line, column = text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
        where = f" at line {line} column {column}"
    else:
        where = ""
    shown = json.dumps(key if len(key) <= 100 else f"{key[:100]}...")
    return f"The key {shown} is there a second time{where}. Write each key of an object once."


def _places(text: str) -> Iterator[tuple[str, int]]:
    """Each key that stands a second time in its object, and where that starts."""
    open_objects: list[set[str] | None] = []
    last: re.Match[str] | None = None
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "{":
                open_objects.append(set())
            case "[":
                open_objects.append(None)
            case "}" | "]":
                open_objects.pop()
            case ":":
                keys = open_objects[-1]
                assert last is not None
                assert keys is not None
                key = json.loads(last[0], strict=False)
                if key in keys:
                    yield key, last.start()
                keys.add(key)
        last = token

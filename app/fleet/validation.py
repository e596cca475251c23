"""What a value must look like, beside its type. Pure functions.

Each gives a list of sentences with remedies, empty when all is well: a writer learns of everything
at once.
"""

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from app.fleet.bounds import BOUNDS

MAX_AHEAD = timedelta(seconds=BOUNDS.clock_ahead_seconds)
"""How far a clock may be ahead of this server's."""

MAX_LABELS = 64
MAX_ENV = 512
MAX_COMMAND = 256
MAX_TEXT = 32_768
MAX_OBSERVED_LABELS = 512
MAX_OBSERVED_TEXT = 65_536

LABEL_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?\Z")
ENV_NAME = re.compile(r"[^\s=\x00-\x1f]{1,255}\Z")
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\Z")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# The grammar of distribution/reference: [domain[:port]/]path[:tag][@digest].
IMAGE = re.compile(
    r"""
    (?:(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?/)?
    [a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*
    (?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?
    (?:@[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?\Z
    """,
    re.VERBOSE,
)

Problems = list[str]


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can store `text`: no NUL, no half of a surrogate pair."""
    return not UNSTORABLE.search(text)


def label_problems(value: Any) -> Problems:
    """Labels that people write: short, so that `?label=key=value` can say them."""
    return _entry_problems(value, "labels", MAX_LABELS, _label_problem)


def observed_label_problems(value: Any) -> Problems:
    """Labels as an engine reports them: any text that can be stored."""
    return _entry_problems(value, "labels", MAX_OBSERVED_LABELS, _observed_label_problem)


def env_problems(value: Any) -> Problems:
    return _entry_problems(value, "variables", MAX_ENV, _env_problem)


def command_problems(value: Any) -> Problems:
    """A command is a list of arguments, each passed as it is: there is no shell that splits it."""
    if not isinstance(value, list):
        return [
            'Expected a list of strings, such as ["sleep", "60"]. Split the command into items.'
        ]
    if len(value) > MAX_COMMAND:
        return [f"At most {MAX_COMMAND} items; got {len(value)}. Put them into a script."]
    problems = []
    for place, item in enumerate(value):
        if not isinstance(item, str):
            problems.append(f"Item {place} is not a string. Put it in quotes.")
        elif len(item) > MAX_TEXT or not is_storable(item):
            problems.append(f"Item {place} is longer than {MAX_TEXT} characters or contains NUL.")
    return problems


def image_problems(value: str) -> Problems:
    if IMAGE.match(value):
        return []
    return [
        "Not an image reference. Write [registry[:port]/]name[:tag][@digest], the name in lower"
        " case, such as registry.example.org/team/app:1.2."
    ]


def name_problems(value: str) -> Problems:
    if NAME.match(value):
        return []
    return [
        "Use letters, digits, '-', '_' and '.' only, and start and end with a letter or a digit."
    ]


def resource_problems(values: dict[str, Any], resource: str, unit: str = "") -> dict[str, Problems]:
    """A reservation above its limit, as {field: messages}."""
    reservation, limit = f"{resource}_reservation{unit}", f"{resource}_limit{unit}"
    if values.get(reservation) is None or values.get(limit) is None:
        return {}
    if values[reservation] <= values[limit]:
        return {}
    return {
        reservation: [
            f"The reservation ({values[reservation]}) is above {limit} ({values[limit]})."
            f" Lower {reservation} or raise {limit}."
        ]
    }


def _entry_problems(
    value: Any, noun: str, maximum: int, problem: Callable[[Any, Any], str | None]
) -> Problems:
    if not isinstance(value, dict):
        return ['Expected an object of strings, such as {"key": "value"}.']
    if len(value) > maximum:
        return [f"At most {maximum} {noun}; got {len(value)}. Remove some."]
    return _present(problem(key, text) for key, text in value.items())


def _present(problems: Iterable[str | None]) -> Problems:
    return [problem for problem in problems if problem]


def _label_problem(key: str, text: Any) -> str | None:
    if not LABEL_KEY.match(key):
        return (
            f"Key {_shown(key)}: use up to 128 letters, digits, '.', '_', '/' and '-', and start"
            " and end with a letter or a digit."
        )
    if not isinstance(text, str):
        return f"{key}: the value is not a string. Put it in quotes."
    if len(text) > 255 or CONTROL.search(text) or not is_storable(text):
        return f"{key}: write up to 255 characters, without control characters."
    return None


def _observed_label_problem(key: str, text: Any) -> str | None:
    if not key or len(key) > 512 or not is_storable(key):
        return f"Key {_shown(key)}: write 1 to 512 characters without NUL."
    if not isinstance(text, str):
        return f"{_shown(key)}: the value is not a string. Put it in quotes."
    if len(text) > MAX_OBSERVED_TEXT or not is_storable(text):
        return f"{_shown(key)}: write up to {MAX_OBSERVED_TEXT} characters without NUL."
    return None


def _env_problem(name: str, text: Any) -> str | None:
    if not ENV_NAME.match(name) or not is_storable(name):
        return f"Name {_shown(name)}: write 1 to 255 characters without spaces and '='."
    if not isinstance(text, str):
        return f"{name}: the value is not a string. Put it in quotes."
    if len(text) > MAX_TEXT or not is_storable(text):
        return f"{name}: write up to {MAX_TEXT} characters without NUL."
    return None


def _shown(text: str) -> str:
    """A key as a message can show it: short, and without what cannot be encoded."""
    return ascii(text if len(text) <= 40 else f"{text[:40]}...")

"""Reading the parameters of reports: every one that is wrong is named, with the remedy."""

from collections.abc import Callable, Collection
from datetime import timedelta
from math import isfinite
from typing import Any, TypeVar

from app.fleet.bounds import BOUNDS
from app.fleet.policies import ASKERS, Asker
from app.fleet.policy import DEFAULT
from app.rest.exceptions import ValidationError

T = TypeVar("T")
MAX_ID = 2**63 - 1


class Reader:
    """Reads parameters one by one and keeps what is wrong with each; `check` then raises it."""

    def __init__(self, query: Any, known: Collection[str]) -> None:
        self.query = query
        self.errors: dict[str, list[str]] = {
            name: [f"Unknown parameter. Known are: {', '.join(known)}."]
            for name in query
            if name not in known
        }

    def take(self, name: str, read: Callable[..., T], *args: Any) -> T:
        """What `read` makes of the arguments. It raises ValueError with a sentence for people."""
        try:
            return read(*args)
        except ValueError as error:
            self.errors[name] = [str(error)]
            return None  # type: ignore[return-value]  # `check` raises before it is used

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        return self.take(name, read_choice, self.query.get(name, default), choices)

    def names(self, name: str) -> tuple[str, ...]:
        return self.take(name, read_names, self.query.getlist(name), name)

    def labels(self, name: str = "label") -> dict[str, str]:
        return self.take(name, read_labels, self.query.getlist(name))

    def check(self) -> None:
        if self.errors:
            raise ValidationError(self.errors)


def read_names(values: list[str], noun: str = "host") -> tuple[str, ...]:
    if any(not value or "\0" in value for value in values):
        raise ValueError(f"Not a {noun}. Write the name or the id of one, once for each {noun}.")
    return tuple(values)


def read_labels(values: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for value in values:
        key, equals, wanted = value.partition("=")
        if not key or not equals or "\0" in value:
            raise ValueError(f"{value!r} is not a label. Write ?label=key=value, as label=zone=a.")
        if labels.setdefault(key, wanted) != wanted:
            raise ValueError(f"{key!r} has one value only: leave one of the two values out.")
    return labels


def read_choice(value: str, choices: Collection[str]) -> str:
    if value not in choices:
        raise ValueError(f"{value!r} is no choice. Write {' or '.join(choices)}.")
    return value


def read_ids(values: list[str]) -> tuple[int, ...]:
    if not all(value.isascii() and value.isdecimal() and int(value) <= MAX_ID for value in values):
        raise ValueError("Not an id. Write a whole number.")
    return tuple(int(value) for value in values)


def read_asker(value: str | None) -> Asker | None:
    if value is None:
        return None
    kind, _, name = value.partition(":")
    if kind not in ASKERS or not name or "\0" in name:
        raise ValueError("Write team:ID or workload:ID, or workload:NAME.")
    return Asker(kind, name)


def read_number(value: str, lowest: float, highest: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not isfinite(number) or not lowest <= number <= highest:
        raise ValueError(f"Write a number from {lowest:.12g} to {highest:.12g}.")
    return number


def read_optional(value: str | None, lowest: float, highest: float) -> float | None:
    """A number, or None where none is said."""
    return None if value is None else read_number(value, lowest, highest)


def read_window(value: str | None) -> float | None:
    if value is None:
        return None
    lowest, highest = DEFAULT.stale_after_seconds / 3600, BOUNDS.window_hours_max
    try:
        hours = float(value)
    except ValueError:
        hours = float("nan")
    if not isfinite(hours) or not lowest <= hours <= highest:
        raise ValueError(f"Write a number of hours, from {lowest:.3f} to {highest:g}.")
    return hours


def read_span(value: str | None, longest_days: int) -> timedelta | None:
    """A span such as 36h or 7d; None when none is asked for."""
    if value is None:
        return None
    units = {"h": timedelta(hours=1), "d": timedelta(days=1)}
    number, unit = value[:-1], value[-1:]
    if not (number.isascii() and number.isdecimal() and unit in units and len(number) < 5):
        raise ValueError("Write hours or days, such as 36h or 7d.")
    span = int(number) * units[unit]
    if not timedelta(hours=1) <= span <= timedelta(days=longest_days):
        raise ValueError(f"Write from 1h to {longest_days}d.")
    return span

"""The lines of NDJSON, many at a stretch: one decoder goes through the text, and keys are counted
once for a stretch. Where anything about a stretch is not plain, its lines are parsed one by one.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from app.rest.duplicates import find_duplicate_key

LINES_A_STRETCH = 500

ParseLine = Callable[[bytes], Any]


def parse_lines(
    body: bytes, decoder: json.JSONDecoder, parse_line: ParseLine
) -> Iterator[tuple[int, Any]]:
    """The number of each line that is not blank, from 1, and what `parse_line` makes of it."""
    start = number = 0
    size = len(body)
    while start < size:
        end, lines = _end_of_stretch(body, start)
        stretch = body[start:end]
        found = _parse_plain(stretch, number, decoder)
        yield from found if found is not None else _parse_each(stretch, number, parse_line)
        start, number = end, number + lines


def _end_of_stretch(body: bytes, start: int) -> tuple[int, int]:
    """Where the stretch ends, after a line feed, and how many lines it has."""
    end = start
    for lines in range(LINES_A_STRETCH):
        after = body.find(b"\n", end) + 1
        if not after:
            return len(body), lines + (end < len(body))
        end = after
    return end, LINES_A_STRETCH


def _parse_each(stretch: bytes, number: int, parse_line: ParseLine) -> Iterator[tuple[int, Any]]:
    for place, line in enumerate(stretch.split(b"\n"), number + 1):
        if line.strip():
            yield place, parse_line(line)


def _parse_plain(
    stretch: bytes, number: int, decoder: json.JSONDecoder
) -> list[tuple[int, Any]] | None:
    """Each line one value, from its first character to its last, with no key twice; else None."""
    found: list[tuple[int, Any]] = []
    scan, start = decoder.scan_once, 0  # type: ignore[attr-defined]
    try:
        text = stretch.decode()
        size = len(text)
        while start < size:
            number += 1
            value, end = scan(text, start)
            if end < size and text[end] != "\n":
                return None
            found.append((number, value))
            start = end + 1
        if text.count("\n", 0, size - 1) + 1 != len(found):  # a value went on in the next line
            return None
        if find_duplicate_key(text, [value for _, value in found]) is not None:
            return None
    except (StopIteration, ValueError, RecursionError):
        return None
    return found


__all__ = ["parse_lines"]

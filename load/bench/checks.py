"""Whether a stack does the work: the same JSON as the reference, and a refusal of what is wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from load.bench.servers import Answer, Server
from load.bench.works import SERIAL, Ask, Work

SAMPLE = 2
"""Requests of each work that are compared."""


def with_etags(server: Server, work: Work, asks: Sequence[Ask]) -> list[Ask] | None:
    """The requests with the ETag that the server gives for each; None when it gives none."""
    if not work.needs_etag:
        return list(asks)
    asked = []
    for ask in asks:
        tag = server.ask(ask).headers.get("etag")
        if tag is None:
            return None
        asked.append(replace(ask, headers=(*ask.headers, ("If-None-Match", tag))))
    return asked


def expected_answers(reference: Server, work: Work) -> list[Any]:
    """What the reference answers to the first requests of a work."""
    asks = with_etags(reference, work, work.asks()[:SAMPLE])
    assert asks is not None
    return [_shown(reference.ask(number(ask, n)), work) for n, ask in enumerate(asks)]


def find_differences(server: Server, work: Work, expected: Sequence[Any]) -> Iterator[str]:
    """What this stack does otherwise than the reference, a line each."""
    asks = with_etags(server, work, work.asks()[:SAMPLE])
    if asks is None:
        return  # told as missing
    for n, ask in enumerate(asks):
        answer = server.ask(number(ask, n))
        shown = _shown(answer, work)
        if answer.status != work.status or shown != expected[n]:
            yield (
                f"{server.stack.name} answers {ask.method} {ask.path} with {answer.status} and"
                f" {str(shown)[:600]}, where {work.status} and {str(expected[n])[:600]} is right."
            )
    for ask in work.wrong:
        answer = server.ask(number(ask, 0))
        if not 400 <= answer.status < 500:
            yield (
                f"{server.stack.name} answers {answer.status}, not 4xx, to {ask.method} {ask.path}"
                f" with {ask.body[:200]!r}: {answer.body[:200]!r}."
            )


def number(ask: Ask, serial: int) -> Ask:
    """The request with a number of its own, where it has a place for one."""
    return replace(ask, body=ask.body.replace(SERIAL.encode(), b"check-%06d" % serial))


def _shown(answer: Answer, work: Work) -> Any:
    data = answer.data
    if isinstance(data, dict):
        return {key: None if key in work.masked else value for key, value in data.items()}
    return data

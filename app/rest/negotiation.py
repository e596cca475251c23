"""DRF's content negotiation, remembered: the same Accept for the same renderers has one answer."""

import re
from typing import Any

from rest_framework import negotiation as drf
from rest_framework.exceptions import ErrorDetail, NotAcceptable, ValidationError
from rest_framework.negotiation import BaseContentNegotiation

__all__ = ["BaseContentNegotiation", "DefaultContentNegotiation"]

# A longer Accept is read anew each time: what strangers send shall not fill the memory.
_LONGEST = 256
_MOST = 1024
_OF_ERRORS = "application/problem+json"
_WEIGHT = re.compile(r";\s*q\s*=\s*([^;,]*)", re.IGNORECASE)
_IS_WEIGHT = re.compile(r"\s*(0(\.\d*)?|1(\.0*)?|\.\d+)\s*")
_answers: dict[tuple[Any, ...], tuple[int, str]] = {}


class DefaultContentNegotiation(drf.DefaultContentNegotiation):
    """DRF's. A subclass of this one is asked each time, for it may look at anything."""

    def select_renderer(
        self, request: Any, renderers: list[Any], format_suffix: str | None = None
    ) -> tuple[Any, str]:
        accept = request.META.get("HTTP_ACCEPT", "*/*")
        parameter = self.settings.URL_FORMAT_OVERRIDE
        wanted = _asked_for(request, parameter) if parameter else None
        kinds = tuple((one.media_type, one.format) for one in renderers)
        question = (kinds, accept, format_suffix, wanted)
        answer = _answers.get(question) if type(self) is DefaultContentNegotiation else None
        if answer is not None:
            index, media_type = answer
            return renderers[index], media_type
        check_accept(accept)
        try:
            renderer, media_type = super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable as exc:
            types = ", ".join(dict.fromkeys(one.media_type for one in renderers))
            exc.detail = ErrorDetail(f"{exc.detail} Here there is: {types}.", exc.get_codes())
            raise
        if len(accept) <= _LONGEST and len(wanted or "") <= _LONGEST:
            if len(_answers) >= _MOST:
                _answers.clear()
            _answers[question] = (renderers.index(renderer), media_type)
        return renderer, media_type

    def get_accept_list(self, request: Any) -> list[str]:
        """DRF's, without the type of errors (`problems`): alone, it leaves the rest to the view."""
        tokens: list[str] = super().get_accept_list(request)
        kept = [token for token in tokens if not token.lower().startswith(_OF_ERRORS)]
        return kept if kept or not tokens else ["*/*"]


def check_accept(accept: str) -> None:
    """Raises ValidationError, which names the header, for a weight that is none.

    What is too long DRF passes over by itself, which is a 406.
    """
    for weight in _WEIGHT.findall(accept):
        if not _IS_WEIGHT.fullmatch(weight):
            message = f"q={weight[:20]} is no weight. Write a number from 0 to 1, such as q=0.5."
            raise ValidationError({"Accept": [message]})


def _asked_for(request: Any, parameter: str) -> str | None:
    """The format that the query names. Most queries name none, and are not read for it."""
    query = request.META.get("QUERY_STRING", "")
    if parameter not in query and "%" not in query:
        return None
    return request.query_params.get(parameter)

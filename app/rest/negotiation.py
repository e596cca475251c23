"""DRF's content negotiation, remembered: the same Accept for the same renderers has one answer."""

from typing import Any

from rest_framework import negotiation as drf
from rest_framework.negotiation import BaseContentNegotiation

__all__ = ["BaseContentNegotiation", "DefaultContentNegotiation"]

# A longer Accept is read anew each time: what strangers send shall not fill the memory.
_LONGEST = 256
_MOST = 1024
_answers: dict[tuple[Any, ...], tuple[int, str]] = {}


class DefaultContentNegotiation(drf.DefaultContentNegotiation):
    """DRF's. A subclass of this one is asked each time, for it may look at anything."""

    def select_renderer(
        self, request: Any, renderers: list[Any], format_suffix: str | None = None
    ) -> tuple[Any, str]:
        accept = request.META.get("HTTP_ACCEPT", "*/*")
        parameter = self.settings.URL_FORMAT_OVERRIDE
        wanted = request.query_params.get(parameter) if parameter else None
        kinds = tuple((one.media_type, one.format) for one in renderers)
        question = (kinds, accept, format_suffix, wanted)
        answer = _answers.get(question) if type(self) is DefaultContentNegotiation else None
        if answer is not None:
            index, media_type = answer
            return renderers[index], media_type
        renderer, media_type = super().select_renderer(request, renderers, format_suffix)
        if len(accept) <= _LONGEST and len(wanted or "") <= _LONGEST:
            if len(_answers) >= _MOST:
                _answers.clear()
            _answers[question] = (renderers.index(renderer), media_type)
        return renderer, media_type

"""DRF's content negotiation, remembered: the same Accept for the same renderers has one answer."""

from functools import lru_cache
from typing import Any

from rest_framework import negotiation as drf
from rest_framework.negotiation import BaseContentNegotiation

__all__ = ["BaseContentNegotiation", "DefaultContentNegotiation"]


# A longer Accept is read anew each time: what strangers send shall not fill the memory.
_LONGEST = 256


class _Request:
    """As much of a request as DRF's negotiation looks at."""

    def __init__(self, accept: str, query_params: dict[str, str]) -> None:
        self.headers = {"accept": accept}
        self.query_params = query_params


class DefaultContentNegotiation(drf.DefaultContentNegotiation):
    """DRF's. A subclass of this one is asked each time, for it may look at anything."""

    def select_renderer(
        self, request: Any, renderers: list[Any], format_suffix: str | None = None
    ) -> tuple[Any, str]:
        accept = request.META.get("HTTP_ACCEPT", "*/*")
        if type(self) is not DefaultContentNegotiation or len(accept) > _LONGEST:
            selected: tuple[Any, str] = super().select_renderer(request, renderers, format_suffix)
            return selected
        parameter = self.settings.URL_FORMAT_OVERRIDE
        wanted = request.query_params.get(parameter) if parameter else None
        kinds = tuple((one.media_type, one.format) for one in renderers)
        index, media_type = _select(kinds, accept, format_suffix, parameter, wanted)
        return renderers[index], media_type


class _Renderer:
    def __init__(self, index: int, media_type: str, format_: str | None) -> None:
        self.index = index
        self.media_type = media_type
        self.format = format_


@lru_cache(maxsize=1024)
def _select(
    kinds: tuple[tuple[str, str | None], ...],
    accept: str,
    suffix: str | None,
    parameter: str | None,
    wanted: str | None,
) -> tuple[int, str]:
    """DRF's choice, as an index. Raises Http404 and NotAcceptable, which are not remembered."""
    renderers = [_Renderer(index, *kind) for index, kind in enumerate(kinds)]
    query = {parameter: wanted} if parameter and wanted is not None else {}
    # NotAcceptable carries the renderers that there are; its text does not show them.
    chosen, media_type = drf.DefaultContentNegotiation().select_renderer(
        _Request(accept, query), renderers, suffix
    )
    return chosen.index, media_type

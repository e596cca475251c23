"""Usage in other forms than JSON: a line a row, a table, a picture."""

import csv
import io
import json
from typing import Any

from app.fleet.charts import draw_history
from app.fleet.history import History
from app.rest.renderers import BaseRenderer, JSONRenderer

SAMPLE = ("container", "at", "cpu_cores", "memory_bytes")
POINT = ("at", "containers", "samples", "cpu_mean", "cpu_max", "memory_mean", "memory_max")


def rows_of(data: Any) -> list[dict[str, Any]]:
    """The points of a history, or the results of a page; an error is a row by itself."""
    if isinstance(data, dict):
        return list(data.get("points") or data.get("results", [] if "points" in data else [data]))
    return [{"detail": data}]


def columns_of(data: Any) -> tuple[str, ...]:
    """The heading of a table without rows."""
    return POINT if "points" in data else SAMPLE


class NDJSONRenderer(BaseRenderer):
    """One JSON object a line. A blank line where there is none: no body would have no type."""

    media_type = "application/x-ndjson"
    format = "ndjson"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        renderer = JSONRenderer()
        return b"".join(renderer.render(row) + b"\n" for row in rows_of(data)) or b"\n"


class CSVRenderer(BaseRenderer):
    """A table with a heading (RFC 4180)."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        rows = json.loads(JSONRenderer().render(rows_of(data)))
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]) if rows else columns_of(data))
        table.writeheader()
        table.writerows(rows)
        return text.getvalue().encode()


class ChartRenderer(BaseRenderer):
    """A history as a chart. The view answers with the `History`; an error is written as JSON."""

    media_type = "image/svg+xml"
    format = "svg"
    charset = "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        if isinstance(data, History):
            return draw_history(data, "Use of containers").encode()
        rendered: bytes = JSONRenderer().render(data)
        return rendered

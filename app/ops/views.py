"""Health for orchestrators and load balancers. Plain views: no authentication, no negotiation."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from app import db
from app.ops import readiness
from app.ops.metrics import metrics


@require_safe
async def healthz(request: HttpRequest) -> HttpResponse:
    """200: the process answers. It asks nothing of the database, whose failure must not kill it."""
    return HttpResponse(b"ok\n", content_type="text/plain", headers={"Content-Length": "3"})


@require_safe
async def readyz(request: HttpRequest) -> HttpResponse:
    """200 when this process may be sent requests, else 503 with what is missing."""
    obstacles = await readiness.find_obstacles()
    response = JsonResponse(
        {"ready": not obstacles, "obstacles": obstacles}, status=503 if obstacles else 200
    )
    if obstacles:
        response["Retry-After"] = "1"
    response["Cache-Control"] = "no-store"
    response["Content-Length"] = str(len(response.content))  # no middleware will say it
    return response


@require_safe
async def metrics_page(request: HttpRequest) -> HttpResponse:
    """What this worker has done, for Prometheus."""
    page = metrics.render(db.statistics()).encode()
    return HttpResponse(
        page,
        content_type="text/plain; version=0.0.4",
        headers={"Content-Length": str(len(page))},
    )

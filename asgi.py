"""The ASGI application: `uvicorn asgi:application`.

Its lifespan opens the database's pool, starts the tasks that apps registered, and undoes both.
"""

import gc
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.production")

import django
from django.conf import settings

from app.ops import imports

if settings.LEAN_IMPORTS:
    imports.install()
django.setup(set_prefix=False)

from django.urls import get_resolver  # noqa: E402

from app import db  # noqa: E402 - apps must be ready before anything of theirs is imported
from app.ops.middleware import PROBES  # noqa: E402
from app.rest.handlers import ASGIHandler  # noqa: E402
from app.rest.lifespan import lifespan  # noqa: E402
from app.rest.shedding import Shedding  # noqa: E402

YOUNG_OBJECTS = 5000
"""How many more are made than freed before the youngest are looked at; Python's own 700 took a
twentieth of a request."""


async def warm_up() -> None:
    """Import every view before the first request, and keep garbage collections from what start-up
    made: a full one over Django's own objects holds the loop for 70 ms (docs/density.md). They come
    less often, too: what a request leaves is freed at once (`app.rest.handlers.undo_circles`).
    """
    _ = get_resolver().url_patterns
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)


lifespan.on_startup(warm_up)
lifespan.on_startup(db.open)
lifespan.on_shutdown(db.close)

application: Any = ASGIHandler(lifespan)
if settings.MAX_REQUESTS_UNDER_WAY:
    application = Shedding(
        application,
        limit=settings.MAX_REQUESTS_UNDER_WAY,
        exempt={*PROBES, "/metrics"},
    )
if settings.DEBUG:
    # The browsable API's style sheets and scripts; in production the API answers with JSON only.
    from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

    application = ASGIStaticFilesHandler(application)

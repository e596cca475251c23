"""The ASGI application: `uvicorn asgi:application`.

Its lifespan opens the database's pool, starts the tasks that apps registered, and undoes both.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.production")

import django

django.setup()

from app import db  # noqa: E402 - apps must be ready before anything of theirs is imported
from app.rest.handlers import ASGIHandler  # noqa: E402
from app.rest.lifespan import lifespan  # noqa: E402

lifespan.on_startup(db.open)
lifespan.on_shutdown(db.close)

application = ASGIHandler(lifespan)

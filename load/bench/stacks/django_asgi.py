"""The ASGI application of the peers on stock Django, as `startproject` writes it."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "load.bench.stacks.django_settings")

application = get_asgi_application()

"""The WSGI application of the peers on stock Django, as `startproject` writes it."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "load.bench.stacks.django_settings")

application = get_wsgi_application()

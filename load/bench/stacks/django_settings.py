"""Settings of the peers on stock Django: no middleware, so that nothing is measured but them.

Under ASGI a pool of psycopg's, as Django's documentation says; with synchronous workers a
connection that is kept.
"""

import os
from urllib.parse import parse_qs, urlsplit

_url = urlsplit(os.environ["DATABASE_URL"])
_is_synchronous = bool(os.environ.get("BENCH_SYNCHRONOUS"))

SECRET_KEY = "bench-" + "0123456789" * 5
ALLOWED_HOSTS = ["bench.localhost"]
ROOT_URLCONF = os.environ["BENCH_URLS"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "load.bench.stacks.tables",
]
if ROOT_URLCONF.endswith("adrf_views"):
    INSTALLED_APPS.append("adrf")
MIDDLEWARE: list[str] = []
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path.removeprefix("/"),
        "USER": _url.username or "",
        "HOST": parse_qs(_url.query).get("host", [_url.hostname or ""])[0],
        "CONN_MAX_AGE": None if _is_synchronous else 0,
        "OPTIONS": {} if _is_synchronous else {"pool": {"min_size": 1, "max_size": 10}},
    }
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"django.request": {"level": "ERROR"}},
}
DMR_SETTINGS = {"validate_responses": False}

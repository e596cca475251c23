"""Tests: a real PostgreSQL, quick password hashes, both renderers."""

from settings import env
from settings.base import *

SECRET_KEY = "test-only-" + "x" * 50
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
DATABASES = {
    "default": env.database(f"postgresql://postgres@/postgres?host={VAR_DIR}/test/postgres")
}
INSTALLED_APPS += ["django.contrib.postgres", "tests.conformance.db"]
# Tests count queries, and change tokens behind the cache's back; its own tests turn it on.
STOWAGE = STOWAGE | {"TOKEN_CACHE_SECONDS": 0}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

OPENAPI = True
REST_FRAMEWORK["DEFAULT_SCHEMA_CLASS"] = SCHEMA_CLASS
INSTALLED_APPS += ["drf_spectacular", "drf_spectacular_sidecar"]
REST_FRAMEWORK["DEFAULT_RENDERER_CLASSES"] = [
    "app.rest.renderers.JSONRenderer",
    "app.rest.renderers.BrowsableAPIRenderer",
]
REST_FRAMEWORK["DEFAULT_PARSER_CLASSES"] = [
    "app.rest.parsers.JSONParser",
    "app.rest.parsers.FormParser",
    "app.rest.parsers.MultiPartParser",
]
SESSION_COOKIE_SECURE = False
CSRF_COOKIE_SECURE = False

"""Development: plain HTTP on loopback, the browsable API, the embedded PostgreSQL by default."""

from app.ops import embedded
from settings import env
from settings.base import *

DEBUG = env.flag("DEBUG", True)
SECRET_KEY = env.text("SECRET_KEY", "development-only-not-secret-" + "x" * 32)
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
DATABASES = {
    "default": env.database(
        None if env.is_set("DATABASE_URL") else embedded.address(VAR_DIR / "postgres")
    )
}

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

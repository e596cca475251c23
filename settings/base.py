"""What every environment shares. Safe as it stands: conveniences are switched on elsewhere."""

from pathlib import Path

from settings import env

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

DEBUG = False
ALLOWED_HOSTS: list[str] = []
ROOT_URLCONF = "app.urls"
ASGI_APPLICATION = "asgi.application"

INSTALLED_APPS = [
    "app.ops",  # first: its templates go before the framework's
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "app.db",
    "app.rest",
    "app.accounts",
    "app.fleet",
]

MIDDLEWARE = [
    "app.ops.middleware.ProbeMiddleware",
    "app.ops.middleware.MetricsMiddleware",
    "app.ops.middleware.RequestLogMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ],
        },
    },
]

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["app.accounts.backends.PasswordBackend"]
SESSION_ENGINE = "app.accounts.sessions"
LOGIN_URL = "rest_framework:login"
LOGIN_REDIRECT_URL = "/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
LANGUAGE_CODE = "en-us"

STATIC_URL = "/static/"

DATA_UPLOAD_MAX_MEMORY_SIZE = env.integer("MAX_BODY_BYTES", 8 * 2**20, minimum=1024)

# The project's own settings, each with the one place that reads it.
STOWAGE = {
    # app.accounts: how long a token that was looked up is believed before it is looked up again.
    "TOKEN_CACHE_SECONDS": 1.0,
    "SHORTCUTS": True,  # app.rest.shortcuts
    "REJECT_UNKNOWN_FIELDS": True,  # app.rest.validation: a misspelt field is a 400, not lost
    "BULK_MAX_ITEMS": env.integer("BULK_MAX_ITEMS", 100, minimum=1),  # app.rest.bulk
    "MAX_UPLOAD_BYTES": env.integer(
        "MAX_UPLOAD_BYTES", 64 * 2**20, minimum=1024
    ),  # app.rest.uploads
    "IDEMPOTENCY_HOURS": env.integer("IDEMPOTENCY_HOURS", 24, minimum=1),  # app.rest.idempotency
    # app.fleet: how long raw samples, hourly roll-ups and events are kept.
    "USAGE_RETENTION_DAYS": env.integer("USAGE_RETENTION_DAYS", 2, minimum=1),
    "ROLLUP_RETENTION_DAYS": env.integer("ROLLUP_RETENTION_DAYS", 90, minimum=1),
    "EVENT_RETENTION_DAYS": env.integer("EVENT_RETENTION_DAYS", 30, minimum=1),
}

# app.db's pool: each worker has one. See app.db.pools.Limits.
DATABASE_POOL = {
    "max_size": env.integer("DATABASE_POOL_SIZE", 10, minimum=1),
    "transaction_pooling": env.flag("DATABASE_TRANSACTION_POOLING"),  # PgBouncer in between
}

REQUEST_DATABASE = "app.db"  # app.rest.databases: whose transactions the writes of requests are in

# Lines on standard error, for whoever runs the process to keep. A fault of the server (5xx) is an
# ERROR with its traceback; what a client did wrong is the client's, and logged nowhere by default.
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "bare": {"format": "{message}", "style": "{"},
        "plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "plain"},
        "requests": {"class": "logging.StreamHandler", "formatter": "bare"},
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "app": {"level": LOG_LEVEL},
        "app.ops.requests": {"handlers": ["requests"], "level": "INFO", "propagate": False},
        "django": {"handlers": [], "level": "ERROR", "propagate": True},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # scanners, all day long
    },
}
DRAIN_SECONDS = env.integer("DRAIN_SECONDS", 0, minimum=0)  # not ready, yet serving, on SIGTERM
# app.rest.shedding: what one worker takes at once; the surplus is a 503 at once. 0: no bound.
MAX_REQUESTS_UNDER_WAY = env.integer("MAX_REQUESTS_UNDER_WAY", 500, minimum=0)
# app.ops.protocols: how long the address and headers of a request may take; 0: no bound.
REQUEST_HEAD_SECONDS = env.integer("REQUEST_HEAD_SECONDS", 20, minimum=0)
STREAM_SECONDS = env.integer("STREAM_SECONDS", 3600, minimum=1)  # app.rest.streams: then anew
METRICS = env.flag("METRICS")  # /metrics for Prometheus, to whoever reaches the port
REQUEST_LOG = env.flag("REQUEST_LOG")  # one line of JSON for each request, by app.ops.middleware

LEAN_IMPORTS = False  # app.ops.imports: a worker leaves out what it does not use

CACHE_URL = env.text("CACHE_URL", "")  # app.rest.throttling: redis://, shared by all workers

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["app.rest.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["app.rest.parsers.JSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "app.accounts.authentication.TokenAuthentication",
        "app.accounts.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["app.accounts.permissions.HasScope"],
    "DEFAULT_METADATA_CLASS": "app.rest.metadata.SimpleMetadata",
    "DEFAULT_PAGINATION_CLASS": "app.rest.pagination.SizedPageNumberPagination",
    "PAGE_SIZE": 50,
    "DEFAULT_FILTER_BACKENDS": [
        "app.rest.filters.DjangoFilterBackend",
        "app.rest.filters.SearchFilter",
        "app.rest.filters.KnownOrderingFilter",
    ],
    "EXCEPTION_HANDLER": "app.rest.exceptions.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

# The API's description at /api/v1/schema/, made by the first request for it, then kept.
# Where it is off, nothing of drf-spectacular is imported.
OPENAPI = env.flag("OPENAPI")
SCHEMA_CLASS = "app.rest.schemas.AutoSchema"
if OPENAPI:
    REST_FRAMEWORK["DEFAULT_SCHEMA_CLASS"] = SCHEMA_CLASS
SPECTACULAR_SETTINGS = {
    "TITLE": "Stowage",
    "DESCRIPTION": "Fleets of containers: what runs where, what it uses, and how many more fit.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "DEFAULT_GENERATOR_CLASS": "app.rest.schemas.SchemaGenerator",
    "GET_LIB_DOC_EXCLUDES": "app.rest.schemas.undescribed",
    "COMPONENT_SPLIT_REQUEST": True,  # what may be sent is less than what is answered
    "PARSER_WHITELIST": ["app.rest.parsers.JSONParser", "app.rest.parsers.NDJSONParser"],
    "ENABLE_DJANGO_DEPLOY_CHECK": False,
    "ENUM_NAME_OVERRIDES": {
        "ScopeEnum": "app.accounts.models.Scope",
        "EngineEnum": "app.fleet.models.Engine",
        "StateEnum": "app.fleet.models.State",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# Secure transport and cookies. Development, which speaks plain HTTP on loopback, turns them off.
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "app.ops.error_pages.csrf_failure"
X_FRAME_OPTIONS = "DENY"

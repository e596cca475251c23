"""Settings for Django's own test suite, run through app.db."""

import os
from urllib.parse import parse_qsl, unquote, urlsplit

_url = urlsplit(os.environ["DATABASE_URL"])
_entry = {
    "ENGINE": os.environ.get("CONFORMANCE_ENGINE", "tests.conformance.backend"),
    "NAME": unquote(_url.path[1:]),
    "USER": unquote(_url.username or ""),
    "PASSWORD": unquote(_url.password or ""),
    "HOST": dict(parse_qsl(_url.query)).get("host", _url.hostname or ""),
    "PORT": str(_url.port or ""),
}
_prefix = "app_db" if "conformance" in _entry["ENGINE"] else "stock"
DATABASES = {
    "default": {**_entry, "TEST": {"NAME": f"test_{_prefix}"}},
    "other": {**_entry, "TEST": {"NAME": f"test_{_prefix}_other"}},
}
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False

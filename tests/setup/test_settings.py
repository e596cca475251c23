"""The settings of production, as a process sees them that starts with them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "settings.production",
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "ALLOWED_HOSTS": "stowage.example.com",
    "CSRF_TRUSTED_ORIGINS": "https://stowage.example.com",
    "DATABASE_URL": "postgresql://stowage:secret@db.example.com/stowage",
}

pytestmark = pytest.mark.timeout(30)


def python(*words: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """Run Python with production's environment; None takes a variable away."""
    variables = {**ENVIRONMENT, "PATH": os.environ["PATH"], **changes}
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
        check=False,
    )


def test_deployment_check_is_clean() -> None:
    done = python("manage.py", "check", "--deploy", "--fail-level", "INFO")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == "System check identified no issues (0 silenced).\n"


@pytest.mark.parametrize("name", ["SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL"])
def test_missing_variable_is_named_and_nothing_starts(name: str) -> None:
    done = python("-c", "import asgi", **{name: None})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"settings.env.SettingsError: {name} is not set. "
        f"Set it, or {name}_FILE to a file that holds it."
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", "x" * 64),
        ("ALLOWED_HOSTS", "*"),
        ("ALLOWED_HOSTS", ""),
        ("CSRF_TRUSTED_ORIGINS", "stowage.example.com"),
        ("DATABASE_URL", "sqlite:///db.sqlite3"),
        ("SECURE_SSL_REDIRECT", "perhaps"),
        ("SECURE_HSTS_SECONDS", "-1"),
        ("LOG_LEVEL", "LOUD"),
        ("DATABASE_POOL_SIZE", "0"),
        ("USAGE_RETENTION_DAYS", "none"),
    ],
)
def test_unsafe_or_senseless_value_is_refused(name: str, value: str) -> None:
    done = python("-c", "import settings.production", **{name: value})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"settings.env.SettingsError: {name}")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("DEBUG", "False"),
        ("SESSION_COOKIE_SECURE and SESSION_COOKIE_HTTPONLY and CSRF_COOKIE_SECURE", "True"),
        ("SECURE_SSL_REDIRECT", "True"),
        ("SECURE_HSTS_SECONDS", "31536000"),
        ("ALLOWED_HOSTS", "['stowage.example.com']"),
        ("X_FRAME_OPTIONS", "DENY"),
        ("REST_FRAMEWORK['DEFAULT_RENDERER_CLASSES']", "['app.rest.renderers.JSONRenderer']"),
        ("STOWAGE['REJECT_UNKNOWN_FIELDS']", "True"),
    ],
)
def test_production_is_safe_by_default(expression: str, value: str) -> None:
    done = python("-c", f"from settings.production import *; print({expression})")
    assert done.stdout.strip() == value, done.stderr


def test_debug_is_not_to_be_had_in_production() -> None:
    done = python("-c", "from settings.production import *; print(DEBUG)", DEBUG="1")
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("module", ["development", "test"])
def test_other_settings_are_differences_only(module: str) -> None:
    from importlib import import_module

    base = vars(import_module("settings.base"))
    own = (ROOT / "settings" / f"{module}.py").read_text(encoding="utf-8")
    for line in own.splitlines():
        name, equals, value = line.partition(" = ")
        if equals and name.isupper() and name in base:
            assert repr(base[name]) != value, f"{name} is base's already"

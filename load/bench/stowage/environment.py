"""Production's variables. The key protects nothing but the benchmark's data."""

from pathlib import Path

BYTECODE = Path(__file__).resolve().parents[3] / "var" / "bench" / "bytecode"
"""Written by `load.bench.environments`."""
HOST_HEADER = "bench.localhost"


def stowage_environment(url: str) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "load.bench.stowage.settings",
        "DATABASE_URL": url,
        "SECRET_KEY": "bench-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789",
        "ALLOWED_HOSTS": HOST_HEADER,
        "SECURE_SSL_REDIRECT": "0",
        "DRAIN_SECONDS": "0",
        "PYTHONPYCACHEPREFIX": str(BYTECODE),
    }

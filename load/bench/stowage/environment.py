"""Production's variables. The key protects nothing but the benchmark's data."""

HOST_HEADER = "bench.localhost"


def stowage_environment(url: str) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "load.bench.stowage.settings",
        "DATABASE_URL": url,
        "SECRET_KEY": "bench-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789",
        "ALLOWED_HOSTS": HOST_HEADER,
        "SECURE_SSL_REDIRECT": "0",
        "DRAIN_SECONDS": "0",
    }

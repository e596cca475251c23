"""Production: what has to differ is named by variables of the environment, with no default.

Behind a proxy that ends TLS, tell uvicorn whose `X-Forwarded-Proto` and `X-Forwarded-For` to
believe (`FORWARDED_ALLOW_IPS`). Nothing here believes a header that any client can send.
"""

from settings import env
from settings.base import *

SECRET_KEY = env.secret("SECRET_KEY")
ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS")
DATABASES = {"default": env.database()}

LEAN_IMPORTS = True
DRAIN_SECONDS = env.integer("DRAIN_SECONDS", 5, minimum=0)  # balancers look away meanwhile

SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT", True)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # probes speak plain HTTP to the container
SECURE_HSTS_SECONDS = env.integer("SECURE_HSTS_SECONDS", 365 * 24 * 3600, minimum=0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag("SECURE_HSTS_INCLUDE_SUBDOMAINS", True)
SECURE_HSTS_PRELOAD = env.flag("SECURE_HSTS_PRELOAD", True)

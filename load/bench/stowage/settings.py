"""Production, with the benchmark's resources, and a throttle that counts and refuses nobody."""

from settings.production import *

INSTALLED_APPS += ["load.bench.stowage"]
ROOT_URLCONF = "load.bench.stowage.urls"

REST_FRAMEWORK["DEFAULT_THROTTLE_CLASSES"] = ["app.rest.throttling.UserRateThrottle"]
REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"] = {"user": "1000000/minute"}

"""HTTP's status codes by name, as DRF has them: `HTTP_201_CREATED`, `is_success(code)`."""

from rest_framework.status import *  # noqa: F403 - all of them

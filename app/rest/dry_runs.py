"""`?dry_run=all`: validate, run, answer as usual, and take everything back."""

from app.rest.exceptions import ValidationError
from app.rest.request import Request


def is_dry_run(request: Request) -> bool:
    """Raises ValidationError for a value other than `all`."""
    value = request.query_params.get("dry_run")
    if value not in (None, "all"):
        raise ValidationError({"dry_run": ["Write 'all', or leave it out to make the change."]})
    return value is not None

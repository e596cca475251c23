"""The one table of app.rest: the answers that `Idempotency-Key` promises to repeat."""

from django.db import models


class StoredAnswer(models.Model):
    """What a request with a key was answered with. `scope` is a digest of caller, address and key.

    `body` is null where it was too large to keep.
    """

    scope = models.UUIDField(primary_key=True)
    fingerprint = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField()
    headers = models.JSONField()
    body = models.BinaryField(null=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "rest_stored_answer"

    def __str__(self) -> str:
        return f"{self.status}, until {self.expires_at:%Y-%m-%d %H:%M}"

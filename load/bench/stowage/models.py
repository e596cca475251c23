from app.db import models


class Team(models.Model):
    name = models.CharField(max_length=100, unique=True)


class Host(models.Model):
    name = models.CharField(max_length=100, unique=True)
    cpus = models.FloatField()
    memory_bytes = models.BigIntegerField()
    team = models.ForeignKey(Team, models.PROTECT, related_name="hosts")
    version = models.PositiveIntegerField(default=1, db_default=1)
    labels = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)


class Sample(models.Model):
    host = models.ForeignKey(Host, models.CASCADE, db_index=False)
    at = models.DateTimeField()
    cpu = models.FloatField()
    memory_bytes = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["host", "-at"], name="bench_sample_host_at")]

from django.contrib.postgres.fields import ArrayField
from django.db import models

from load.bench.stacks.contract import may


class Team(models.Model):
    name = models.CharField(max_length=100, unique=True)

    class Meta:
        managed = False
        db_table = "bench_team"

    def __str__(self) -> str:
        return self.name


class Host(models.Model):
    name = models.CharField(max_length=100, unique=True)
    cpus = models.FloatField()
    memory_bytes = models.BigIntegerField()
    team = models.ForeignKey(Team, models.PROTECT, related_name="hosts")
    version = models.PositiveIntegerField(default=1)
    labels = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        managed = False
        db_table = "bench_host"

    def __str__(self) -> str:
        return self.name


class Sample(models.Model):
    host = models.ForeignKey(Host, models.CASCADE, db_index=False)
    at = models.DateTimeField()
    cpu = models.FloatField()
    memory_bytes = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "bench_sample"

    def __str__(self) -> str:
        return f"{self.host_id} at {self.at}"


class User(models.Model):
    username = models.TextField(unique=True)
    is_active = models.BooleanField()
    is_authenticated = True
    is_staff = False
    is_superuser = False

    class Meta:
        managed = False
        db_table = "bench_user"

    def __str__(self) -> str:
        return self.username


class Token(models.Model):
    key = models.TextField(primary_key=True)
    user = models.ForeignKey(User, models.CASCADE)
    scopes = ArrayField(models.TextField())

    class Meta:
        managed = False
        db_table = "bench_token"

    def __str__(self) -> str:
        return self.key

    def may(self, method: str) -> bool:
        return may(self.scopes, method)

"""The tables of the domain. Ranges and relations between columns are constraints of the database.

No logic in `save()`: writes go through `app.fleet.services`, which also write the events.
`version` counts the writes of a row (its ETag); a workload's `generation` the changes of its spec.
"""

from django.contrib.postgres.fields import ArrayField
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from app.db import models
from app.fleet.querysets import (
    ContainerQuerySet,
    EventQuerySet,
    HostQuerySet,
    ImageQuerySet,
    PolicyOverrideQuerySet,
    QuotaQuerySet,
    RevisionQuerySet,
    UsageHourQuerySet,
    UsageQuerySet,
    WorkloadQuerySet,
)

MAX_CPUS = 100_000
MAX_BYTES = 2**60


class Engine(models.TextChoices):
    DOCKER = "docker"
    SWARM = "swarm"
    PROCESSES = "processes"


class State(models.TextChoices):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    DEAD = "dead"
    REMOVED = "removed"


def _within(name: str, field: str, maximum: int) -> models.CheckConstraint:
    condition = Q(**{f"{field}__gte": 0, f"{field}__lte": maximum})
    return models.CheckConstraint(condition=condition, name=name)


def _resources(prefix: str) -> list[models.BaseConstraint]:
    """Ranges of the four resource columns of workloads and containers; null means none set."""
    maxima = {"cpu": ("", MAX_CPUS), "memory": ("_bytes", MAX_BYTES)}
    constraints: list[models.BaseConstraint] = []
    for resource, (unit, maximum) in maxima.items():
        reservation, limit = f"{resource}_reservation{unit}", f"{resource}_limit{unit}"
        constraints += [
            _within(f"{prefix}_{resource}_reservation_range", reservation, maximum),
            models.CheckConstraint(
                condition=Q(**{f"{limit}__gt": 0, f"{limit}__lte": maximum}),
                name=f"{prefix}_{resource}_limit_range",
            ),
            models.CheckConstraint(
                condition=Q(**{f"{reservation}__lte": F(limit)}),
                name=f"{prefix}_{resource}_reservation_within_limit",
            ),
        ]
    return constraints


class Host(models.Model):
    """A machine with an engine. Allocatable is what it has less what its system reserves."""

    name = models.CharField(max_length=253, unique=True)
    labels = models.JSONField(default=dict, blank=True, db_default={})
    cpus = models.FloatField()
    memory_bytes = models.BigIntegerField()
    reserved_cpus = models.FloatField(default=0.0, db_default=0.0)
    reserved_memory_bytes = models.BigIntegerField(default=0, db_default=0)
    engine = models.CharField(max_length=16, choices=Engine.choices, default=Engine.DOCKER)
    engine_version = models.CharField(max_length=64, blank=True, default="", db_default="")
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    clock_skew_seconds = models.FloatField(null=True, blank=True, editable=False)
    version = models.BigIntegerField(default=1, db_default=1, editable=False)
    created_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)
    updated_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)

    objects = HostQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(cpus__gt=0, cpus__lte=MAX_CPUS), name="host_cpus_range"
            ),
            models.CheckConstraint(
                condition=Q(memory_bytes__gt=0, memory_bytes__lte=MAX_BYTES),
                name="host_memory_range",
            ),
            models.CheckConstraint(
                condition=Q(reserved_cpus__gte=0, reserved_cpus__lt=F("cpus")),
                name="host_reserved_cpus_range",
            ),
            models.CheckConstraint(
                condition=Q(
                    reserved_memory_bytes__gte=0, reserved_memory_bytes__lt=F("memory_bytes")
                ),
                name="host_reserved_memory_range",
            ),
            models.CheckConstraint(condition=Q(engine__in=Engine.values), name="host_engine_known"),
        ]

    @property
    def allocatable(self) -> dict[str, float]:
        """What containers may have."""
        return {
            "cpus": round(self.cpus - self.reserved_cpus, 6),
            "memory_bytes": self.memory_bytes - self.reserved_memory_bytes,
        }

    def __str__(self) -> str:
        return self.name


class Image(models.Model):
    """A reference with its digest (empty when the engine knows none) and the hosts that hold it."""

    reference = models.CharField(max_length=512)
    digest = models.CharField(max_length=128, blank=True, default="", db_default="")
    size_bytes = models.BigIntegerField(default=0, db_default=0)
    hosts = models.ManyToManyField(Host, related_name="images", blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)

    objects = ImageQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["reference", "digest"], name="image_unique"),
            _within("image_size_range", "size_bytes", MAX_BYTES),
        ]

    def __str__(self) -> str:
        return self.reference


class Workload(models.Model):
    """Desired state: what should run, how many, with which resources.

    `generation` rises with every change of the spec; `observed_generation` is the last one that all
    of its containers were seen to carry, by their label `stowage.generation`.
    """

    team = models.ForeignKey(
        "accounts.Team", models.PROTECT, null=True, blank=True, related_name="workloads"
    )
    name = models.CharField(max_length=63)
    image = models.CharField(max_length=512)
    command = models.JSONField(default=list, blank=True, db_default=[])
    env = models.JSONField(default=dict, blank=True, db_default={})
    replicas = models.IntegerField(default=1, db_default=1)
    cpu_reservation = models.FloatField(null=True, blank=True)
    cpu_limit = models.FloatField(null=True, blank=True)
    memory_reservation_bytes = models.BigIntegerField(null=True, blank=True)
    memory_limit_bytes = models.BigIntegerField(null=True, blank=True)
    ports = models.JSONField(default=list, blank=True, db_default=[])
    health_check = models.JSONField(null=True, blank=True)
    update_policy = models.JSONField(default=dict, blank=True, db_default={})
    placement = models.JSONField(default=dict, blank=True, db_default={})
    labels = models.JSONField(default=dict, blank=True, db_default={})
    generation = models.BigIntegerField(default=1, db_default=1, editable=False)
    observed_generation = models.BigIntegerField(default=0, db_default=0, editable=False)
    conditions = models.JSONField(default=list, blank=True, db_default=[], editable=False)
    version = models.BigIntegerField(default=1, db_default=1, editable=False)
    created_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)
    updated_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)

    objects = WorkloadQuerySet.as_manager()

    warnings: list[dict[str, str]] | None = None
    """Of the write that gave this instance (`app.fleet.warnings`); None of one that was read."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team", "name"], name="workload_unique", nulls_distinct=False
            ),
            _within("workload_replicas_range", "replicas", 10_000),
            models.CheckConstraint(
                condition=Q(observed_generation__gte=0, observed_generation__lte=F("generation")),
                name="workload_observed_generation_range",
            ),
            *_resources("workload"),
        ]

    def __str__(self) -> str:
        return self.name


class Quota(models.Model):
    """What all workloads of a team may reserve together; null means as much as they like."""

    team = models.OneToOneField("accounts.Team", models.CASCADE, related_name="quota")
    cpus = models.FloatField(null=True, blank=True)
    memory_bytes = models.BigIntegerField(null=True, blank=True)
    version = models.BigIntegerField(default=1, db_default=1, editable=False)

    objects = QuotaQuerySet.as_manager()

    class Meta:
        constraints = [
            _within("quota_cpus_range", "cpus", MAX_CPUS),
            _within("quota_memory_range", "memory_bytes", MAX_BYTES),
        ]

    def __str__(self) -> str:
        return f"quota of team {self.team_id}"


class PolicyOverride(models.Model):
    """A team's or a workload's own values of the policy's constants, by name."""

    team = models.OneToOneField(
        "accounts.Team", models.CASCADE, null=True, blank=True, related_name="policy"
    )
    workload = models.OneToOneField(
        Workload, models.CASCADE, null=True, blank=True, related_name="policy"
    )
    constants = models.JSONField(default=dict, db_default={})
    version = models.BigIntegerField(default=1, db_default=1, editable=False)

    objects = PolicyOverrideQuerySet.as_manager()

    class Meta:
        db_table = "fleet_policy_override"
        constraints = [
            models.CheckConstraint(
                condition=Q(team__isnull=True) ^ Q(workload__isnull=True),
                name="policy_override_of_one",
            ),
        ]

    def __str__(self) -> str:
        owner = f"team {self.team_id}" if self.team_id else f"workload {self.workload_id}"
        return f"policy of {owner}"


class Revision(models.Model):
    """An immutable snapshot of a workload's spec, one per generation."""

    workload = models.ForeignKey(Workload, models.CASCADE, related_name="revisions")
    number = models.BigIntegerField()
    spec = models.JSONField()
    created_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)
    created_by = models.ForeignKey(
        "accounts.User", models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = RevisionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workload", "number"], name="revision_unique"),
            models.CheckConstraint(condition=Q(number__gte=1), name="revision_number_range"),
        ]

    def __str__(self) -> str:
        return f"revision {self.number} of workload {self.workload_id}"


class Container(models.Model):
    """One running instance, as its host's agent observed it last. Null limits mean none is set."""

    host = models.ForeignKey(Host, models.CASCADE, related_name="containers")
    workload = models.ForeignKey(
        Workload, models.SET_NULL, null=True, blank=True, related_name="containers"
    )
    image = models.ForeignKey(
        Image, models.SET_NULL, null=True, blank=True, related_name="containers"
    )
    engine_id = models.CharField(max_length=255, unique=True)
    name = models.CharField(max_length=255)
    labels = models.JSONField(default=dict, blank=True, db_default={})
    state = models.CharField(max_length=16, choices=State.choices, default=State.CREATED)
    cpu_reservation = models.FloatField(null=True, blank=True)
    cpu_limit = models.FloatField(null=True, blank=True)
    memory_reservation_bytes = models.BigIntegerField(null=True, blank=True)
    memory_limit_bytes = models.BigIntegerField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    oom_killed = models.BooleanField(default=False, db_default=False)
    last_seen_at = models.DateTimeField(default=timezone.now, db_default=Now())
    version = models.BigIntegerField(default=1, db_default=1, editable=False)
    created_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)

    objects = ContainerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=State.values), name="container_state_known"
            ),
            *_resources("container"),
        ]
        indexes = [models.Index(fields=["host", "state"], name="container_host_state")]

    def __str__(self) -> str:
        return self.name


class Usage(models.Model):
    """What one container used at one moment. Partitioned by day (UTC), no default.

    The table is made by SQL in the first migration; `app.fleet.partitions` makes days ahead and
    drops the oldest.
    """

    pk = models.CompositePrimaryKey("container_id", "at")
    container = models.ForeignKey(
        Container, models.DO_NOTHING, related_name="usage", db_index=False
    )  # ON DELETE CASCADE in the database
    at = models.DateTimeField()
    cpu_cores = models.FloatField()
    memory_bytes = models.BigIntegerField()

    objects = UsageQuerySet.as_manager()

    class Meta:
        constraints = [
            _within("usage_cpu_range", "cpu_cores", MAX_CPUS),
            _within("usage_memory_range", "memory_bytes", MAX_BYTES),
        ]
        indexes = [models.Index(fields=["at"], name="usage_at")]

    def __str__(self) -> str:
        return f"container {self.container_id} at {self.at:%Y-%m-%dT%H:%M:%SZ}"


class UsageMark(models.Model):
    """Samples came in for these containers in this hour: it is to be rolled up (again).

    Written with the samples and deleted with the rolling up, so that both are seen together.
    """

    hour = models.DateTimeField()
    container_ids = ArrayField(models.BigIntegerField())

    objects = models.Manager()

    class Meta:
        db_table = "fleet_usage_mark"
        indexes = [models.Index(fields=["hour"], name="usage_mark_hour")]

    def __str__(self) -> str:
        return f"{len(self.container_ids)} containers at {self.hour:%Y-%m-%dT%H}"


class UsageBatch(models.Model):
    """Which samples a transaction has stored, for those who watch: see `app.fleet.usage_journal`.

    `counts` says of each of `container_ids`, which ascend, how many. Rows without containers only
    mark how far back the journal goes.
    """

    transaction = models.BigIntegerField()
    at = models.DateTimeField(default=timezone.now, db_default=Now())
    container_ids = ArrayField(models.BigIntegerField())
    counts = ArrayField(models.IntegerField())
    since = models.DateTimeField()
    until = models.DateTimeField()

    objects = models.Manager()

    class Meta:
        db_table = "fleet_usage_batch"
        indexes = [
            models.Index(fields=["transaction"], name="usage_batch_transaction"),
            models.Index(
                fields=["transaction"], name="usage_batch_forgotten", condition=Q(container_ids=[])
            ),
        ]

    def __str__(self) -> str:
        return f"samples of transaction {self.transaction}"


class UsageHour(models.Model):
    """What one container used in one hour: count, sums, peaks, and a histogram of each resource.

    A histogram maps a bucket's number to its count of samples; `app.fleet.histograms` knows the
    buckets. `layout` is growth, first cores and first bytes; null is the default. Partitioned by
    week (UTC) like Usage by day, made by SQL in a migration.
    """

    pk = models.CompositePrimaryKey("container_id", "hour")
    container = models.ForeignKey(
        Container, models.DO_NOTHING, related_name="usage_hours", db_index=False
    )  # ON DELETE CASCADE in the database
    hour = models.DateTimeField()
    samples = models.IntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    cpu_sum = models.FloatField()
    cpu_max = models.FloatField()
    memory_sum = models.FloatField()
    memory_max = models.BigIntegerField()
    cpu_histogram = models.JSONField()
    memory_histogram = models.JSONField()
    layout = ArrayField(models.FloatField(), null=True)

    objects = UsageHourQuerySet.as_manager()

    class Meta:
        db_table = "fleet_usage_hour"
        constraints = [
            models.CheckConstraint(condition=Q(samples__gt=0), name="usage_hour_has_samples"),
        ]
        indexes = [
            models.Index(fields=["hour"], name="usage_hour_hour"),
            models.Index(
                fields=["hour"], name="usage_hour_layout", condition=Q(layout__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"container {self.container_id} at {self.hour:%Y-%m-%dT%H}"


class UsageSummary(models.Model):
    """All that a container used up to the last hour that was rolled up, in one row.

    `cpu_weights` and `memory_weights` are histograms like UsageHour's, decayed to `reference`, the
    last hour in them. `peaks` maps a day (days since 1970, UTC) to its peaks, [cores, bytes].
    `startup_memory_bytes` is the most that was used shortly after a start. `layout` is UsageHour's,
    and `half_life_hours` by what weights were decayed; null is the default. Kept by
    `app.fleet.rollups`, in the transaction that rolls an hour up.
    """

    container = models.OneToOneField(
        Container, models.DO_NOTHING, primary_key=True, related_name="summary", db_constraint=False
    )  # ON DELETE CASCADE in the database
    reference = models.DateTimeField()
    samples = models.BigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    cpu_weights = models.JSONField()
    memory_weights = models.JSONField()
    peaks = models.JSONField()
    startup_memory_bytes = models.BigIntegerField(null=True)
    layout = ArrayField(models.FloatField(), null=True)
    half_life_hours = models.FloatField(null=True)

    objects = models.Manager()

    class Meta:
        db_table = "fleet_usage_summary"
        indexes = [
            models.Index(
                fields=["container"],
                name="usage_summary_layout",
                condition=Q(layout__isnull=False) | Q(half_life_hours__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"container {self.container_id} until {self.reference:%Y-%m-%dT%H}"


class UsageRecent(models.Model):
    """The percentiles that the density report of a large fleet shows, computed beforehand.

    A cache by `app.fleet.recent`, without a foreign key: a row may outlive its container for a
    while.
    """

    container_id = models.BigIntegerField(primary_key=True)
    computed_at = models.DateTimeField()
    window_hours = models.FloatField()
    percentile = models.FloatField(db_default=0.95)
    samples = models.BigIntegerField()
    cpu_p95 = models.FloatField(null=True)
    memory_p95 = models.FloatField(null=True)

    objects = models.Manager()

    class Meta:
        db_table = "fleet_usage_recent"

    def __str__(self) -> str:
        return f"container {self.container_id} at {self.computed_at:%Y-%m-%dT%H:%M:%SZ}"


class DensityHour(models.Model):
    """How densely a host was packed when an hour was last looked at; sums as the report has them.

    Kept by `app.fleet.density_history`, as long as hourly roll-ups.
    """

    pk = models.CompositePrimaryKey("host_id", "hour")
    host = models.ForeignKey(
        Host, models.DO_NOTHING, related_name="density_hours", db_constraint=False, db_index=False
    )  # ON DELETE CASCADE in the database
    hour = models.DateTimeField()
    containers = models.IntegerField()
    cpu_allocatable = models.FloatField()
    cpu_reservations = models.FloatField()
    cpu_limits = models.FloatField()
    cpu_use = models.FloatField()
    cpu_use_p95 = models.FloatField()
    memory_allocatable = models.FloatField()
    memory_reservations = models.FloatField()
    memory_limits = models.FloatField()
    memory_use = models.FloatField()
    memory_use_p95 = models.FloatField()

    objects = models.Manager()

    class Meta:
        db_table = "fleet_density_hour"
        indexes = [models.Index(fields=["hour"], name="density_hour_hour")]

    def __str__(self) -> str:
        return f"host {self.host_id} at {self.hour:%Y-%m-%dT%H}"


class OOMKill(models.Model):
    """A container was killed for want of memory. Stays when the container is replaced or starts
    again; goes when the container is forgotten.

    `memory_bytes` is what it had then: its limit, or the highest sample of the hour before where
    that is higher; null when neither is known.
    """

    container = models.ForeignKey(
        Container,
        models.DO_NOTHING,
        related_name="oom_kills",
        db_constraint=False,
        db_index=False,
    )  # ON DELETE CASCADE in the database
    at = models.DateTimeField()
    memory_bytes = models.BigIntegerField(null=True)

    objects = models.Manager()

    class Meta:
        db_table = "fleet_oom_kill"
        constraints = [
            models.UniqueConstraint(fields=["container", "at"], name="oom_kill_unique"),
        ]
        indexes = [models.Index(fields=["at"], name="oom_kill_at")]

    def __str__(self) -> str:
        return f"container {self.container_id} at {self.at:%Y-%m-%dT%H:%M:%SZ}"


class EventCompaction(models.Model):
    """Events up to `position` are kept no longer. One row at most."""

    position = models.BigIntegerField()

    objects = models.Manager()

    class Meta:
        db_table = "fleet_event_compaction"

    def __str__(self) -> str:
        return f"events up to {self.position}"


class Event(models.Model):
    """The outbox: one row for each change, written in the transaction that made it.

    Ids are handed out when a row is written, so a reader that goes by them can miss a transaction
    that commits late. `position` is the cursor: a deferred trigger gives it at commit, under a lock
    held until the commit is visible, so positions appear in their own order and none is skipped
    over. It is null only inside the transaction that wrote the event.
    """

    position = models.BigIntegerField(null=True, unique=True, editable=False)
    at = models.DateTimeField(default=timezone.now, db_default=Now())
    kind = models.CharField(max_length=64)
    object_type = models.CharField(max_length=32)
    object_id = models.BigIntegerField()
    data = models.JSONField(default=dict, db_default={})

    objects = EventQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["object_type", "object_id"], name="event_object"),
            models.Index(fields=["at"], name="event_at"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_type}/{self.object_id}"

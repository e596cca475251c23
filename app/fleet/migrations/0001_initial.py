import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

# Django knows no partitioned tables: the table is made here, the state below tells Django about it.
# Days are named in UTC, whatever the session's time zone is. Later days: app.fleet.partitions.
USAGE = """
CREATE TABLE fleet_usage (
    container_id bigint NOT NULL REFERENCES fleet_container (id) ON DELETE CASCADE,
    at timestamp with time zone NOT NULL,
    cpu_cores double precision NOT NULL,
    memory_bytes bigint NOT NULL,
    PRIMARY KEY (container_id, at),
    CONSTRAINT usage_cpu_range CHECK (cpu_cores >= 0 AND cpu_cores <= 100000),
    CONSTRAINT usage_memory_range CHECK (
        memory_bytes >= 0 AND memory_bytes <= 1152921504606846976
    )
) PARTITION BY RANGE (at);
CREATE INDEX usage_at ON fleet_usage (at);
DO $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    day date;
BEGIN
    FOR day IN SELECT today + n FROM generate_series(-3, 7) AS n LOOP
        EXECUTE format(
            'CREATE TABLE fleet_usage_%s PARTITION OF fleet_usage FOR VALUES FROM (%L) TO (%L)',
            to_char(day, 'YYYYMMDD'), day || ' 00:00:00+00', (day + 1) || ' 00:00:00+00'
        );
    END LOOP;
END $$;
"""

# At commit, under a lock held until the commit is visible: positions appear in their own order.
POSITIONS = """
CREATE SEQUENCE fleet_event_position;
CREATE FUNCTION fleet_event_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('fleet_event_position', 0));
    UPDATE fleet_event SET position = nextval('fleet_event_position') WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER fleet_event_place AFTER INSERT ON fleet_event
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fleet_event_place();
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Event",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.BigIntegerField(editable=False, null=True, unique=True)),
                (
                    "at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                    ),
                ),
                ("kind", models.CharField(max_length=64)),
                ("object_type", models.CharField(max_length=32)),
                ("object_id", models.BigIntegerField()),
                ("data", models.JSONField(db_default={}, default=dict)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["object_type", "object_id"], name="event_object"),
                    models.Index(fields=["at"], name="event_at"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Host",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=253, unique=True)),
                ("labels", models.JSONField(blank=True, db_default={}, default=dict)),
                ("cpus", models.FloatField()),
                ("memory_bytes", models.BigIntegerField()),
                ("reserved_cpus", models.FloatField(db_default=0.0, default=0.0)),
                ("reserved_memory_bytes", models.BigIntegerField(db_default=0, default=0)),
                (
                    "engine",
                    models.CharField(
                        choices=[
                            ("docker", "Docker"),
                            ("swarm", "Swarm"),
                            ("processes", "Processes"),
                        ],
                        default="docker",
                        max_length=16,
                    ),
                ),
                (
                    "engine_version",
                    models.CharField(blank=True, db_default="", default="", max_length=64),
                ),
                ("last_seen_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("version", models.BigIntegerField(db_default=1, default=1, editable=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("cpus__gt", 0), ("cpus__lte", 100000)),
                        name="host_cpus_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("memory_bytes__gt", 0), ("memory_bytes__lte", 1152921504606846976)
                        ),
                        name="host_memory_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("reserved_cpus__gte", 0), ("reserved_cpus__lt", models.F("cpus"))
                        ),
                        name="host_reserved_cpus_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("reserved_memory_bytes__gte", 0),
                            ("reserved_memory_bytes__lt", models.F("memory_bytes")),
                        ),
                        name="host_reserved_memory_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("engine__in", ["docker", "swarm", "processes"])),
                        name="host_engine_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Image",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("reference", models.CharField(max_length=512)),
                ("digest", models.CharField(blank=True, db_default="", default="", max_length=128)),
                ("size_bytes", models.BigIntegerField(db_default=0, default=0)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                    ),
                ),
                (
                    "hosts",
                    models.ManyToManyField(blank=True, related_name="images", to="fleet.host"),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Container",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("engine_id", models.CharField(max_length=255, unique=True)),
                ("name", models.CharField(max_length=255)),
                ("labels", models.JSONField(blank=True, db_default={}, default=dict)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("created", "Created"),
                            ("running", "Running"),
                            ("paused", "Paused"),
                            ("restarting", "Restarting"),
                            ("exited", "Exited"),
                            ("dead", "Dead"),
                            ("removed", "Removed"),
                        ],
                        default="created",
                        max_length=16,
                    ),
                ),
                ("cpu_reservation", models.FloatField(blank=True, null=True)),
                ("cpu_limit", models.FloatField(blank=True, null=True)),
                ("memory_reservation_bytes", models.BigIntegerField(blank=True, null=True)),
                ("memory_limit_bytes", models.BigIntegerField(blank=True, null=True)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("exit_code", models.IntegerField(blank=True, null=True)),
                ("oom_killed", models.BooleanField(db_default=False, default=False)),
                (
                    "last_seen_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                    ),
                ),
                ("version", models.BigIntegerField(db_default=1, default=1, editable=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                    ),
                ),
                (
                    "host",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="containers",
                        to="fleet.host",
                    ),
                ),
                (
                    "image",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="containers",
                        to="fleet.image",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Workload",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=63)),
                ("image", models.CharField(max_length=512)),
                ("command", models.JSONField(blank=True, db_default=[], default=list)),
                ("env", models.JSONField(blank=True, db_default={}, default=dict)),
                ("replicas", models.IntegerField(db_default=1, default=1)),
                ("cpu_reservation", models.FloatField(blank=True, null=True)),
                ("cpu_limit", models.FloatField(blank=True, null=True)),
                ("memory_reservation_bytes", models.BigIntegerField(blank=True, null=True)),
                ("memory_limit_bytes", models.BigIntegerField(blank=True, null=True)),
                ("ports", models.JSONField(blank=True, db_default=[], default=list)),
                ("health_check", models.JSONField(blank=True, null=True)),
                ("update_policy", models.JSONField(blank=True, db_default={}, default=dict)),
                ("labels", models.JSONField(blank=True, db_default={}, default=dict)),
                ("generation", models.BigIntegerField(db_default=1, default=1, editable=False)),
                (
                    "observed_generation",
                    models.BigIntegerField(db_default=0, default=0, editable=False),
                ),
                (
                    "conditions",
                    models.JSONField(blank=True, db_default=[], default=list, editable=False),
                ),
                ("version", models.BigIntegerField(db_default=1, default=1, editable=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="workloads",
                        to="accounts.team",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Revision",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.BigIntegerField()),
                ("spec", models.JSONField()),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workload",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="revisions",
                        to="fleet.workload",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="container",
            name="workload",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="containers",
                to="fleet.workload",
            ),
        ),
        migrations.AddConstraint(
            model_name="image",
            constraint=models.UniqueConstraint(fields=("reference", "digest"), name="image_unique"),
        ),
        migrations.AddConstraint(
            model_name="image",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("size_bytes__gte", 0), ("size_bytes__lte", 1152921504606846976)
                ),
                name="image_size_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="workload",
            constraint=models.UniqueConstraint(
                fields=("team", "name"), name="workload_unique", nulls_distinct=False
            ),
        ),
        migrations.AddConstraint(
            model_name="workload",
            constraint=models.CheckConstraint(
                condition=models.Q(("replicas__gte", 0), ("replicas__lte", 10000)),
                name="workload_replicas_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="workload",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("observed_generation__gte", 0),
                    ("observed_generation__lte", models.F("generation")),
                ),
                name="workload_observed_generation_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="workload",
            constraint=models.CheckConstraint(
                condition=models.Q(("cpu_reservation__gte", 0), ("cpu_reservation__lte", 100000)),
                name="workload_cpu_reservation_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="workload",
            constraint=models.CheckConstraint(
                condition=models.Q(("cpu_limit__gt", 0), ("cpu_limit__lte", 100000)),
                name="workload_cpu_limit_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="workload",
            constraint=models.CheckConstraint(
                condition=models.Q(("cpu_reservation__lte", models.F("cpu_limit"))),
                name="workload_cpu_reservation_within_limit",
            ),
        ),
        migrations.AddConstraint(
            model_name="workload",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("memory_reservation_bytes__gte", 0),
                    ("memory_reservation_bytes__lte", 1152921504606846976),
                ),
                name="workload_memory_reservation_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="workload",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("memory_limit_bytes__gt", 0), ("memory_limit_bytes__lte", 1152921504606846976)
                ),
                name="workload_memory_limit_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="workload",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("memory_reservation_bytes__lte", models.F("memory_limit_bytes"))
                ),
                name="workload_memory_reservation_within_limit",
            ),
        ),
        migrations.AddConstraint(
            model_name="revision",
            constraint=models.UniqueConstraint(
                fields=("workload", "number"), name="revision_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="revision",
            constraint=models.CheckConstraint(
                condition=models.Q(("number__gte", 1)), name="revision_number_range"
            ),
        ),
        migrations.AddIndex(
            model_name="container",
            index=models.Index(fields=["host", "state"], name="container_host_state"),
        ),
        migrations.AddConstraint(
            model_name="container",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        ["created", "running", "paused", "restarting", "exited", "dead", "removed"],
                    )
                ),
                name="container_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="container",
            constraint=models.CheckConstraint(
                condition=models.Q(("cpu_reservation__gte", 0), ("cpu_reservation__lte", 100000)),
                name="container_cpu_reservation_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="container",
            constraint=models.CheckConstraint(
                condition=models.Q(("cpu_limit__gt", 0), ("cpu_limit__lte", 100000)),
                name="container_cpu_limit_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="container",
            constraint=models.CheckConstraint(
                condition=models.Q(("cpu_reservation__lte", models.F("cpu_limit"))),
                name="container_cpu_reservation_within_limit",
            ),
        ),
        migrations.AddConstraint(
            model_name="container",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("memory_reservation_bytes__gte", 0),
                    ("memory_reservation_bytes__lte", 1152921504606846976),
                ),
                name="container_memory_reservation_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="container",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("memory_limit_bytes__gt", 0), ("memory_limit_bytes__lte", 1152921504606846976)
                ),
                name="container_memory_limit_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="container",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("memory_reservation_bytes__lte", models.F("memory_limit_bytes"))
                ),
                name="container_memory_reservation_within_limit",
            ),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Usage",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "container_id",
                                "at",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("at", models.DateTimeField()),
                        ("cpu_cores", models.FloatField()),
                        ("memory_bytes", models.BigIntegerField()),
                        (
                            "container",
                            models.ForeignKey(
                                db_index=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="usage",
                                to="fleet.container",
                            ),
                        ),
                    ],
                ),
                migrations.AddIndex(
                    model_name="usage",
                    index=models.Index(fields=["at"], name="usage_at"),
                ),
                migrations.AddConstraint(
                    model_name="usage",
                    constraint=models.CheckConstraint(
                        condition=models.Q(("cpu_cores__gte", 0), ("cpu_cores__lte", 100000)),
                        name="usage_cpu_range",
                    ),
                ),
                migrations.AddConstraint(
                    model_name="usage",
                    constraint=models.CheckConstraint(
                        condition=models.Q(
                            ("memory_bytes__gte", 0), ("memory_bytes__lte", 1152921504606846976)
                        ),
                        name="usage_memory_range",
                    ),
                ),
            ],
            database_operations=[
                migrations.RunSQL(USAGE, reverse_sql="DROP TABLE fleet_usage"),
            ],
        ),
        migrations.RunSQL(
            POSITIONS,
            reverse_sql="""
                DROP TRIGGER fleet_event_place ON fleet_event;
                DROP FUNCTION fleet_event_place();
                DROP SEQUENCE fleet_event_position;
            """,
        ),
    ]

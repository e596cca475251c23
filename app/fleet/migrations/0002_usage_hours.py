import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

# Partitioned by week, from Monday (UTC); named by the Monday. Later weeks: app.fleet.partitions.
HOURS = """
CREATE TABLE fleet_usage_hour (
    container_id bigint NOT NULL REFERENCES fleet_container (id) ON DELETE CASCADE,
    hour timestamp with time zone NOT NULL,
    samples integer NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    cpu_sum double precision NOT NULL,
    cpu_max double precision NOT NULL,
    memory_sum double precision NOT NULL,
    memory_max bigint NOT NULL,
    cpu_histogram jsonb NOT NULL,
    memory_histogram jsonb NOT NULL,
    PRIMARY KEY (container_id, hour),
    CONSTRAINT usage_hour_has_samples CHECK (samples > 0)
) PARTITION BY RANGE (hour);
CREATE INDEX usage_hour_hour ON fleet_usage_hour (hour);
DO $$
DECLARE
    monday date := date_trunc('week', (now() AT TIME ZONE 'UTC'))::date;
    week date;
BEGIN
    FOR week IN SELECT monday + 7 * n FROM generate_series(-1, 2) AS n LOOP
        EXECUTE format(
            'CREATE TABLE fleet_usage_hour_%s PARTITION OF fleet_usage_hour FOR VALUES FROM (%L) TO (%L)',
            to_char(week, 'YYYYMMDD'), week || ' 00:00:00+00', (week + 7) || ' 00:00:00+00'
        );
    END LOOP;
END $$;
INSERT INTO fleet_usage_mark (hour, container_ids)
SELECT date_trunc('hour', at, 'UTC'), array_agg(DISTINCT container_id) FROM fleet_usage GROUP BY 1;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageMark",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField()),
                (
                    "container_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), size=None
                    ),
                ),
            ],
            options={
                "db_table": "fleet_usage_mark",
                "indexes": [models.Index(fields=["hour"], name="usage_mark_hour")],
            },
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="UsageHour",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "container_id",
                                "hour",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("hour", models.DateTimeField()),
                        ("samples", models.IntegerField()),
                        ("first_at", models.DateTimeField()),
                        ("last_at", models.DateTimeField()),
                        ("cpu_sum", models.FloatField()),
                        ("cpu_max", models.FloatField()),
                        ("memory_sum", models.FloatField()),
                        ("memory_max", models.BigIntegerField()),
                        ("cpu_histogram", models.JSONField()),
                        ("memory_histogram", models.JSONField()),
                        (
                            "container",
                            models.ForeignKey(
                                db_index=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="usage_hours",
                                to="fleet.container",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "fleet_usage_hour",
                        "indexes": [models.Index(fields=["hour"], name="usage_hour_hour")],
                        "constraints": [
                            models.CheckConstraint(
                                condition=models.Q(("samples__gt", 0)),
                                name="usage_hour_has_samples",
                            )
                        ],
                    },
                ),
            ],
            database_operations=[
                migrations.RunSQL(HOURS, reverse_sql="DROP TABLE fleet_usage_hour"),
            ],
        ),
    ]

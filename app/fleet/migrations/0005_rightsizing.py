import django.db.models.deletion
from django.db import migrations, models

# The summaries of what is rolled up already: the same sums as app.fleet.rollups makes hour by hour.
SUMMARIES = """
ALTER TABLE fleet_usage_summary ADD CONSTRAINT fleet_usage_summary_container
    FOREIGN KEY (container_id) REFERENCES fleet_container (id) ON DELETE CASCADE;
WITH newest AS (
    SELECT container_id, max(hour) AS reference FROM fleet_usage_hour GROUP BY container_id
), part AS (
    SELECT h.container_id, b.is_cpu, b.bucket, sum(b.samples * power(
        0.5::float8, extract(epoch FROM n.reference - h.hour)::float8 / 86400
    )) AS weight
    FROM fleet_usage_hour h JOIN newest n USING (container_id) CROSS JOIN LATERAL (
        SELECT true, key, value::float8 FROM jsonb_each_text(h.cpu_histogram)
        UNION ALL SELECT false, key, value::float8 FROM jsonb_each_text(h.memory_histogram)
    ) AS b (is_cpu, bucket, samples)
    GROUP BY h.container_id, b.is_cpu, b.bucket
), folded AS (
    SELECT container_id,
        jsonb_object_agg(bucket, round(weight::numeric, 6)) FILTER (WHERE is_cpu) AS cpu,
        jsonb_object_agg(bucket, round(weight::numeric, 6)) FILTER (WHERE NOT is_cpu) AS memory
    FROM part WHERE weight >= 0.001 GROUP BY container_id
), day AS (
    SELECT container_id, floor(extract(epoch FROM hour) / 86400)::bigint::text AS key,
        jsonb_build_array(max(cpu_max), max(memory_max)) AS peaks
    FROM fleet_usage_hour GROUP BY 1, 2
), peak AS (
    SELECT container_id, jsonb_object_agg(key, peaks) AS peaks FROM day GROUP BY container_id
), total AS (
    SELECT container_id, sum(samples) AS samples, min(first_at) AS first_at, max(last_at) AS last_at
    FROM fleet_usage_hour GROUP BY container_id
)
INSERT INTO fleet_usage_summary (
    container_id, reference, samples, first_at, last_at, cpu_weights, memory_weights, peaks
)
SELECT container_id, n.reference, t.samples, t.first_at, t.last_at, f.cpu, f.memory, p.peaks
FROM newest n JOIN total t USING (container_id) JOIN folded f USING (container_id)
    JOIN peak p USING (container_id);
"""
KILLS = """
ALTER TABLE fleet_oom_kill ADD CONSTRAINT fleet_oom_kill_container
    FOREIGN KEY (container_id) REFERENCES fleet_container (id) ON DELETE CASCADE;
INSERT INTO fleet_oom_kill (container_id, at, memory_bytes)
SELECT id, coalesce(finished_at, last_seen_at), memory_limit_bytes
FROM fleet_container WHERE oom_killed;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0004_quota"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageSummary",
            fields=[
                (
                    "container",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="summary",
                        serialize=False,
                        to="fleet.container",
                    ),
                ),
                ("reference", models.DateTimeField()),
                ("samples", models.BigIntegerField()),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("cpu_weights", models.JSONField()),
                ("memory_weights", models.JSONField()),
                ("peaks", models.JSONField()),
                ("startup_memory_bytes", models.BigIntegerField(null=True)),
            ],
            options={
                "db_table": "fleet_usage_summary",
            },
        ),
        migrations.CreateModel(
            name="OOMKill",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("memory_bytes", models.BigIntegerField(null=True)),
                (
                    "container",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="oom_kills",
                        to="fleet.container",
                    ),
                ),
            ],
            options={
                "db_table": "fleet_oom_kill",
                "indexes": [models.Index(fields=["at"], name="oom_kill_at")],
                "constraints": [
                    models.UniqueConstraint(fields=("container", "at"), name="oom_kill_unique")
                ],
            },
        ),
        migrations.RunSQL(SUMMARIES, reverse_sql=migrations.RunSQL.noop),
        migrations.RunSQL(KILLS, reverse_sql=migrations.RunSQL.noop),
    ]

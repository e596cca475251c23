import django.db.models.deletion
from django.db import migrations, models

CASCADE = """
ALTER TABLE fleet_density_hour ADD CONSTRAINT fleet_density_hour_host
    FOREIGN KEY (host_id) REFERENCES fleet_host (id) ON DELETE CASCADE
"""


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0007_host_clock_skew"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageRecent",
            fields=[
                ("container_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("computed_at", models.DateTimeField()),
                ("window_hours", models.FloatField()),
                ("samples", models.BigIntegerField()),
                ("cpu_p95", models.FloatField(null=True)),
                ("memory_p95", models.FloatField(null=True)),
            ],
            options={
                "db_table": "fleet_usage_recent",
            },
        ),
        migrations.CreateModel(
            name="DensityHour",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "host_id",
                        "hour",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("containers", models.IntegerField()),
                ("cpu_allocatable", models.FloatField()),
                ("cpu_reservations", models.FloatField()),
                ("cpu_limits", models.FloatField()),
                ("cpu_use", models.FloatField()),
                ("cpu_use_p95", models.FloatField()),
                ("memory_allocatable", models.FloatField()),
                ("memory_reservations", models.FloatField()),
                ("memory_limits", models.FloatField()),
                ("memory_use", models.FloatField()),
                ("memory_use_p95", models.FloatField()),
                (
                    "host",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="density_hours",
                        to="fleet.host",
                    ),
                ),
            ],
            options={
                "db_table": "fleet_density_hour",
                "indexes": [models.Index(fields=["hour"], name="density_hour_hour")],
            },
        ),
        migrations.RunSQL(CASCADE, reverse_sql=migrations.RunSQL.noop),
    ]

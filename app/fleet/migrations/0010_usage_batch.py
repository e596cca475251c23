"""The journal of samples, for those who watch them: app/fleet/usage_journal.py."""

import django.contrib.postgres.fields
import django.db.models.functions.datetime
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0009_event_notification"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageBatch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("transaction", models.BigIntegerField()),
                (
                    "at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                    ),
                ),
                (
                    "container_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), size=None
                    ),
                ),
                (
                    "counts",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), size=None
                    ),
                ),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
            ],
            options={
                "db_table": "fleet_usage_batch",
                "indexes": [
                    models.Index(fields=["transaction"], name="usage_batch_transaction"),
                    models.Index(
                        condition=models.Q(("container_ids", [])),
                        fields=["transaction"],
                        name="usage_batch_forgotten",
                    ),
                ],
            },
        ),
    ]

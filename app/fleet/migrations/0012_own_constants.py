"""What stored histograms and percentiles are made by, where that is not the default: a container's
own constants.
"""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0011_workload_placement"),
    ]

    operations = [
        migrations.AddField(
            model_name="usagehour",
            name="layout",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.FloatField(), null=True, size=None
            ),
        ),
        migrations.AddField(
            model_name="usagerecent",
            name="percentile",
            field=models.FloatField(db_default=0.95),
        ),
        migrations.AddField(
            model_name="usagesummary",
            name="half_life_hours",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="usagesummary",
            name="layout",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.FloatField(), null=True, size=None
            ),
        ),
        migrations.AddIndex(
            model_name="usagehour",
            index=models.Index(
                condition=models.Q(("layout__isnull", False)),
                fields=["hour"],
                name="usage_hour_layout",
            ),
        ),
        migrations.AddIndex(
            model_name="usagesummary",
            index=models.Index(
                condition=models.Q(
                    ("layout__isnull", False), ("half_life_hours__isnull", False), _connector="OR"
                ),
                fields=["container"],
                name="usage_summary_layout",
            ),
        ),
    ]

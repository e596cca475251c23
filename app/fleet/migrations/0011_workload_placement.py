"""Where a workload's containers may be: app/fleet/placement_rules.py. Revisions say it too, so that
rolling back to one that was made before takes rules away.
"""

from django.db import migrations, models

FILL = "UPDATE fleet_revision SET spec = '{\"placement\": {}}' || spec WHERE NOT spec ? 'placement'"


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0010_usage_batch"),
    ]

    operations = [
        migrations.AddField(
            model_name="workload",
            name="placement",
            field=models.JSONField(blank=True, db_default={}, default=dict),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]

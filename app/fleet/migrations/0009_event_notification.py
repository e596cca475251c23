"""Who follows the outbox is told of each transaction that adds to it, when it has committed."""

from django.db import migrations

PLACE = """
CREATE OR REPLACE FUNCTION fleet_event_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('fleet_event_position', 0));
    UPDATE fleet_event SET position = nextval('fleet_event_position') WHERE id = NEW.id;
    %s
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0008_density"),
    ]

    operations = [
        # The same message many times in one transaction is sent once.
        migrations.RunSQL(PLACE % "PERFORM pg_notify('fleet_event', '');", PLACE % ""),
    ]

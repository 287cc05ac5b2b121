"""Where each item stood moves over to question 0. On its own: PostgreSQL alters no table with rows just put in."""

from django.db import migrations

KEPT = (
    "item_id, case_id, number, kind, band, state, note, reasons, criteria, rules_sha256, postponed, scored_at"
)
UNSCORED = -1_000_000_000  # stood for 'no score' until now


class Migration(migrations.Migration):
    dependencies = [("triage", "0006_questions_in_order")]

    operations = [
        migrations.RunSQL(
            f"INSERT INTO triage_standing ({KEPT}, question, points) "
            f"SELECT {KEPT}, 0, CASE WHEN points = {UNSCORED} THEN 0 ELSE points END FROM triage_standingofitem",
            migrations.RunSQL.noop,
        ),
        migrations.DeleteModel(name="StandingOfItem"),
    ]

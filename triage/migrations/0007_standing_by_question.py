"""Where each item stood moves over to question 0, and the new table takes the old one's name."""

from typing import Any

from django.db import migrations

KEPT = (
    "item_id, case_id, number, kind, band, state, note, reasons, criteria, rules_sha256, postponed, scored_at"
)
UNSCORED = -1_000_000_000  # stood for 'no score' until now


def move(apps: Any, schema_editor: Any) -> None:
    """Copy the rows. PostgreSQL alters no table whose new rows wait for their checks: it makes them now."""
    schema_editor.execute(
        f"INSERT INTO triage_standingbyquestion ({KEPT}, question, points) "  # noqa: S608 - of constants
        f"SELECT {KEPT}, 0, CASE WHEN points = {UNSCORED} THEN 0 ELSE points END FROM triage_standing"
    )
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


class Migration(migrations.Migration):
    dependencies = [("triage", "0006_questions_in_order")]

    operations = [
        migrations.RunPython(move, migrations.RunPython.noop),
        migrations.DeleteModel("Standing"),
        migrations.RenameModel("StandingByQuestion", "Standing"),
    ]

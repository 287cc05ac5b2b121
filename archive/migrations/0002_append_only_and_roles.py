"""Triggers that refuse to change history, and one group for each role."""

from django.db import migrations

from archive.custody import triggers

ROLES = ("administrator", "researcher", "reviewer", "legal", "data_scientist", "observer")


def make_roles(apps, schema_editor):
    group = apps.get_model("auth", "Group")
    for name in ROLES:
        group.objects.get_or_create(name=name)


def install(apps, schema_editor):
    triggers.install(schema_editor.connection)


def remove(apps, schema_editor):
    triggers.remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("archive", "0001_initial"), ("auth", "0012_alter_user_first_name_max_length")]

    operations = [
        migrations.RunPython(install, remove),
        migrations.RunPython(make_roles, migrations.RunPython.noop),
    ]

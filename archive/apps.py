"""Ready the archive: connections get their guard, jobs are declared."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class ArchiveConfig(AppConfig):
    """The ground floor."""

    name = "archive"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Install the guard that lets no custody-relevant row change without its event."""
        from django.db.backends.signals import connection_created

        from archive import alarms, copies, disposal, ingest  # noqa: F401  declare their jobs
        from archive.custody import duties  # noqa: F401
        from archive.custody.log import install_guard

        connection_created.connect(install_guard, dispatch_uid="custody-guard")
        post_migrate.connect(keep_triggers, sender=self, dispatch_uid="custody-triggers")


def keep_triggers(using: str, **_: Any) -> None:
    """After a migration: history stays append-only."""
    from archive.custody import triggers

    connection = connections[using]
    if "archive_checkpoint" in connection.introspection.table_names():
        triggers.install(connection)

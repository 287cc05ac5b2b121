"""Ready the archive: connections get their guard, jobs are declared."""

from django.apps import AppConfig


class ArchiveConfig(AppConfig):
    """The ground floor."""

    name = "archive"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Install the guard that lets no custody-relevant row change without its event."""
        from django.db.backends.signals import connection_created

        from archive import ingest  # noqa: F401  declares its jobs
        from archive.custody.log import install_guard

        connection_created.connect(install_guard, dispatch_uid="custody-guard")

"""Ready the evidence floor: its jobs are declared."""

from django.apps import AppConfig


class EvidenceConfig(AppConfig):
    """Bundles that a stranger can verify."""

    name = "evidence"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Declare the jobs."""
        from evidence import bundle  # noqa: F401
        from evidence.redaction import rendering  # noqa: F401

"""Ready the evidence floor: its jobs are declared."""

from django.apps import AppConfig


class EvidenceConfig(AppConfig):
    """Bundles that a stranger can verify."""

    name = "evidence"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Declare the jobs, and what is let go with a disposed item."""
        from evidence import bundle, disposed  # noqa: F401
        from evidence.redaction import rendering  # noqa: F401
